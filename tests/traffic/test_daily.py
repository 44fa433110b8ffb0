"""The curve of starts gives the wanted curve of messages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.spec import Distribution
from sim.traffic.daily import MINUTES, DailyRate, Delay, start_rate, turn_survival
from sim.traffic.lengths import CELLS, lookup, quantile_table, stretched, table_mean, tokens

TURNS = stretched(
    quantile_table(
        Distribution.from_dict(
            {"distribution_type": "percentiles", "percentiles": {"0": 1, "57.9": 1.5, "87.6": 4.5, "100": 40}}
        )
    ),
    3.0,
    whole=True,
)
GAP = quantile_table(
    Distribution.from_dict({"distribution_type": "lognormal", "mean": 212.8, "standard_deviation": 270.2, "max": 3600})
)
DELAY = Delay.of(TURNS, GAP)
FINE = (np.arange(1 << 20) + 0.5) / (1 << 20)


def test_survival_is_that_of_the_drawn_number_of_turns():
    survival = turn_survival(TURNS)
    drawn = tokens(TURNS, FINE)
    assert survival == pytest.approx([(drawn > k).mean() for k in range(drawn.max())], abs=2e-6)
    assert survival.sum() == pytest.approx(table_mean(TURNS), rel=1e-12)
    assert turn_survival(np.ones(CELLS + 1)).tolist() == [1.0]
    assert turn_survival(np.full(CELLS + 1, 3.0)).tolist() == [1.0, 1.0, 1.0]


@given(st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 6.28)), min_size=4, max_size=4))
def test_messages_have_the_wanted_hourly_means(waves):
    hour = np.arange(24) * 2 * np.pi / 24
    hourly = 1 + sum(height * np.cos(k * hour + phase) for k, (height, phase) in enumerate(waves, 1))
    starts, messages = start_rate(hourly.tolist(), DELAY)
    assert starts.by_minute.min() >= 0
    assert starts.by_minute.mean() == pytest.approx(1.0)
    assert messages.by_hour == pytest.approx(hourly, abs=1e-9)


def test_messages_lag_behind_starts_by_the_gaps():
    # One sharp hour of starts, conversations of exactly two turns, ten minutes apart.
    hourly = [0.0] * 24
    hourly[5] = 1.0
    starts, messages = start_rate(hourly, Delay.of(np.full(CELLS + 1, 2.0), np.full(CELLS + 1, 600.0)))
    later = np.roll(starts.by_minute, 10)
    assert messages.by_minute == pytest.approx((starts.by_minute + later) / 2, abs=1e-9)


def test_a_curve_sharper_than_conversations_is_met_as_nearly_as_can_be():
    hourly = np.zeros(24)
    hourly[5] = 24.0
    starts, messages = start_rate(hourly, DELAY)
    assert starts.by_minute.min() >= 0
    assert messages.by_hour.argmax() == 5
    assert messages.by_hour.mean() == pytest.approx(1.0)


def test_times_of_day_follow_the_rate():
    rate = DailyRate(np.repeat(np.linspace(0.5, 1.5, 24), 60))
    times_s = lookup(rate.times_s, FINE)
    assert np.bincount((times_s // 3600).astype(int), minlength=24) / len(FINE) == pytest.approx(
        rate.by_hour / 24, rel=2e-3
    )
    assert rate.times_s[0] == 0
    assert rate.times_s[-1] == 86400


def test_volume_is_the_integral_of_the_rate():
    rate = DailyRate(np.repeat(np.linspace(0.5, 1.5, 24), 60))
    assert rate.volume(0, 86400) == pytest.approx(1)
    assert rate.volume(0, 3600) == pytest.approx(0.5 / 24)
    assert rate.volume(-3600, 0) == pytest.approx(1.5 / 24)
    assert rate.volume(-86400 - 1800, 86400 * 2) == pytest.approx(3 + 0.75 / 24)
    assert len(rate.by_minute) == MINUTES
