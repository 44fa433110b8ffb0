"""Every stage has figures, every figure a unit and a source, and the bills add up."""

import json

import pytest

from sim import catalog
from sim.errors import SpecError
from sim.lifecycle.compression import SCHEMES, distillation_flops
from sim.lifecycle.figures import ASSUMED, COMPUTED
from sim.lifecycle.shapes import parameters
from sim.lifecycle.stages import stages_of
from sim.spec.lifecycle import Lifecycle, read_lifecycle

NAMES = [
    "data",
    "architecture",
    "scaling",
    "pretraining",
    "uptraining",
    "context_extension",
    "alignment",
    "compression",
    "safety",
    "evaluation",
    "release",
]


def test_every_figure_has_a_unit_a_source_and_a_range_that_holds_it(meridian):
    stages = meridian()
    assert [stage.name for stage in stages] == NAMES
    for stage in stages:
        assert stage.figures
        names = [figure.name for figure in stage.figures]
        assert len(set(names)) == len(names)
        for figure in stage.figures:
            assert figure.unit
            # A word and a place to look: an equation, a page, or why it is assumed.
            assert len(figure.source) > len(ASSUMED) or figure.source == ASSUMED, figure.name
            if figure.low is not None:
                assert figure.low <= figure.value <= figure.high, figure.name


def test_what_rests_on_something_assumed_says_so(meridian):
    stages = meridian()
    taken = stages["alignment"]["sft: GPU-hours"].source
    assert taken.startswith(COMPUTED)
    assert ASSUMED in taken
    assert ASSUMED not in stages["scaling"]["tokens that the budget buys at this size"].source


def test_the_bills_add_up_to_the_development(meridian):
    stages = meridian()
    bills = sum(stages[name]["dollars"].value for name in ("pretraining", "uptraining"))
    bills += sum(
        stages[name]["all: dollars"].value
        for name in ("context_extension", "alignment", "compression", "safety", "evaluation")
    )
    assert stages.development_usd.value == pytest.approx(bills)
    release = stages["release"]
    parts = [figure.value for figure in release.figures if figure.name.endswith(": part")]
    assert sum(parts) == pytest.approx(1.0)
    assert release["development a month"].value == pytest.approx(bills / 6)
    assert release["cost of ownership"].value == pytest.approx(bills + 12 * 4.61e6)
    assert release["releases served at once"].value == 2


def test_uptraining_is_a_twentieth_of_pretraining(meridian):
    """arXiv:2305.13245."""
    stages = meridian()
    assert stages["uptraining"]["GPU-hours"].value == pytest.approx(0.05 * 10e6)
    assert stages["uptraining"]["KV cache under full heads"].value == 8


def test_smaller_weights_have_published_losses(meridian):
    """arXiv:2411.02355; model cards: 74.0 and 76.1 of 78.9."""
    stage = meridian()["compression"]
    assert stage["fp8: quality"].value == 0
    assert stage["int8: quality"].to_dict() | {"note": ""} == {
        "name": "int8: quality",
        "value": -0.02,
        "unit": "change of benchmark scores",
        "source": "arXiv:2411.02355: W8A8 in int8, 1 to 3 %",
        "low": -0.03,
        "high": -0.01,
        "note": "",
    }
    assert stage["nvfp4: quality"].value == pytest.approx(-0.062, abs=5e-4)
    assert stage["nvfp4-qat: quality"].value == pytest.approx(-0.035, abs=5e-4)
    assert stage["fp8: weights"].value == pytest.approx(70.05, abs=0.01)
    assert SCHEMES["int4"].weight_bytes == 0.515625


def test_a_pruned_model_takes_a_fraction_of_training_from_nothing(meridian):
    """Minitron: about 100B tokens, up to 40 times fewer; with the teacher's part of the compute."""
    stage = meridian()["compression"]
    assert stage["pruning: compute"].value == pytest.approx((2 * 70.05e9 + 6 * 35e9) * 100e9, rel=1e-3)
    assert stage["pruning: compute against from nothing"].value == pytest.approx(0.0173, abs=2e-4)
    assert distillation_flops(0.0, 1.0, 1.0) == 6.0
    assert stage["distillation: loss from nothing"].value > meridian()["pretraining"]["predicted loss (epoch)"].value


def test_training_once_against_a_classifier_every_month(meridian):
    """n (t + p + o) / N (p + o): 8B that reads 210 + 1,300 beside a 70B that reads 1,300; the bill is 4.61M a month."""
    stage = meridian()["safety"]
    guard = parameters(catalog.load_model("llama-guard-3-8b")).active
    part = guard * 1510 / (parameters(meridian().model).active * 1300)
    assert stage["llama-guard-3-8b: compute"].value == pytest.approx(part)
    assert part == pytest.approx(0.126, abs=5e-4)
    monthly = stage["llama-guard-3-8b: dollars a month"].value
    assert monthly == pytest.approx(part * 4.61e6)
    months = stage["llama-guard-3-8b: months that cost as much as the training"].value
    assert months == pytest.approx(stage["all: dollars"].value / monthly)
    assert stage["activation-probe: compute"].value == 0.01


def test_benchmarks_and_attackers_by_hand(meridian):
    stage = meridian()["evaluation"]
    # A token of 2,000 attends to 1,000 on average: 4 x 8,192 FLOP for each in 80 layers.
    hours = (2 * 70.05e9 + 4 * 8192 * 80 * 1000) * 5000 * 2000 * 4 * 20 / (3600 * 989e12 * 0.1)
    assert stage["math: GPU-hours"].value == pytest.approx(hours, rel=1e-3)
    assert stage["red team: people"].value == 50 * 40 * 100
    gpus = stage["benchmarks: GPU-hours"].value + stage["red team: GPU-hours"].value
    assert stage["all: dollars"].value == pytest.approx(gpus * 3 + 200_000)


def test_a_choice_moves_what_follows_from_it(meridian):
    """Full heads: eight times the cache, nothing else of the training; a smaller vocabulary: more tokens of Hindi."""
    plain, full = meridian(), meridian(architecture__attention="mha", architecture__num_key_value_heads=None)
    cache = "KV cache of a token"
    assert full["architecture"][cache].value == pytest.approx(8 * plain["architecture"][cache].value)
    assert full["pretraining"]["dollars"].value == plain["pretraining"]["dollars"].value
    few = meridian(architecture__vocab_size="32k")
    text = "Hindi: tokens a text"
    assert few["data"][text].value > 1.2 * plain["data"][text].value
    experts = meridian(architecture__active_parameters="12B")
    tokens = "training tokens"
    assert experts["pretraining"][tokens].value > 5 * plain["pretraining"][tokens].value


def test_a_lifecycle_with_next_to_nothing_has_its_stages(small):
    stages = stages_of(read_lifecycle(small))
    assert [stage.name for stage in stages] == [n for n in NAMES if n not in ("uptraining", "context_extension")]
    assert stages.development_usd.value == stages["pretraining"]["dollars"].value
    assert "cost of ownership" not in stages["release"]
    with pytest.raises(KeyError, match="no stage 'uptraining'; there are data, architecture"):
        stages["uptraining"]


def test_it_can_be_written_and_read_again(meridian):
    spec = catalog.load_lifecycle("meridian-1")
    assert Lifecycle.from_yaml(spec.to_yaml()) == spec
    assert stages_of(Lifecycle.from_yaml(spec.to_yaml())).to_dict() == meridian().to_dict()
    json.dumps(meridian().to_dict(), allow_nan=False)


def test_every_mistake_is_said_at_once_with_its_line(tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    text = small.replace("llama-3.1-8b", "llama-3.1-8").replace("h100-sxm-80gb}", "h100, mfu: 0.4}")
    (tmp_path / "own.yaml").write_text(text + "site: atlantis\nsafety: {classifiers: [guard]}\nprices: '2062'\n")
    with pytest.raises(SpecError) as caught:
        catalog.load_lifecycle("own.yaml")
    found = [str(problem) for problem in caught.value.problems]
    assert [problem.path for problem in caught.value.problems] == [
        "prices",
        "site",
        "architecture.model",
        "pretraining.hardware",
        "safety.classifiers.0",
    ]
    assert found[2] == (
        "own.yaml:3  architecture.model: no entry llama-3.1-8 in models. Did you mean llama-3.1-8b? "
        "Or give the path of a file."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pretraining.gpu_hours": None}, "pretraining.gpu_hours: missing: data.tokens is budget"),
        ({"data.mixture.code.frac": 0.2}, "data.mixture: shares must add up to 1, got 1.03"),
        ({"data.languages.Hindi": 0.5}, "data.languages: shares must add up to 1, got 1.49"),
        ({"data.tokens": "all"}, "data.tokens: "),
        ({"pretraining.mfu": 0}, "pretraining.mfu: value must be > 0, got 0"),
        ({"compression.quantization": ["int3"]}, "compression.quantization.0: "),
    ],
)
def test_contradictions_are_said(change, message):
    with pytest.raises(SpecError) as caught:
        catalog.load_lifecycle("meridian-1", change)
    assert message in str(caught.value)
