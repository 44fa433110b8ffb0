"""A fitted engine becomes an entry of the catalogue that says what it rests on."""

import dataclasses

import numpy as np
import pytest

from sim.calibrate.serving.coefficients import Coefficient
from sim.calibrate.serving.engine_fit import Fitted, stands_of
from sim.calibrate.serving.fit import Fit, Observations
from sim.calibrate.serving.publish import DIGITS, entry_of, text_of
from sim.cost.ensemble import ensemble
from sim.spec.engine import EngineSpec
from sim.spec.recipe import Recipe

VALUES = {"layer_s": 1.23456789e-5, "step_s": 4.56789e-4, "gemm_scale.bf16": 1.0456789}
DEVIATIONS = {"layer_s": 0.3, "step_s": 0.1, "gemm_scale.bf16": 0.02}


def fitted_of(library, point, *, num_curves=6, error=0.1):
    """What a fit might have ended with: every second row too high, every other too low, held-out rows twice as far."""
    recipe = Recipe(
        engine="mine", gpu="h100-sxm-80gb", like="vllm-h100-sxm-80gb", kernels="vllm", version="0.15.1", date="2026-03",
        source="me", beds=("vllm",), notes=("a note",),
    )  # fmt: skip
    points = [
        dataclasses.replace(
            point(load=f"concurrency={users}", group_id=f"g{curve}", model="Llama-3.2-1B", isl=str(100 * curve + 100)),
            measured={"ttft_mean": 20.0, "tpot_mean": 5.0},
        )
        for curve in range(num_curves)
        for users in (1, 8, 32)
    ]
    stands, _ = stands_of(recipe, points, {}, library)
    count = 2 * len(stands)
    curve = np.repeat(np.arange(num_curves), 6)
    seen = Observations(np.log(np.full(count, 5.0)), np.ones(count), curve)
    sign = np.where(np.arange(count) % 4 < 2, 1.0, -1.0)
    coefficients = tuple(Coefficient(path, value, 0.5) for path, value in VALUES.items())
    predicted = seen.log_measured + np.log1p(error * sign)
    deviations = np.array(list(DEVIATIONS.values()))
    whole = np.outer(deviations, deviations) * (0.5 + 0.5 * np.eye(3))
    folds = [((f"g{number}",), VALUES, {"max_num_batched_tokens": 2048}) for number in range(num_curves)]
    engine = library.engine("vllm", "h100-sxm-80gb").model_copy(
        update={"name": recipe.name, "engine": "mine", "like": None, "evidence": None}
    )
    fit = Fit(coefficients, np.zeros(3), predicted, np.zeros((count, 3)), 1.0)
    held_out = seen.log_measured + np.log1p(2 * error * sign)
    return Fitted(recipe, engine.with_values(VALUES), {}, stands, seen, fit, held_out, folds, whole)


@pytest.fixture
def fitted(library, point):
    return fitted_of(library, point)


def test_the_text_reads_back_as_the_same_engine(fitted):
    entry = entry_of(fitted)
    text = text_of(entry)
    assert EngineSpec.from_yaml(text) == entry
    assert text.startswith("# mine 0.15.1 on h100-sxm-80gb")


def test_coefficients_have_as_many_digits_as_the_fit_knows(fitted):
    entry = entry_of(fitted)
    assert (entry.layer_s, entry.step_s, entry.gemm_scale["bf16"]) == (1.235e-5, 4.568e-4, 1.046)
    assert entry.gemm_scale["fp8"] == fitted.engine.gemm_scale["fp8"]  # not fitted: it stays
    assert entry.sequence_s == fitted.engine.sequence_s
    assert DIGITS == 4


def test_errors_are_those_of_curves_held_out(fitted):
    entry = entry_of(fitted)
    assert set(entry.errors) == {"ttft", "tpot"}
    for error in entry.errors.values():
        assert (error.median_frac, error.p90_frac) == (pytest.approx(0.2), pytest.approx(0.2))
        assert (error.num_points, error.note) == (18, "curves held out")
        assert error.bias_frac == pytest.approx(0.0, abs=1e-4)
    assert entry.evidence.held_out == entry.errors
    regimes = entry.evidence.regimes
    assert set(regimes) == {
        f"{quantity}, load {load}" for quantity in ("ttft", "tpot") for load in ("1 to 4", "5 to 16", "17 to 64")
    }
    assert all(one.num_points == 6 and one.median_frac == pytest.approx(0.1) for one in regimes.values())


def test_rows_of_no_weight_are_not_scored(fitted):
    weight = np.where(np.arange(36) % 2 == 0, 0.0, 1.0)  # all first tokens
    seen = dataclasses.replace(fitted.seen, weight=weight)
    entry = entry_of(dataclasses.replace(fitted, seen=seen))
    assert set(entry.errors) == {"tpot"}


def test_the_covariance_is_a_triangle_of_the_logs(fitted):
    evidence = entry_of(fitted).evidence
    assert evidence.names == tuple(VALUES)
    assert [len(row) for row in evidence.log_covariance] == [1, 2, 3]
    for number, row in enumerate(evidence.log_covariance):
        assert row == pytest.approx(fitted.log_covariance[number, : number + 1], abs=1e-4)


def test_what_is_known_well_keeps_its_digits(library, point):
    """A coefficient known within 0.2 % has a variance of 4e-6: written with digits, not as a count of 1e-4."""
    fitted = fitted_of(library, point)
    small = dataclasses.replace(fitted, log_covariance=fitted.log_covariance * 1e-4)
    entry = EngineSpec.from_yaml(text_of(entry_of(small)))
    found = [row[-1] for row in entry.evidence.log_covariance]
    assert found == pytest.approx(np.diag(small.log_covariance), rel=1e-3)
    assert len({one.step_s for one in ensemble(entry, 5, seed=1)}) == 5


def test_range_and_grade(library, point):
    entry = entry_of(fitted_of(library, point))
    assert entry.range.models == ("llama-3.2-1b",)
    assert entry.range.tensor_parallel_sizes == (1,)
    assert entry.range.precisions == ("bf16",)
    assert entry.range.note == "loads of 1 to 32; prompts of 100 to 600 tokens, answers of 16 to 16"
    assert (entry.evidence.num_curves, entry.evidence.num_points) == (6, 18)
    assert entry.evidence.grade == "thin"  # 20 % on curves held out
    for num_curves, error, grade in ((6, 0.05, "fair"), (6, 0.08, "thin"), (4, 0.01, "thin"), (10, 0.03, "good")):
        found = entry_of(fitted_of(library, point, num_curves=num_curves, error=error))
        assert found.evidence.grade == grade
    assert entry.evidence.curve_sd["tpot"] == pytest.approx(0.0, abs=0.15)


def test_folds_keep_coefficients_and_settings(fitted):
    folds = entry_of(fitted).evidence.folds
    assert [fold.curves for fold in folds] == [(f"g{number}",) for number in range(6)]
    assert folds[0].coefficients["layer_s"] == 1.235e-5
    assert folds[0].settings == {"max_num_batched_tokens": 2048.0}
