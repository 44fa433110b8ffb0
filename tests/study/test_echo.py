"""What a choice changes, and that it changes what it says."""

import runpy
from types import SimpleNamespace

import pytest

from sim import catalog, traffic
from sim.errors import SpecError
from sim.lifecycle.shapes import parameters
from sim.lifecycle.stages import stages_of
from sim.spec.lifecycle import Lifecycle
from sim.study.echo import CHOICES, Choice, changed, chosen, echo, scenario_of

BY_NAME = {choice.name: choice for choice in CHOICES}
SMALL_CHOICES = (
    CHOICES[0],
    Choice("8 KV heads", "32", {"architecture.num_key_value_heads": 8}, proxy="less"),
    Choice("two GPUs", "one", scenario={"fleet.pools.*.tensor_parallel_size": 2}),
    Choice("in a blink", "in time", scenario={"slo.ttft_s": 0.001}),
)
OWN = {
    "name": "own",
    "data": {"tokens": 1e12},
    "architecture": {"parameters": 8e9, "num_key_value_heads": 32, "max_position_embeddings": "16k"},
    "pretraining": {"hardware": "h100-sxm-80gb"},
}


@pytest.fixture(scope="module")
def stages():
    return stages_of(catalog.load_lifecycle("meridian-1"))


@pytest.fixture(scope="module")
def scenario(stages):
    return scenario_of(stages.spec)


@pytest.fixture(scope="module")
def found(small, how):
    own = stages_of(Lifecycle.from_dict(OWN))
    return {row.choice: row for row in echo(own, small, SMALL_CHOICES, **how)}


@pytest.mark.parametrize("choice", CHOICES, ids=list(BY_NAME))
def test_every_choice_is_trained_on_as_many_tokens(stages, choice):
    made = chosen(stages, choice)
    assert made["pretraining"]["training tokens"].value == stages["pretraining"]["training tokens"].value


def test_nothing_chosen_is_what_was_there(stages, scenario):
    made = chosen(stages, CHOICES[0])
    assert made.development_usd.value == pytest.approx(stages.development_usd.value)
    assert parameters(made.model) == parameters(catalog.load_model("meridian-1-70b"))
    assert changed(scenario, CHOICES[0], "meridian-1-70b").digest == scenario.digest


def test_choices_change_the_model(stages):
    base = chosen(stages, CHOICES[0]).model
    assert chosen(stages, BY_NAME["MHA"]).model.num_key_value_heads == base.num_attention_heads == 64
    assert chosen(stages, BY_NAME["vocabulary of 32k"]).model.vocab_size == 32_000
    assert chosen(stages, BY_NAME["context of 8k"]).model.max_position_embeddings == 8192
    assert chosen(stages, CHOICES[-1]).model.is_moe


def test_choices_change_what_development_takes(stages):
    base = chosen(stages, CHOICES[0])

    def saved(choice):
        return base.development_usd.value - chosen(stages, BY_NAME[choice]).development_usd.value

    assert saved("MHA") == pytest.approx(base["uptraining"]["dollars"].value, rel=0.1)  # and its 70B are a few more
    assert saved("context of 8k") == pytest.approx(base["context_extension"]["all: dollars"].value, rel=0.02)
    assert saved("fp8") == saved("int4") == 0.0
    active = chosen(stages, CHOICES[-1])["pretraining"]["dollars"].value / base["pretraining"]["dollars"].value
    assert active == pytest.approx(20 / 70, rel=0.1)


def test_choices_change_the_scenario_where_they_say(scenario):
    fp8 = changed(scenario, BY_NAME["fp8"], "meridian-1-70b")
    weights = {name: fp8.pool(name).weights for name in fp8.fleet.pools}
    assert weights == {"main": "fp8", "api": "fp8", "guard": "bf16", "api-guard": "bf16"}
    short = changed(scenario, BY_NAME["context of 8k"], "meridian-1-70b")
    assert {tier.max_context_tokens for tier in short.tiers.values()} == {8192}


@pytest.mark.parametrize(
    ("choice", "model"), [("context of 8k", "meridian-1-70b"), ("vocabulary of 32k", "meridian-1-70b-32k")]
)
def test_programs_send_as_many_requests_whatever_people_send(scenario, choice, model):
    def requests(one):
        return {name: told["requests"] for name, told in traffic.build(one).describe()["by_class"].items()}

    assert requests(changed(scenario, BY_NAME[choice], model)) == pytest.approx(requests(scenario))


def test_people_pay_for_the_tokens_of_their_language(scenario):
    def tokens(model):
        classes = traffic.build(scenario.replace("model", model)).describe()["by_class"]
        return classes["free"]["output_tokens"] / classes["free"]["requests"]

    # Means over the scenario's languages: 1.38 under 128k, 2.20 under 32k (docs/languages.md).
    assert tokens("meridian-1-70b-32k") / tokens("meridian-1-70b") == pytest.approx(2.204 / 1.384, rel=0.01)


def test_rows_say_what_fleets_need(found):
    base, fewer, double, hopeless = found.values()
    assert fewer.num_gpus <= base.num_gpus
    assert fewer.proxy == "less"
    assert double.num_gpus % 2 == 0
    assert double.usd_per_month == pytest.approx(base.usd_per_month * double.num_gpus / base.num_gpus)
    assert hopeless.num_gpus is hopeless.lifetime_usd is None
    assert "try a looser slo" in hopeless.why_not
    for row in (base, fewer, double):
        assert row.lifetime_usd == pytest.approx(row.development_usd + 12 * row.usd_per_month)
        assert row.usd_per_user_month == pytest.approx(row.usd_per_month / 40_000, rel=1e-6)  # all are people
        assert 0.0 < row.p50_itl_ms < row.p50_ttft_ms < row.p95_ttft_ms
        assert row.refused_frac == 0.0


def test_a_lifecycle_must_name_who_serves_it():
    with pytest.raises(SpecError, match=r"serving\.scenario: missing"):
        scenario_of(Lifecycle.from_dict(OWN))


@pytest.fixture(scope="module")
def made(repository):
    return runpy.run_path(str(repository / "docs/make_choices_table.py"))


@pytest.fixture(scope="module")
def page(repository):
    return (repository / "docs/choices.md").read_text(encoding="utf-8")


def test_expectations_are_of_known_figures_with_a_reason(made, page):
    for one in made["EXPECTED"]:
        assert one.choice in BY_NAME
        assert one.figure in made["SHOWN"]
        assert one.low < one.high
        assert f"{one.low:g} to {one.high:g}" in page
        assert one.why in page


def test_a_verdict_says_whether_it_came_so(made):
    figures = dict.fromkeys(made["SHOWN"], 1.0)
    rows = {choice.name: SimpleNamespace(**figures) for choice in CHOICES}
    rows["fp8"] = SimpleNamespace(**figures | {"num_gpus": 0.5, "p50_itl_ms": None})
    told = made["verdicts"](rows).splitlines()
    assert any("| fp8 | GPUs | 0.4 to 0.65 | 0.50 | as expected |" in line for line in told)
    assert any("| fp8 | ITL, median |" in line and "| - | no fleet |" in line for line in told)
    assert any("| MHA | GPUs | 1.3 to 4 | 1.00 | **missed** |" in line for line in told)


@pytest.mark.slow
@pytest.mark.parametrize("choice", [CHOICES[0], BY_NAME["fp8"]], ids=["as it is", "fp8"])
def test_the_page_says_what_is_found(made, page, choice):
    (row,) = made["rows"]([choice])
    assert made["line"](made["cells"](row)) in page
