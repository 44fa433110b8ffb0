"""Forecasts: exact for what comes back, for its growth by one factor, and silent where nothing is known."""

import math

import pytest

from sim.fleet.scaling.autoscaler import scheduled
from sim.fleet.scaling.past import Past
from sim.spec.autoscaler import Forecast, Schedule

DAY_S, BIN_S = 86_400.0, 900.0


def wave(t_s):
    """A day's load: 50 at its lowest, 150 at its highest."""
    return 100.0 + 50.0 * math.sin(2.0 * math.pi * t_s / DAY_S)


def past(until_s, load, **settings):
    """What has been seen every 5 minutes up to a time."""
    found = Past(Forecast.from_dict({"target": 10} | settings), 0.0)
    for k in range(round(until_s / 300.0)):
        found.add(k * 300.0, (k + 1) * 300.0, load(math.floor(k * 300.0 / BIN_S) * BIN_S))
    return found


def test_the_second_day_is_forecast_exactly_where_days_are_alike():
    seen = past(DAY_S + 8 * 3600.0, wave)
    now = DAY_S + 8 * 3600.0
    for ahead_s in (0.0, 899.0, 900.0, 3600.0):
        bins = range(math.floor(now / BIN_S), math.floor((now + ahead_s) / BIN_S) + 1)
        expected = max(wave(k * BIN_S) for k in bins)
        assert seen.forecast(now, ahead_s) == pytest.approx(expected, rel=1e-9)
        assert seen.replicas(now, ahead_s) == math.ceil(expected / 10.0 - 1e-9)


@pytest.mark.parametrize("growth", [0.5, 1.0, 1.3])
def test_growth_by_one_factor_is_seen(growth):
    seen = past(DAY_S + 8 * 3600.0, lambda t_s: wave(t_s) * (growth if t_s >= DAY_S else 1.0))
    now = DAY_S + 8 * 3600.0
    assert seen.forecast(now, 0.0) == pytest.approx(growth * wave(now), rel=1e-9)


def test_without_a_trend_window_growth_is_not_looked_for():
    seen = past(DAY_S + 8 * 3600.0, lambda t_s: wave(t_s) * (1.3 if t_s >= DAY_S else 1.0), trend_window=0)
    assert seen.forecast(DAY_S + 8 * 3600.0, 0.0) == pytest.approx(wave(8 * 3600.0), rel=1e-9)


def test_on_the_first_day_nothing_is_proposed():
    seen = past(8 * 3600.0, wave)
    assert seen.forecast(8 * 3600.0, 3600.0) is None
    assert seen.replicas(8 * 3600.0, 3600.0) == 0


def test_history_stands_for_the_day_before():
    hours = [float(hour) for hour in range(24)]
    seen = Past(Forecast.from_dict({"target": 2, "history": hours}), 0.0)
    assert [seen.forecast(hour * 3600.0, 0.0) for hour in range(24)] == hours
    assert seen.replicas(7 * 3600.0, 3600.0) == 4


def test_a_week_that_is_long_over_is_forgotten():
    seen = past(5 * DAY_S, wave)
    assert len(seen._sums) <= 2 * DAY_S / BIN_S + 1


def test_a_schedule_holds_from_each_step_to_the_next_and_over_midnight():
    given = Schedule.from_dict({"steps": [{"at": "8 h", "replicas": 9}, {"at": "20 h", "replicas": 3}]})
    found = [scheduled(given, hour * 3600.0) for hour in (0, 7.99, 8, 12, 19.99, 20, 23.99, 24, 32, -4, -5)]
    assert found == [3, 3, 9, 9, 9, 3, 3, 3, 9, 3, 9]
