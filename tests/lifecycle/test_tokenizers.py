"""Tokens by language: the table is what was counted, and the fit says honestly how far it may be off."""

import csv
import math
import re
import runpy

import pytest

from sim import catalog
from sim.errors import CatalogError, SpecError
from sim.lifecycle.tokenizers import COUNTED_ERROR, known_languages, length_factor, length_factors, tokenizer_of
from sim.spec.model import read_model
from sim.spec.text import read_text
from sim.spec.tokenizer import read_tokenizers

COUNTED = "flores_dev_token_premiums_measured.csv"
PETROV = "petrov2023_tokenization_lengths_validated.csv"
NAMES = {
    "GPT-2 r50k_base": "r50k_base",
    "p50k_base": "p50k_base",
    "Llama-2 SPM": "llama-2",
    "Claude-2 era": "claude-2",
    "cl100k_base": "cl100k_base",
    "Llama-3": "llama-3",
    "DeepSeek": "deepseek",
    "Mistral Tekken": "tekken",
    "o200k_base": "o200k_base",
}
SPELT = {"Chinese": "Chinese (simpl.)", "Chinese-Traditional": "Chinese (trad.)"}
IN_PETROV = {
    "Chinese": "Chinese (Simplified)",
    "Chinese-Traditional": "Chinese (Traditional)",
    "Arabic": "Standard Arabic",
    "Persian": "Western Persian",
}


@pytest.fixture(scope="module")
def sources(repository):
    """The folder of the counts."""
    folder = repository.parent / "shared" / "data" / "traces" / "tokenization_fairness"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder


@pytest.fixture(scope="module")
def petrov(sources):
    """Tokens over those of English under cl100k_base, by language and tokenizer, of Petrov et al. 2023."""
    with (sources / PETROV).open(encoding="utf-8") as file:
        rows = {row["Language"]: row for row in csv.DictReader(file)}
    reference = int(rows["English"]["cl100k_base"])
    return lambda language, name: int(rows[IN_PETROV.get(language, language)][name]) / reference


def test_the_table_is_what_was_counted(sources):
    with (sources / COUNTED).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    tokens = {
        (NAMES[row["tokenizer"].split(" (")[0]], row["language"]): float(row["tokens_997_sentences"]) for row in rows
    }
    assert len(tokens) == 9 * 30
    for name in NAMES.values():
        for language in known_languages():
            factor = tokens[name, SPELT.get(language, language)] / tokens["cl100k_base", "English"]
            assert length_factor(language, name).value == pytest.approx(factor, abs=5.1e-5)


def test_two_more_are_as_published(petrov):
    for name, column in ("qwen", "Qwen"), ("bloom", "BLOOM"):
        for language, factor in zip(known_languages(), length_factors(known_languages(), name), strict=True):
            assert factor.value == pytest.approx(petrov(language, column), abs=5.1e-5)


def test_the_stated_error_of_counts_is_that_between_two_counts(petrov):
    pairs = (("r50k_base", "GPT-2"), ("cl100k_base", "cl100k_base"), ("llama-2", "LLAMA"))
    squares = [
        math.log(petrov(language, column) / length_factor(language, name).value) ** 2
        for name, column in pairs
        for language in known_languages()
    ]
    assert 0.8 * COUNTED_ERROR < math.sqrt(sum(squares) / len(squares)) <= COUNTED_ERROR


def test_the_reference_is_one():
    assert length_factor("English", "cl100k_base").value == 1.0
    assert length_factor("English", "llama-2").value == pytest.approx(1.41 / 1.231, rel=0.01)  # tokens a word, measured


def test_a_tokenizer_may_have_two_names():
    assert length_factor("Hindi", "gpt2") == length_factor("Hindi", "r50k_base")


# By group, the largest error of the fit that docs/languages.md states; a larger one would make it untrue.
@pytest.mark.parametrize(
    ("language", "error"),
    [
        ("English", 0.06),
        ("Spanish", 0.18),
        ("Russian", 0.46),
        ("Japanese", 0.29),
        ("Arabic", 0.30),
        ("Hindi", 0.48),
        ("Thai", 0.61),
        ("Amharic", 0.15),
    ],
)
def test_the_fit_states_its_error(language, error):
    assert error - 0.02 < length_factor(language, 128_000).relative_error <= error


def test_the_stated_error_is_what_leaving_a_family_out_costs():
    """Written out again, with nothing of the module: a line for each language, slopes shared in the group."""
    table = catalog.load_tokenizers()
    group, squares = table.groups["Indic scripts"], []
    families = sorted({one.family for one in table.tokenizers.values()})
    for left_out in families:
        rest = [one for one in table.tokenizers.values() if one.family != left_out]
        weight = {one.source: 1 / sum(other.family == one.family for other in rest) for one in rest}
        total = sum(weight.values())
        middle = sum(weight[one.source] * math.log(one.vocab_size) for one in rest) / total
        levels = {at: sum(weight[one.source] * math.log(one.factors[at]) for one in rest) / total for at in group}
        above, below = 0.0, 0.0
        for one in rest:
            x = math.log(one.vocab_size) - middle
            above += weight[one.source] * x * sum(math.log(one.factors[at]) for at in group)
            below += weight[one.source] * x * x * len(group)
        sizes = sorted(math.log(one.vocab_size) for one in rest)
        missed = []
        for one in table.tokenizers.values():
            if one.family == left_out:
                x = min(max(math.log(one.vocab_size), sizes[0]), sizes[-1]) - middle
                missed += [(levels[at] + above / below * x - math.log(one.factors[at])) ** 2 for at in group]
        squares.append(sum(missed) / len(missed))
    assert len(families) == 8
    assert length_factor("Tamil", 128_000).relative_error == pytest.approx(math.sqrt(sum(squares) / 8), rel=1e-9)


def test_larger_vocabularies_need_fewer_tokens_and_sizes_beyond_those_counted_are_the_nearest():
    for language in known_languages():
        values = [length_factor(language, size).value for size in (1000, 32_000, 64_000, 128_000, 250_680, 10**6)]
        assert values == sorted(values, reverse=True)
        assert values[0] == values[1]
        assert values[-2] == values[-1]


def test_what_is_not_known_is_said_with_what_is():
    with pytest.raises(CatalogError) as caught:
        length_factors(("Hindi", "Klingon", "Hindu"), "o200k")
    first, second, third = caught.value.problems
    assert str(first).startswith("no tokenizer o200k. Did you mean o200k_base? Of any other give the size")
    assert str(second).startswith("no language Klingon. Known: Amharic, Arabic, ")
    assert str(third) == "no language Hindu. Did you mean Hindi?"


def test_a_users_tokenizer_and_language_join_in(tmp_path, monkeypatch):
    file = tmp_path / "workloads" / "_tokenizers.yaml"
    file.parent.mkdir()
    file.write_text(
        "groups: {Own: [Esperanto]}\ntokenizers:\n  own: {vocab_size: 90000, family: own, source: us, licence: none,"
        " factors: {English: 1.1, Hindi: 2.2, Esperanto: 1.5}}\n"
    )
    before = length_factor("Hindi", 128_000)
    monkeypatch.setenv(catalog.USER_FOLDERS, str(tmp_path))
    assert length_factor("Esperanto", "own").value == 1.5
    assert "Esperanto" not in known_languages()  # one tokenizer makes no fit
    assert length_factor("Hindi", 128_000).value < before.value
    with pytest.raises(CatalogError, match="no language Tamil"):
        length_factor("Tamil", "own")


def test_a_file_that_contradicts_itself_is_refused():
    one = "{vocab_size: 1, family: a, source: s, licence: l, factors: {English: 1}}"
    with pytest.raises(SpecError) as caught:
        read_tokenizers(f"groups: {{a: [X], b: [X]}}\ntokenizers:\n  m: {one}\n  n: {one[:-1]}, also: [m]}}\n")
    assert [problem.message for problem in caught.value.problems] == [
        "X is also in the group a",
        "m is the name of another tokenizer",
    ]


def test_models_name_their_tokenizer_or_are_known_by_size():
    assert tokenizer_of(catalog.load_model("llama-3.1-70b")) == "llama-3"
    assert tokenizer_of(catalog.load_model("meridian-1-70b")) == 128_000
    assert tokenizer_of(read_model("parameters: 7B\ntokenizer: tekken")) == "tekken"


def test_every_model_names_a_tokenizer_of_its_size():
    table = catalog.load_tokenizers()
    named = 0
    for name in catalog.list_entries("models"):
        model = catalog.load_model(name)
        if model.tokenizer is not None:
            tokenizer = table.find(model.tokenizer)
            assert tokenizer is not None
            # Embeddings are padded: to 50,400 from 50,257 (GPT-J), to 152,064 from 151,643 (Qwen).
            assert tokenizer.vocab_size <= model.vocab_size <= 1.006 * tokenizer.vocab_size
            named += 1
    assert named > 50


def test_the_page_says_what_is_counted_and_fitted(repository):
    page = repository / "docs" / "languages.md"
    made = runpy.run_path(str(repository / "docs" / "make_language_tables.py"))["page"]()
    assert page.read_text(encoding="utf-8") == made, "run: python docs/make_language_tables.py"
    mixes = [read_text(block).data["languages"] for block in re.findall(r"```yaml\n(.*?)```", made, re.DOTALL)]
    assert len(mixes) == 2
    for mix in mixes:
        assert math.fsum(mix.values()) == pytest.approx(1, abs=1e-12)
        assert mix.keys() <= set(known_languages())
