"""Renewal arrivals: gaps of the wanted family, stationary from the start, on the curve."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from sim.traffic import renewal
from sim.traffic.daily import MINUTES, DailyRate
from sim.traffic.lengths import weibull_shape
from sim.traffic.renewal import Renewals, gamma_tables, gap_lookup, tail_probabilities, weibull_tables

FLAT = DailyRate(np.ones(MINUTES))


def renewals(rate_per_s, cv, end_s, daily=FLAT, start_s=0.0, seed=1):
    """Senders of one rate and one cv."""
    level = np.zeros(len(rate_per_s), dtype=np.int64)
    return Renewals(seed, 100, np.asarray(rate_per_s, dtype=float), np.array([cv]), level, daily, start_s, end_s)


def arrivals(source):
    return tuple(np.concatenate(column) for column in zip(*source.slices(), strict=True))


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.0, 6.0, 20.0])
@pytest.mark.parametrize("extra_shape", [0.0, 1.0])
def test_tables_are_the_inverse_cdf_of_gamma(cv, extra_shape):
    table = gamma_tables(np.array([cv]), extra_shape)
    shape = 1 / cv**2
    u = np.array([1e-9, 1e-4, 1e-2, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999, 1 - 1e-9])
    expected = special.gammaincinv(shape + extra_shape, u) / shape
    got = gap_lookup(table, np.zeros(len(u), dtype=np.int64), u)
    # Straight lines miss the steep lower end of bursty gaps by a hundred-thousandth of the mean gap.
    assert got == pytest.approx(expected, rel=2e-3, abs=1e-5)
    # Mean and variance over the table's own straight lines: of x from a to b they are (a + b) / 2 and (b - a)^2 / 12.
    widths = np.tile(np.diff(tail_probabilities()), 2)
    middle, half = ((table[0, :, 1:] + sign * table[0, :, :-1]).ravel() / 2 for sign in (1, -1))
    mean = middle @ widths
    variance = (middle**2 + half**2 / 3) @ widths - mean**2
    assert mean == pytest.approx((shape + extra_shape) / shape, rel=1e-9)
    assert variance == pytest.approx((shape + extra_shape) / shape**2, rel=2e-3)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gaps_have_the_wanted_distribution(cv):
    times_s, sender, number = arrivals(renewals([2.0], cv, 50_000.0))
    assert np.array_equal(number, np.arange(len(times_s)))
    assert set(sender) == {100}
    gaps = np.diff(times_s) * 2.0
    shape = 1 / cv**2
    for p in (0.05, 0.25, 0.5, 0.75, 0.95, 0.99):
        quantile = special.gammaincinv(shape, p) / shape
        if quantile < 1e-5:
            continue  # as short as the nanoseconds that times are rounded to
        below = (gaps <= quantile).mean()
        assert abs(below - p) < 4 * np.sqrt(p * (1 - p) / len(gaps)) + 1e-4, p
    # The standard error of a coefficient of variation, from the moments of the squared deviations.
    deviations = (gaps - gaps.mean()) ** 2
    error = deviations.std() / np.sqrt(len(gaps)) / (2 * gaps.std())
    assert abs(gaps.std() / gaps.mean() - cv) < 4 * error + 2 * cv * gaps.std() / np.sqrt(len(gaps))
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 4 / np.sqrt(len(gaps))


@pytest.mark.parametrize("cv", [0.5, 4.0])
def test_arrivals_are_stationary_from_the_start(cv, within):
    num = 4000
    times_s, sender, number = arrivals(renewals(np.full(num, 1e-3), cv, 4000.0))
    for begin in range(0, 4000, 500):
        inside = (times_s >= begin) & (times_s < begin + 500)
        within(np.bincount(sender[inside] - 100, minlength=num), num * 0.5, f"from {begin} s")
    # P(first arrival <= t) is the integral of the gaps' survival over [0, t], for gamma in closed form.
    shape, t = 1 / cv**2, 0.7
    first = np.zeros(num)
    first[sender[number == 0] - 100] = 1000.0 - times_s[number == 0] + 3000.0
    share = t * special.gammaincc(shape, shape * t) + special.gammainc(shape + 1, shape * t)
    within(first >= 4000.0 - 1000 * t, share * num, "first arrival")


def test_arrivals_follow_the_curve(within):
    hourly = np.linspace(0.4, 1.6, 24)
    daily = DailyRate(np.repeat(hourly, 60))
    times_s, sender, _ = arrivals(renewals(np.full(2000, 2e-4), 2.0, 2 * 86400.0, daily, start_s=-86400.0))
    hour = (times_s // 3600).astype(int) % 24
    for h in range(24):
        # Of all senders in three days, 3600 s each.
        within(np.bincount(sender[hour == h] - 100, minlength=2000), 2000 * 2e-4 * 3 * 3600 * hourly[h], f"hour {h}")


def test_each_arrival_comes_once_in_order_whatever_the_slices(monkeypatch):
    source = renewals(np.geomspace(1e-5, 3.0, 40), 3.0, 20_000.0, start_s=-1000.0)
    whole = arrivals(source)
    assert np.all(np.diff(whole[0]) >= 0)
    assert whole[0][0] >= -1000
    assert whole[0][-1] < 20_000
    for one in set(whole[1]):
        assert np.array_equal(whole[2][whole[1] == one], np.arange((whole[1] == one).sum()))
    monkeypatch.setattr(renewal, "_MAX_SLICE_S", 137.0)
    monkeypatch.setattr(renewal, "_MAX_ROWS", 1000)
    for expected, got in zip(whole, arrivals(source), strict=True):
        assert np.array_equal(expected, got)


def test_a_longer_run_only_adds():
    source = renewals([0.5, 0.1], 2.0, 5000.0)
    short, longer = arrivals(source), arrivals(replace(source, end_s=20_000.0))
    inside = longer[0] < 5000
    for a, b in zip(short, longer, strict=True):
        assert np.array_equal(a, b[inside])


def test_a_rare_sender_is_no_trouble():
    times_s, _, _ = arrivals(renewals([1e-12, 1e-2], 30.0, 86400.0))
    assert len(times_s) < 20_000


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.0, 6.0, 20.0])
def test_tables_are_the_inverse_cdf_of_weibull_and_of_its_residual(cv):
    u = np.array([1e-9, 1e-4, 1e-2, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999, 1 - 1e-9])
    row = np.zeros(len(u), dtype=np.int64)
    shape = weibull_shape(cv)
    scale = 1 / special.gamma(1 + 1 / shape)
    table = weibull_tables(np.array([cv]))
    got = gap_lookup(table, row, u)
    assert got == pytest.approx(scale * (-np.log1p(-u)) ** (1 / shape), rel=3e-3, abs=1e-5)
    widths = np.tile(np.diff(tail_probabilities()), 2)
    middle, half = ((table[0, :, 1:] + sign * table[0, :, :-1]).ravel() / 2 for sign in (1, -1))
    mean = middle @ widths
    assert mean == pytest.approx(1.0, rel=1e-9)
    assert np.sqrt((middle**2 + half**2 / 3) @ widths - mean**2) == pytest.approx(cv, rel=5e-3)
    # The residual's distribution is the integral of the gaps' survival over their mean, done here step by step.
    residual = gap_lookup(weibull_tables(np.array([cv]), residual=True), row, u)
    for p, x in zip(u[2:-2], residual[2:-2], strict=True):
        t = np.append(0.0, np.geomspace(x * 1e-12, x, 20_001))
        survival = np.exp(-((t / scale) ** shape))
        assert np.trapezoid(survival, t) == pytest.approx(p, rel=2e-3), p


def weibull_renewals(rate_per_s, cv, end_s, seed=1):
    return replace(renewals(rate_per_s, cv, end_s, seed=seed), weibull=np.ones(len(rate_per_s), dtype=bool))


@pytest.mark.parametrize("cv", [0.5, 3.0])
def test_weibull_gaps_have_the_wanted_distribution(cv):
    times_s, _, _ = arrivals(weibull_renewals([2.0], cv, 50_000.0))
    gaps = np.diff(times_s) * 2.0
    shape = weibull_shape(cv)
    scale = 1 / special.gamma(1 + 1 / shape)
    # Kolmogorov-Smirnov; the critical value of a false-alarm rate of 1e-4 is 2.23 / sqrt(n). Times are whole
    # nanoseconds, so the shortest gaps stand on a grid.
    gaps = np.sort(gaps)
    cdf = -np.expm1(-((gaps / scale) ** shape))
    empirical = np.arange(len(gaps) + 1) / len(gaps)
    distance = max(np.abs(cdf - empirical[1:]).max(), np.abs(cdf - empirical[:-1]).max())
    assert distance < 2.23 / np.sqrt(len(gaps))


@pytest.mark.parametrize("cv", [0.5, 4.0])
def test_weibull_arrivals_are_stationary_from_the_start(cv, within):
    num = 4000
    times_s, sender, _ = arrivals(weibull_renewals(np.full(num, 1e-3), cv, 4000.0))
    for begin in range(0, 4000, 500):
        inside = (times_s >= begin) & (times_s < begin + 500)
        within(np.bincount(sender[inside] - 100, minlength=num), num * 0.5, f"from {begin} s")


def test_a_weibull_sender_leaves_the_others_alone():
    plain = renewals([0.5, 0.1, 0.2], 2.0, 5000.0)
    mixed = replace(plain, weibull=np.array([False, True, False]))
    (a, who, k), (b, whose, j) = arrivals(plain), arrivals(mixed)
    for one in (100, 102):
        assert np.array_equal(a[who == one], b[whose == one])
        assert np.array_equal(k[who == one], j[whose == one])
    assert not np.array_equal(a[who == 101], b[whose == 101])
