import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import intervals

from sim.metrics.saturation import growth, is_saturated, margin_frac, verdict


def test_growth_is_a_mean_and_its_standard_error():
    flow = np.array([3.0, 5.0, 4.0, 8.0])
    mean, error = growth(flow, 60.0)
    assert mean == pytest.approx(5.0 / 60)
    assert error == pytest.approx(np.std(flow, ddof=1) / 2 / 60)


def test_one_slice_says_nothing():
    mean, error = growth(np.array([7.0]), 60.0)
    assert (mean, error) == (pytest.approx(7 / 60), math.inf)
    assert not is_saturated(mean, error, waiting_min=5)


@pytest.mark.parametrize(
    ("grows", "error", "waiting_min", "expected"),
    [(0.31, 0.1, 1, True), (0.29, 0.1, 1, False), (0.31, 0.1, 0, False), (0.1, 0.0, 1, True), (-1.0, 0.1, 9, False)],
)
def test_an_interval_is_saturated_if_it_grew_beyond_chance_and_never_emptied(grows, error, waiting_min, expected):
    assert is_saturated(grows, error, waiting_min) is expected


def test_a_stable_queue_is_seldom_called_saturated_and_an_overload_always():
    draw = np.random.default_rng(2)
    stable = overload = 0
    for _ in range(400):
        waiting = draw.poisson(50, 16)  # a level that fluctuates but goes nowhere
        stable += is_saturated(*growth(np.diff(waiting).astype(float), 60.0), waiting_min=1)
        overload += is_saturated(*growth(draw.poisson(110, 15) - draw.poisson(80, 15), 60.0), waiting_min=1)
    assert stable == 0
    assert overload >= 399


@given(st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_a_margin_is_what_is_left(needed_s, available_s):
    assert margin_frac(needed_s, available_s) == pytest.approx(1 - needed_s / available_s)


def test_no_time_has_no_margin():
    assert math.isnan(margin_frac(1.0, 0.0))


def test_the_verdict_is_the_worst_intervals():
    timeline = intervals(saturated=True)
    found = verdict(timeline, ("main", "guard"))
    assert found["verdict"] == "saturated"
    assert found["worst_interval"]["pool"] == "main"
    assert found["worst_interval"]["t_s"] == 70 * 900.0
    assert found["margin_frac"] == pytest.approx(-0.02)
    assert found["num_saturated_intervals"] == {"main": 1, "guard": 0}


def test_a_saturated_interval_is_worse_than_any_margin():
    timeline = intervals()
    timeline["margin_frac"][4] = -5.0
    timeline["saturated"][8] = 1
    assert verdict(timeline, ("main", "guard"))["worst_interval"]["t_s"] == timeline["t_s"][8]


def test_a_stable_run_names_its_tightest_interval():
    timeline = intervals()
    found = verdict(timeline, ("main", "guard"))
    assert found["verdict"] == "stable"
    assert found["margin_frac"] == pytest.approx(timeline["margin_frac"].min())


def test_the_run_in_and_unknown_margins_do_not_count():
    timeline = intervals()
    timeline["t_s"] -= 3600.0
    timeline["saturated"][0] = 1
    timeline["margin_frac"][20] = np.nan
    found = verdict(timeline, ("main", "guard"))
    assert found["verdict"] == "stable"
    assert found["margin_frac"] == pytest.approx(np.nanmin(timeline["margin_frac"]))


def test_no_interval_is_no_trouble():
    found = verdict(intervals()[:0], ("main",))
    assert found["verdict"] == "stable"
    assert found["worst_interval"] is None
