"""Calendar, crowds and regions: factors by hand, and the expected messages against a count minute by minute."""

import numpy as np
import pytest

from sim.spec import Distribution
from sim.traffic.calendar import DAYS_PER_MONTH, Calendar
from sim.traffic.crowd import Crowd
from sim.traffic.daily import HOURS, MINUTES, DailyRate, Delay, start_rate
from sim.traffic.lengths import CELLS, quantile_table
from sim.traffic.timeline import LocalTime, expected

ONE_TURN = Delay.of(np.ones(CELLS + 1), np.zeros(CELLS + 1))
CURVE = [1.0] * 6 + [2.0] * 6 + [4.0] * 6 + [3.0] * 6


def local(utc_offset_h=0.0, delay=ONE_TURN, **calendar):
    starts, messages = start_rate(CURVE, delay)
    return LocalTime("here", utc_offset_h, starts, messages, Calendar(**calendar))


def test_days_have_the_factors_of_weekday_season_and_growth():
    # Day 0 is a Friday.
    found = Calendar(start_weekday=4, weekend_frac=0.5, season_frac=0.8).factors(-1, 5)
    assert found == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.8, 0.8])
    growth = Calendar(growth_per_month=0.1).factors(0, 400)
    assert growth[0] == 1.0
    assert np.all(growth[1:] / growth[:-1] == pytest.approx(1.1 ** (1 / DAYS_PER_MONTH)))
    assert Calendar(growth_per_month=-0.5).factors(-31, -30)[0] == pytest.approx(2.0 ** (31 / DAYS_PER_MONTH))


def test_a_crowd_rises_on_a_line_and_decays():
    crowd = Crowd(at_s=1000.0, peak_factor=3.0, rise_s=100.0, decay_s=50.0)
    at = np.array([0.0, 999.0, 1000.0, 1050.0, 1100.0, 1150.0, 1599.0, 1600.0, 1e6])
    e = np.exp
    assert crowd.height(at) == pytest.approx([0, 0, 0, 1, 2, 2 * e(-1), 2 * e(-499 / 50), 0, 0], rel=1e-12)
    assert crowd.end_s == 1600.0
    at_once = Crowd(at_s=0.0, peak_factor=2.0, rise_s=0.0, decay_s=1.0)
    assert at_once.height(np.array([-1e-9, 0.0])) == pytest.approx([0.0, 1.0])


def test_a_usual_day_brings_its_turns_whatever_the_offset():
    gap = quantile_table(Distribution.from_dict({"distribution_type": "uniform", "min": 600, "max": 40_000}))
    delay = Delay.of(np.full(CELLS + 1, 3.0), gap)
    assert delay.by_minute.sum() == pytest.approx(3.0)
    for offset in (-12.0, -0.5, 0.0, 5.75, 14.0):
        region = local(offset, delay)
        found = expected(region, (), [delay], 86400.0)
        assert found.starts == pytest.approx(1.0, rel=1e-12)
        assert found.messages == pytest.approx([3.0], rel=1e-12)
        # The same in UTC, so much earlier.
        utc = region.messages.shifted(-round(offset * 60))
        assert found.by_hour[0] == pytest.approx(3.0 * utc.by_hour / HOURS, rel=1e-9)


@pytest.mark.parametrize("horizon_s", [40_000.0, 4 * 86400.0])
@pytest.mark.parametrize("offset", [-7.0, 0.0, 9.5])
def test_expected_messages_are_those_of_every_minute_counted(offset, horizon_s):
    # Two turns, half a day and half an hour apart; a crowd on the second day; a Saturday on the third.
    delay = Delay.of(np.full(CELLS + 1, 2.0), np.full(CELLS + 1, 45_000.0))
    region = local(offset, delay, start_weekday=3, weekend_frac=0.4, season_frac=0.9, growth_per_month=0.5)
    crowd = Crowd(at_s=20_000.0, peak_factor=4.0, rise_s=7200.0, decay_s=3600.0)
    found = expected(region, [crowd], [delay, ONE_TURN], horizon_s)
    # By brute force: every minute from long before to long after, in UTC.
    minute = np.arange(-4 * MINUTES, 6 * MINUTES)
    shifted = minute + round(offset * 60)
    day, of_day = np.divmod(shifted, MINUTES)
    rate = region.starts.by_minute[of_day] / MINUTES * region.calendar.factors(-10, 10)[day + 10]
    rate = rate * (1.0 + crowd.height((minute + 0.5) * 60.0))
    inside = np.clip(horizon_s / 60.0 - minute, 0.0, 1.0) * (minute >= 0)
    assert found.starts == pytest.approx(rate @ inside, rel=1e-12)
    both = rate + np.roll(rate, 750)
    assert found.messages == pytest.approx([both @ inside, rate @ inside], rel=1e-12)
    whole_days = (minute >= 0) & (minute * 60.0 < -(-horizon_s // 86400.0) * 86400.0)
    by_hour = np.bincount(minute // 60 % HOURS, both * whole_days, HOURS)
    assert found.by_hour[0] == pytest.approx(by_hour, rel=1e-9)


def test_nothing_comes_after_the_last_minute_with_any():
    by_minute = np.zeros(MINUTES)
    by_minute[100:200] = 1.0
    times_s = DailyRate(by_minute).times_s
    assert times_s[0] == 6000.0
    assert times_s[-1] == 12000.0


def test_a_mixture_has_the_mean_delay():
    short = Delay.of(np.ones(CELLS + 1), np.zeros(CELLS + 1))
    long = Delay.of(np.full(CELLS + 1, 4.0), np.full(CELLS + 1, 36_000.0))
    both = Delay.mixture([short, long], [0.75, 0.25])
    assert both.by_minute.sum() == pytest.approx(0.75 + 0.25 * 4)
    assert both.by_minute[0] == pytest.approx(1.0)
    assert both.by_minute[[600, 1200, 1800]] == pytest.approx(0.25)
