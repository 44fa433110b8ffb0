"""What a budget buys, against published GPU-hours and the arithmetic of the seed's question."""

import csv
import io

import pytest

from sim import catalog
from sim.errors import SpecError
from sim.lifecycle.data import effective_tokens
from sim.lifecycle.plan import MFU, Plan, Rented
from sim.lifecycle.pretraining import usd_to_train
from sim.lifecycle.scaling import EPOCH, lifetime_optimum, training_flops
from sim.lifecycle.stages import stages_of
from sim.spec.lifecycle import read_lifecycle
from sim.spec.ranged import assumed


@pytest.fixture(scope="module")
def published(repository):
    text = (repository / "tests/reference/training.csv").read_text()
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text.split("\n", 1)[1]))}


def _error(row):
    """Predicted over published GPU-hours, less 1."""
    family = row["gpu"].partition("-")[0]
    rented = Rented(catalog.load_gpu(row["gpu"]), MFU[family], assumed(1.0))
    hours = rented.hours(training_flops(float(row["parameters"]), float(row["tokens"])), MFU[family])
    return hours / float(row["gpu_hours"]) - 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("llama-2-7b", -0.02),
        ("llama-2-13b", -0.06),
        ("llama-2-70b", 0.07),
        ("llama-3-70b", -0.10),
        ("llama-3.1-405b", 0.12),
        ("deepseek-v3", 0.12),
    ],
)
def test_one_mfu_a_gpu_predicts_published_gpu_hours(published, name, expected):
    """6 N D / (3600 peak MFU), MFU 0.40 on A100 and 0.31 on H100, by hand; all within 25 %."""
    assert _error(published[name]) == pytest.approx(expected, abs=0.01)
    assert abs(_error(published[name])) < 0.25


@pytest.mark.parametrize(
    ("name", "expected"), [("llama-3-8b", -0.50), ("llama-4-scout", -0.26), ("llama-4-maverick", -0.15)]
)
def test_what_the_one_value_misses(published, name, expected):
    """Explained in docs/lifecycle.md: a small model on many GPUs, and a mixture of experts trained on video too."""
    assert _error(published[name]) == pytest.approx(expected, abs=0.01)


def test_no_other_value_does_much_better_on_h100(published):
    """The two ends are Llama 3 70B and DeepSeek-V3: the best of all values misses both by 11 %."""
    errors = [_error(row) for row in published.values() if row["fitted"] == "yes" and row["gpu"].startswith("h100")]
    ratios = [error + 1 for error in errors]
    assert max(ratios) / min(ratios) == pytest.approx(1.24, abs=0.01)
    assert max(map(abs, errors)) == pytest.approx(0.12, abs=0.005)


def test_the_three_answers_for_meridian(meridian):
    """70B: 1.3T by Epoch; 10M A100-hours at MFU 0.40 of 312 TFLOP/s buy 10.7T; the best of that budget 207B x 3.6T."""
    answers = meridian()["scaling"]
    assert answers["best tokens for this size (epoch)"].value == pytest.approx(1.3e12, rel=0.02)
    assert answers["compute of the budget"].value == pytest.approx(10e6 * 3600 * 312e12 * 0.4)
    assert answers["tokens that the budget buys at this size"].value == pytest.approx(10.7e12, rel=0.002)
    assert answers["best parameters for the budget (epoch)"].value == pytest.approx(207e9, rel=0.003)
    assert answers["best tokens for the budget (epoch)"].value == pytest.approx(3.62e12, rel=0.003)
    assert answers["best parameters for the budget (hoffmann)"].value == pytest.approx(81e9, rel=0.01)
    assert answers["best tokens for the budget (hoffmann)"].value == pytest.approx(9.2e12, rel=0.01)


def test_a_reserve_is_kept_out_of_the_tokens(meridian):
    whole = meridian(pretraining__instability_reserve_frac=0)["pretraining"]
    kept = meridian()["pretraining"]
    assert kept["training tokens"].value == pytest.approx(0.9 * whole["training tokens"].value)
    assert kept["GPU-hours"].value == whole["GPU-hours"].value == 10e6


def test_dollars_energy_and_carbon_by_hand(meridian):
    """1.30 USD; (0.9 x 400 + 350) W x 1.15; 383.55 g/kWh, 0.081 USD/kWh."""
    run = meridian()["pretraining"]
    kwh = 10e6 * (0.9 * 400 + 350) * 1.15 / 1000
    assert run["dollars"].value == pytest.approx(13e6)
    assert (run["dollars"].low, run["dollars"].high) == pytest.approx((8e6, 30e6))
    assert run["energy"].value == pytest.approx(kwh)
    assert run["carbon"].value == pytest.approx(kwh * 383.55 / 1e6)
    assert run["energy bill"].value == pytest.approx(kwh * 0.081)
    assert run["days"].value == pytest.approx(10e6 / 16384 / 24)


def test_the_life_that_costs_least_in_dollars(meridian):
    """Tokens served at the price of those trained on are the FLOP optimum; ten times dearer, a smaller model."""
    plan, loss, demand = Plan(meridian().spec), EPOCH.loss(70e9, 10e12), 50e12
    usd_per_flop = usd_to_train(plan, 70e9, 1e12) / training_flops(70e9, 1e12)
    assert usd_per_flop == pytest.approx(1.30 / (3600 * 312e12 * 0.4 * 0.9))

    def best(dearer):
        def serve(n):
            return dearer * usd_per_flop * 2 * n

        return lifetime_optimum(EPOCH, loss, demand, serve, lambda n, d: usd_to_train(plan, n, d))

    flops = lifetime_optimum(EPOCH, loss, demand)
    assert best(1).parameters == pytest.approx(flops.parameters, rel=1e-4)
    assert best(1).total == pytest.approx(usd_per_flop * flops.total)
    assert best(10).parameters < 0.8 * best(1).parameters


def test_tokens_may_be_the_optimum_or_given(meridian, small):
    best = meridian(data__tokens="chinchilla")
    assert best["pretraining"]["over-training"].value == pytest.approx(1.0)
    hours = 6 * 70.05e9 * 1.29e12 / (3600 * 312e12 * 0.4) / 0.9
    assert best["pretraining"]["GPU-hours"].value == pytest.approx(hours, rel=0.002)
    given = stages_of(read_lifecycle(small))["pretraining"]
    assert given["GPU-hours"].value == pytest.approx(6 * 8.03e9 * 1e12 / (3600 * 989e12 * 0.31) / 0.9, rel=0.001)


def test_the_loss_of_a_mixture_lies_between_its_active_and_all_parameters():
    text = (
        "name: m\ndata: {tokens: 14.8T}\narchitecture: {model: deepseek-v3}\npretraining: {hardware: h100-sxm-80gb}\n"
    )
    plan = Plan(read_lifecycle(text))
    n = plan.loss_parameters
    assert (n.low, n.high) == (plan.counts.active, plan.counts.total)
    assert n == pytest.approx((n.low * n.high) ** 0.5)
    assert plan.compute_parameters == plan.counts.active


@pytest.mark.parametrize(("epochs", "worth"), [(0.5, 0.5), (1, 1), (2, 2.0), (4, 3.7), (1000, 16.4)])
def test_repeats_are_worth_less_and_less(epochs, worth):
    """arXiv:2305.16264: four epochs are nearly as good as new text, and no number of them is worth more than 16.4."""
    assert effective_tokens(epochs * 1e9, 1e9) == pytest.approx(worth * 1e9, rel=0.02)


def test_gpus_of_which_nothing_is_published_need_an_mfu(small):
    text = small.replace("h100-sxm-80gb", "l40s-48gb")
    with pytest.raises(
        SpecError, match=r"pretraining.mfu: missing: nothing is published for l40s-48gb; known are a100"
    ):
        stages_of(read_lifecycle(text))


def test_gpus_that_nobody_prices_need_a_price(small):
    text = small.replace("h100-sxm-80gb", "l40s-48gb, mfu: 0.3")
    with pytest.raises(
        SpecError, match=r'pretraining.hardware: price book "2026" has no l40s-48gb\. .*usd_per_gpu_hour'
    ):
        stages_of(read_lifecycle(text))
    priced = stages_of(read_lifecycle(text.replace("mfu: 0.3", "mfu: 0.3, usd_per_gpu_hour: 1 USD/h")))["pretraining"]
    assert priced["dollars"].value == priced["GPU-hours"].value
