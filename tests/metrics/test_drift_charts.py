"""Charts and two-sample tests: published run lengths, hand-made cases, and false alarms as often as said."""

import numpy as np
import pytest
from scipy.stats import binom

from sim.metrics.drift.baseline import DAYS, Baseline, Series, pattern, per_chart, simulated_limit, weighted_fit
from sim.metrics.drift.bootstrap import bootstrapped
from sim.metrics.drift.bootstrap import pattern as bootstrap_pattern
from sim.metrics.drift.charts import (
    crossing_frac,
    cusum,
    exact_limit,
    mean_run_length,
    page_hinkley,
    tail_limit,
)
from sim.metrics.drift.compare import joined_bins, ks, psi, psi_chance

SURE = 0.99


def within(count, trials, chance):
    """Whether a count lies inside the central 99 % of the binomial distribution."""
    low, high = binom.interval(SURE, trials, chance)
    return low <= count <= high


@pytest.mark.parametrize(("h", "published"), [(4.0, 335.4), (5.0, 930.9)])
def test_run_lengths_are_the_published_ones(h, published):
    """Two-sided 168 and 465 (Montgomery, Statistical Quality Control, Table 9.3: k = 1/2), one side twice as long."""
    assert mean_run_length(0.5, h) == pytest.approx(published, rel=0.005)


def test_run_length_after_a_shift_is_the_published_one():
    """A shift by one deviation is a score less k by one: 8.38 and 10.4 (the same table)."""
    assert mean_run_length(-0.5, 4.0) == pytest.approx(8.38, rel=0.005)
    assert mean_run_length(-0.5, 5.0) == pytest.approx(10.4, rel=0.005)


def test_cusum_by_hand():
    up, down = cusum(np.array([1.0, 2.0, -3.0, -1.0]), k=0.5)
    assert up.tolist() == [0.5, 2.0, 0.0, 0.0]
    assert down.tolist() == [0.0, 0.0, 2.5, 3.0]


def test_page_hinkley_by_hand():
    # means 0, 1, 2; deviations less delta: -0.5, 0.5, 1.5 (and the sum before anything is 0)
    assert page_hinkley(np.array([0.0, 2.0, 4.0]), 0.5).tolist() == [0.0, 0.5, 2.0]


def test_page_hinkley_alarms_as_often_as_simulated_elsewhere():
    rng = np.random.default_rng(1)
    rise = page_hinkley(rng.standard_normal((168, 20_000)), 0.25).max(axis=0)
    limit = tail_limit(rise, 0.01)
    fresh = page_hinkley(rng.standard_normal((168, 2_000)), 0.25).max(axis=0)
    assert within(int((fresh > limit).sum()), 2_000, 0.01)
    shifted = rng.standard_normal((168, 500)) + (np.arange(168) >= 84)[:, None]
    assert (page_hinkley(shifted, 0.25).max(axis=0) > limit).mean() > 0.99


def test_chart_of_known_deviation_alarms_as_often_as_the_chain_says():
    rng = np.random.default_rng(2)
    maxima = cusum(rng.standard_normal((168, 20_000)), 0.5)[0].max(axis=0)
    for h in (4.0, 6.0):
        assert within(int((maxima > h).sum()), 20_000, crossing_frac(0.5, h, 168)[-1])
    limit = exact_limit(0.5, 0.05, 168)
    both = cusum(rng.standard_normal((168, 4_000)), 0.5).max(axis=(0, 1))
    assert within(int((both > limit).sum()), 4_000, 0.05)


def week_of(rng, weeks, num_series, noise=1.0):
    """Series with an hourly pattern, some of whose hours rest on few requests."""
    hours = weeks * DAYS * 24
    weights = np.tile(rng.uniform(5.0, 50.0, (24, 1)), (weeks * DAYS, num_series))
    expected = np.tile(pattern(24) @ rng.standard_normal((36, num_series)), (weeks, 1))
    return Series(expected + noise * rng.standard_normal((hours, num_series)) / np.sqrt(weights), weights,
                  np.zeros(num_series))  # fmt: skip


def test_all_charts_of_a_week_together_alarm_as_often_as_said():
    rng = np.random.default_rng(3)
    num_charts, weeks = 20, 400
    limit = simulated_limit(0.5, per_chart(0.05, num_charts), 24, 3)
    series = week_of(rng, 4, num_charts * weeks)
    baseline = Baseline.fit(series.part(0, 504), 24)
    maxima = cusum(baseline.scores(series.part(504, 672)), 0.5).max(axis=(0, 1))
    assert within(int((maxima.reshape(weeks, num_charts).max(axis=1) > limit).sum()), weeks, 0.05)


def test_a_baseline_finds_the_pattern_and_memory():
    rng = np.random.default_rng(4)
    series = week_of(rng, 8, 30, noise=2.0)
    baseline = Baseline.fit(series, 24)
    assert baseline.deviation == pytest.approx(2.0, rel=0.1)
    assert baseline.memory.max() < 0.1
    noise = rng.standard_normal((8 * 168, 30))
    for t in range(1, len(noise)):
        noise[t] = 0.6 * noise[t - 1] + 0.8 * noise[t]
    same = Baseline.fit(Series(noise, np.ones_like(noise), np.zeros(30)), 24)
    assert same.memory.mean() == pytest.approx(0.6, abs=0.05)


def test_a_baseline_of_part_of_a_week_is_refused():
    with pytest.raises(ValueError, match="whole weeks"):
        Baseline.fit(week_of(np.random.default_rng(1), 1, 2).part(0, 100), 24)


def test_what_was_not_seen_and_what_does_not_matter_are_no_drift():
    values = np.zeros((168, 2))
    baseline = Baseline.fit(Series(values, np.ones((168, 2)), np.array([0.5, 0.5])), 24)
    z = baseline.standardised(Series(np.full((24, 2), 1.0), np.array([[0.0, 1.0]] * 24), np.array([0.5, 0.5])))
    assert z[:, 0].tolist() == [0.0] * 24
    assert z[:, 1] == pytest.approx([2.0] * 24)


def test_exponential_tails_are_found():
    rng = np.random.default_rng(5)
    assert tail_limit(rng.exponential(2.0, 100_000), 1e-4) == pytest.approx(2.0 * np.log(1e4), rel=0.03)


def test_stability_index_alarms_as_often_as_said():
    rng = np.random.default_rng(6)
    p = np.array([0.1, 0.2, 0.3, 0.25, 0.15])
    alarms = 0
    for _ in range(2_000):
        a, b = rng.multinomial(4_000, p), rng.multinomial(1_000, p)
        alarms += psi_chance(psi(a, b), a, b) < 0.05
    assert within(alarms, 2_000, 0.05)


def test_kolmogorov_smirnov_alarms_as_often_as_said_and_no_more_in_bins():
    rng = np.random.default_rng(7)
    fine = coarse = 0
    for _ in range(1_000):
        a, b = rng.random(2_000), rng.random(1_000)
        counts = [np.histogram(x, 1_000, (0.0, 1.0))[0] for x in (a, b)]
        fine += ks(*counts)[1] < 0.05
        coarse += ks(*(count.reshape(10, 100).sum(axis=1) for count in counts))[1] < 0.05
    assert within(fine, 1_000, 0.05)
    assert coarse <= binom.ppf(SURE, 1_000, 0.05)


def test_bins_are_joined_until_none_is_nearly_empty():
    a, b = joined_bins(np.array([1, 1, 50, 40, 4, 3, 1]), np.array([9, 0, 1, 1, 1, 1, 1]))
    assert a.tolist() == [52, 40, 8]
    assert b.tolist() == [10, 1, 3]
    assert psi(a, a) == 0.0


def plain_week(rng, num_series):
    """A week whose Tuesday, Wednesday and Thursday are alike, but for noise."""
    weights = np.tile(rng.uniform(5.0, 50.0, (24, 1)), (DAYS, num_series))
    regressors = bootstrap_pattern(24)
    expected = regressors @ rng.standard_normal((regressors.shape[1], num_series))
    noise = rng.standard_normal((168, num_series)) / np.sqrt(weights)
    return Series(expected + noise, weights, np.zeros(num_series))


def test_bootstrapped_weeks_have_the_pattern_and_noise_of_the_week():
    week = plain_week(np.random.default_rng(8), 12)
    many = bootstrapped(week, 24, 100, np.random.default_rng(9))
    assert Baseline.fit(many, 24).deviation.mean() == pytest.approx(1.0, abs=0.1)
    regressors = bootstrap_pattern(24)
    mean = many.values.reshape(100, 168, 12).mean(axis=0)
    fitted = regressors @ weighted_fit(regressors, week.values, week.weights)
    assert np.abs((mean - fitted) * np.sqrt(week.weights)).max() < 0.6  # a hundred weeks of noise
    assert not np.array_equal(many.values[:168], many.values[168:336])


def test_bootstrapped_weeks_alarm_as_often_as_said():
    limit = simulated_limit(0.5, per_chart(0.05, 20), 24, 3)
    alarms = 0
    for seed in range(20):
        week = plain_week(np.random.default_rng(10 + seed), 20)
        weeks = bootstrapped(week, 24, 4 * 20, np.random.default_rng(seed))
        for begin in range(0, len(weeks.values), 4 * 168):
            baseline = Baseline.fit(weeks.part(begin, begin + 504), 24)
            alarms += cusum(baseline.scores(weeks.part(begin + 504, begin + 672)), 0.5).max() > limit
    assert within(alarms, 400, 0.05)
