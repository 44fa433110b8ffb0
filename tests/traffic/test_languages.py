"""What a language does to a class: the tokenizer of the model that answers, and the text among its tokens."""

import pytest

from sim import catalog
from sim.errors import CatalogError
from sim.lifecycle.tokenizers import length_factor
from sim.traffic import build
from sim.traffic.classes import table, workload_tables
from sim.traffic.languages import class_factors, language_share
from sim.traffic.lengths import table_mean


def test_plain_chat_grows_by_the_factor(scenario):
    chosen = scenario(model="llama-2-7b", hardware="h100-sxm-80gb")
    chat = catalog.load_workload("interactive-chat")
    languages = ("English", "Hindi", "Chinese")
    found = class_factors(chosen, chosen.tiers["free"], chat, languages)
    assert list(found) == [length_factor(language, "llama-2").value for language in languages]


def test_the_model_is_that_of_the_pool_that_answers(scenario):
    chosen = scenario(model="llama-2-7b", hardware="h100-sxm-80gb", fleet__pools__main__model="mistral-nemo-12b")
    found = class_factors(chosen, chosen.tiers["free"], catalog.load_workload("interactive-chat"), ("Hindi",))
    assert found[0] == length_factor("Hindi", "tekken").value


def test_a_check_behind_the_answer_does_not_answer(scenario):
    guard = {"model": "llama-guard-3-1b", "replicas": 1}
    path = [{"pool": "main"}, {"pool": "guard", "kind": "classify", "mode": "stream", "prompt": "answer"}]
    chosen = scenario(model="mistral-nemo-12b", hardware="h100-sxm-80gb", fleet__pools__guard=guard)
    (name,) = {tier.path for tier in chosen.tiers.values()}
    chosen = chosen.replace(f"fleet.paths.{name}", path)
    found = class_factors(chosen, chosen.tiers["free"], catalog.load_workload("interactive-chat"), ("Hindi",))
    assert found[0] == length_factor("Hindi", "tekken").value


def test_a_classifier_that_reads_along_does_not_count():
    scenario = catalog.load("meridian-1")
    assert scenario.fleet.paths["chat"][-1].pool == "guard"
    factors = class_factors(scenario, scenario.tiers["free"], catalog.load_workload("interactive-chat"), ["Hindi"])
    assert factors[0] == pytest.approx(length_factor("Hindi", 128_000).value)


def test_code_is_as_long_in_every_language(scenario):
    chosen = scenario(model="llama-2-7b", hardware="h100-sxm-80gb")
    found = class_factors(chosen, chosen.tiers["free"], catalog.load_workload("coding-agent"), ("English", "Tamil"))
    assert list(found) == [1.0, 1.0]


def test_images_do_not_grow():
    images = catalog.load_workload("image-understanding")
    text = table_mean(table(images.input_sequence_length_per_turn, whole=True))
    tables = workload_tables(images)
    total = table_mean(tables["user_tokens"]) + table_mean(tables["output_tokens"])
    written = text + table_mean(tables["output_tokens"])
    assert language_share(images) == pytest.approx(written / total, rel=1e-6)
    science = catalog.load_workload("science-assistant")
    assert 0.85 < language_share(science) < science.in_language_frac == 0.9


def test_an_unknown_language_is_said(scenario):
    chosen = scenario(model="llama-2-7b", hardware="h100-sxm-80gb")
    with pytest.raises(CatalogError, match=r"no language Klingon\. Known: Amharic, "):
        class_factors(chosen, chosen.tiers["free"], catalog.load_workload("voice"), ("Klingon",))


def test_a_population_speaks_them(scenario):
    chosen = scenario(
        model="llama-2-7b",
        hardware="h100-sxm-80gb",
        traffic__languages={"English": 0.5, "Hindi": 0.5},
        traffic__workload={"interactive-chat": 0.5, "image-understanding": 0.3, "code-completion": 0.2},
    )
    source = build(chosen)
    assert source.languages == ("English", "Hindi")
    for kind in source.classes:
        workload = catalog.load_workload(kind.name.split("/")[1])
        wanted = class_factors(chosen, chosen.tiers[kind.tier], workload, source.languages)
        assert list(kind.length_factor) == list(wanted)
    chat, images, code = (kind.length_factor for kind in source.classes[:3])
    assert chat[1] > images[1] > code[1] == 1.0
