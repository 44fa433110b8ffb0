"""The fit on models whose answer is known."""

import numpy as np
import pytest

from sim.calibrate.serving.coefficients import Coefficient, values_at
from sim.calibrate.serving.fit import (
    NOISE,
    Observations,
    cost_of,
    covariance,
    deal,
    fit,
    refit,
    step_of,
    without,
)
from sim.cost.calibration import load_engine

COEFFICIENTS = (Coefficient("layer_s", 20e-6, 0.8), Coefficient("step_s", 400e-6, 0.8))


def line(truth, *, error=0.0, num_curves=8, spread=0.0, seed=0):
    """Step times layers x layer_s + step_s on a few curves: predictions, their derivative, observations."""
    draws = np.random.default_rng(seed)
    layers = np.repeat(draws.integers(8, 80, num_curves), 6) * np.tile([1, 2, 3, 5, 8, 13], num_curves)
    curve = np.repeat(np.arange(num_curves), 6)

    def times(places):
        values = np.array([[one.value(x) for one, x in zip(COEFFICIENTS, place, strict=True)] for place in places])
        return np.log(values[:, :1] * layers + values[:, 1:])

    def linearise(place):
        here = times(place[np.newaxis])[0]
        values = np.array([one.value(x) * one.spread for one, x in zip(COEFFICIENTS, place, strict=True)])
        return here, np.column_stack([layers * values[0], np.full(len(layers), values[1])]) / np.exp(here)[
            :, np.newaxis
        ]

    measured = np.log(truth[0] * layers + truth[1]) + error * draws.normal(size=len(layers))
    measured += spread * draws.normal(size=num_curves)[curve]
    return times, linearise, Observations(measured, np.ones(len(layers)), curve)


def test_it_finds_coefficients_that_give_the_measurements():
    predict, linearise, seen = line((31e-6, 700e-6))
    found = fit(predict, linearise, seen, COEFFICIENTS)
    # The beliefs beforehand pull a little: 48 points against one belief each.
    assert found.values["layer_s"] == pytest.approx(31e-6, rel=0.01)
    assert found.values["step_s"] == pytest.approx(700e-6, rel=0.02)


def test_without_measurements_it_keeps_what_is_believed():
    predict, linearise, seen = line((31e-6, 700e-6))
    none = Observations(seen.log_measured, np.zeros(len(seen.weight)), seen.curve)
    assert fit(predict, linearise, none, COEFFICIENTS).values == {"layer_s": 20e-6, "step_s": 400e-6}


def test_one_wild_curve_does_not_carry_it_away():
    predict, linearise, seen = line((31e-6, 700e-6))
    measured = np.where(seen.curve == 2, seen.log_measured + np.log(3.0), seen.log_measured)
    found = fit(predict, linearise, Observations(measured, seen.weight, seen.curve), COEFFICIENTS)
    assert found.values["layer_s"] == pytest.approx(31e-6, rel=0.08)


def test_a_fold_read_off_the_linear_form_is_the_fold_fitted_anew():
    predict, linearise, seen = line((31e-6, 700e-6), error=0.05, spread=0.05)
    whole = fit(predict, linearise, seen, COEFFICIENTS)
    for fold in deal(seen.curve, 4):
        left = without(seen, fold)
        anew = fit(predict, linearise, left, COEFFICIENTS)
        assert refit(whole, left) == pytest.approx(anew.place, abs=0.02)


def test_folds_hold_every_curve_once_and_whole():
    curves = np.repeat(np.arange(11), 3)
    folds = deal(curves, 4)
    assert sorted(np.concatenate(folds)) == list(range(11))
    assert {len(fold) for fold in folds} == {2, 3}
    assert len(deal(np.array([5, 5]), 4)) == 1


def test_the_covariance_is_that_of_repeated_experiments():
    found = []
    for seed in range(60):
        # The layers stay, the errors are new: curves err as a whole by 8 %, points by 3 %.
        predict, linearise, seen = line((31e-6, 700e-6))
        draws = np.random.default_rng(100 + seed)
        errors = 0.08 * draws.normal(size=8)[seen.curve] + 0.03 * draws.normal(size=len(seen.curve))
        noisy = Observations(seen.log_measured + errors, seen.weight, seen.curve)
        whole = fit(predict, linearise, noisy, COEFFICIENTS)
        found.append((np.log([whole.values[one.path] for one in COEFFICIENTS]), covariance(whole, noisy)))
    spread = np.std([logs for logs, _ in found], axis=0)
    told = np.sqrt(np.mean([np.diag(covariances) for _, covariances in found], axis=0))
    assert told == pytest.approx(spread, rel=0.35)


def test_cost_is_quadratic_near_and_linear_far():
    assert cost_of(np.array([0.01]), np.zeros(1)) == pytest.approx(0.01**2, rel=1e-3)
    assert cost_of(np.array([100.0]), np.zeros(1)) == pytest.approx(2 * 99, rel=1e-2)
    assert cost_of(np.zeros(1), np.array([3.0])) == 9.0


def test_residuals_count_noise_and_skip_what_was_not_predicted():
    seen = Observations(np.zeros(3), np.array([1.0, 0.5, 1.0]), np.zeros(3, np.int64))
    assert seen.residuals(np.array([NOISE, NOISE, np.nan])).tolist() == [1.0, 0.5, 0.0]


def test_a_damped_step_is_shorter():
    _, linearise, seen = line((90e-6, 100e-6))
    predicted, slope = linearise(np.zeros(2))
    from sim.calibrate.serving.fit import Fit

    now = Fit(COEFFICIENTS, np.zeros(2), predicted, slope, 0.0)
    lengths = [np.linalg.norm(step_of(now, seen, damping)) for damping in (0.0, 1.0, 100.0)]
    assert lengths[0] > lengths[1] > lengths[2] > 0


def test_coefficients_keep_to_what_is_physical():
    one = Coefficient("decode_bandwidth_frac.bf16", 0.8, 0.3, most=1.0, least=0.2)
    assert one.value(5.0) == 1.0
    assert one.value(-9.0) == 0.2
    assert one.value(one.place(0.7)) == pytest.approx(0.7)


def test_values_go_into_fields_and_entries_of_tables():
    engine = load_engine("vllm", "h100-sxm-80gb")
    coefficients = (Coefficient("layer_s", 1e-5, 1.0), Coefficient("step_s", 2e-4, 1.0))
    changed = engine.with_values(values_at(coefficients, np.zeros(2)))
    assert (changed.layer_s, changed.step_s, changed.sequence_s) == (1e-5, 2e-4, engine.sequence_s)
