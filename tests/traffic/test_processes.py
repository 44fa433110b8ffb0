"""Gaps, bursts and sizes of generated arrivals against their laws.

Seeds are fixed. Each comparison would fail by chance once in 10,000 times if the seed were drawn anew: the distance of
the distribution functions of n independent draws and of their law exceeds sqrt(ln(2 / 1e-4) / 2n) at most so often
(Dvoretzky, Kiefer and Wolfowitz; Massart, Ann. Probab. 18, 1990), of whole numbers even less often.
"""

import numpy as np
import pytest
from scipy import stats

from sim.traffic.bursts import BurstKind, Starts
from sim.traffic.daily import MINUTES, DailyRate
from sim.traffic.lengths import weibull_shape
from sim.traffic.renewal import Renewals

FALSE_ALARM = 1e-4


def distance(sample, law):
    """Largest distance of a sample's distribution function from its law, at the values and just before them."""
    values, counts = np.unique(sample, return_counts=True)
    above = np.cumsum(counts) / len(sample)
    return max(
        np.abs(above - law.cdf(values)).max(),
        np.abs(above - counts / len(sample) - law.cdf(np.nextafter(values, -np.inf))).max(),
    )


def limit(sample):
    """The distance that a sample of the law exceeds once in 10,000 times, at most."""
    return np.sqrt(np.log(2.0 / FALSE_ALARM) / (2.0 * len(sample)))


def gaps_of(cv, *, weibull):
    """Gaps of one sender with a mean gap of one second, over a day."""
    flat = DailyRate(np.ones(MINUTES))
    kind = {"weibull": np.array([True])} if weibull else {}
    level = np.zeros(1, dtype=np.int64)
    renewals = Renewals(3, 100, np.ones(1), np.array([cv]), level, flat, 0.0, 86_400.0, **kind)
    return np.diff(np.concatenate([times_s for times_s, *_ in renewals.slices()]))


@pytest.mark.parametrize("cv", [0.3, 0.5, 1.0, 1.5])
def test_gaps_are_gamma(cv):
    gaps = gaps_of(cv, weibull=False)
    assert distance(gaps, stats.gamma(1 / cv**2, scale=cv**2)) < limit(gaps)


@pytest.mark.parametrize("cv", [0.3, 1.0, 2.0, 4.0])
def test_gaps_are_weibull(cv):
    gaps = gaps_of(cv, weibull=True)
    shape = weibull_shape(cv)
    assert distance(gaps, stats.weibull_min(shape, scale=1 / stats.weibull_min(shape).mean())) < limit(gaps)


@pytest.fixture(scope="module")
def bursts():
    """Times of bursts of three, on average, so far apart that each stands by itself: one array a burst."""
    mean_size, spread_s, apart_s = 3.0, 2.0, 5_000.0
    kind = BurstKind(rate_per_s=mean_size / apart_s, mean_size=mean_size, spread_s=spread_s)
    times_s = np.concatenate(list(Starts(5, (kind,), 3600.0, np.ones(1), 0.0, 2e4 * apart_s).slices()))
    return np.split(times_s, np.flatnonzero(np.diff(times_s) > 40.0 * spread_s) + 1)


def test_starts_alone_are_poisson():
    times_s = np.concatenate(list(Starts(4, (BurstKind(2.0),), 3600.0, np.ones(1), 0.0, 50_000.0).slices()))
    gaps = np.diff(times_s)
    assert distance(gaps, stats.expon(scale=0.5)) < limit(gaps)


def test_sizes_of_bursts_are_geometric(bursts):
    # Two bursts closer than 80 s (of 5,000 s on average) look like one: in 1.6 % of cases, so as large as two.
    alone = [
        len(burst) for burst, before, after in zip(bursts[1:], bursts, bursts[2:], strict=False)
        if burst[0] - before[-1] > 200.0 and after[0] - burst[-1] > 200.0 and burst[-1] - burst[0] < 40.0
    ]  # fmt: skip
    # What looks like one but is two is at most 0.8 % of them.
    assert distance(np.array(alone), stats.geom(1 / 3.0)) < limit(alone) + 0.008


def test_members_of_a_burst_start_after_exponential_times(bursts):
    # Of n members the k-th spacing is exponential with mean 2 s / (n - k), k = 1, 2, ..., all independent.
    parts = [np.diff(burst) * np.arange(len(burst) - 1, 0, -1) for burst in bursts if burst[-1] - burst[0] < 40.0]
    spacings = np.concatenate(parts)
    assert distance(spacings, stats.expon(scale=2.0)) < limit(spacings)
