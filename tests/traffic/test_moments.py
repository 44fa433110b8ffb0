"""Draws of every family: as the family says, and as their table says of itself.

Seeds are fixed. Each comparison would fail by chance once in 10,000 times if the seed were drawn anew: the
Kolmogorov-Smirnov distance of n draws exceeds sqrt(ln(2 / 1e-4) / 2n) with that probability (Massart's bound for the
one-sided distances; the two-sided one is asymptotically exact), and a normal variate 3.891 standard deviations.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sim.spec import Distribution
from sim.traffic import draws
from sim.traffic.lengths import CELLS, lookup, quantile_table, tokens, weibull_shape
from sim.traffic.moments import Drawn

NUM_DRAWS = 200_000
FALSE_ALARM = 1e-4
KS_LIMIT = np.sqrt(np.log(2.0 / FALSE_ALARM) / (2.0 * NUM_DRAWS))
Z_LIMIT = stats.norm.isf(FALSE_ALARM / 2.0)
# Uniform over (0, 1) so finely that sums over it are integrals.
FINE = (np.arange(1 << 20) + 0.5) / (1 << 20)


def lognormal(mean, deviation):
    """The family with this mean and standard deviation."""
    s = np.sqrt(np.log1p((deviation / mean) ** 2))
    return stats.lognorm(s, scale=mean * np.exp(-0.5 * s * s))


def weibull(mean, deviation):
    """The family with this mean and standard deviation."""
    shape = weibull_shape(deviation / mean)
    return stats.weibull_min(shape, scale=mean / stats.weibull_min(shape).mean())


POINTS = {"0": 2, "50": 4, "90": 300, "100": 4000}
FAMILIES = {
    "uniform": ({"min": 3, "max": 900}, stats.uniform(3, 897)),
    "exponential": ({"mean": 340}, stats.expon(scale=340)),
    "geometric": ({"mean": 3}, stats.geom(1 / 3)),
    "gamma, even": ({"mean": 20, "standard_deviation": 10}, stats.gamma(4, scale=5)),
    "gamma, skewed": ({"mean": 1000, "standard_deviation": 2000}, stats.gamma(0.25, scale=4000)),
    "lognormal": ({"mean": 212.8, "standard_deviation": 270.2}, lognormal(212.8, 270.2)),
    "lognormal, cut": ({"mean": 212.8, "standard_deviation": 270.2, "min": 60, "max": 900}, lognormal(212.8, 270.2)),
    "weibull, even": ({"mean": 50, "standard_deviation": 20}, weibull(50, 20)),
    "weibull, skewed": ({"mean": 50, "standard_deviation": 120}, weibull(50, 120)),
    "percentiles": ({"percentiles": POINTS}, None),
}


def table_of(family, whole):
    fields = {"distribution_type": family.split(",")[0]} | FAMILIES[family][0]
    return quantile_table(Distribution.from_dict(fields), whole=whole)


def variates(stream):
    """Uniform draws of as many users."""
    users = np.arange(NUM_DRAWS, dtype=np.uint64)
    return draws.uniform(draws.bits(draws.key(7, stream), users, np.uint64(0), np.uint64(0)))


def theory(family):
    """CDF at x, with the cut-off of the family's fields."""
    fields, law = FAMILIES[family]
    if law is None:
        at, shares = [float(v) for v in POINTS.values()], [float(p) / 100 for p in POINTS]
        return lambda x: np.interp(x, at, shares)
    cut = fields.get("max", np.inf) if "mean" in fields else np.inf
    return lambda x: np.where(x >= cut, 1.0, np.where(x < fields.get("min", 0), 0.0, law.cdf(x)))


def distance(sample, cdf):
    """Largest distance of a sample's distribution function from another, at the sample's values and just before."""
    values, counts = np.unique(sample, return_counts=True)
    above = np.cumsum(counts) / len(sample)
    before = np.nextafter(values, -np.inf)
    return max(np.abs(above - cdf(values)).max(), np.abs(above - counts / len(sample) - cdf(before)).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_follow_their_family(family):
    whole = family == "geometric"
    table = table_of(family, whole)
    drawn = tokens(table, variates(1)) if whole else lookup(table, variates(1))
    assert distance(drawn, theory(family)) < KS_LIMIT


@pytest.mark.parametrize("whole", [False, True], ids=["times", "tokens"])
@pytest.mark.parametrize("family", FAMILIES)
def test_draws_follow_their_table(family, whole):
    known = Drawn(table_of(family, whole), whole)
    drawn = known.quantile(variates(2))
    assert distance(drawn, known.cdf) < KS_LIMIT
    assert abs(drawn.mean() - known.mean) < Z_LIMIT * known.standard_deviation / np.sqrt(NUM_DRAWS)
    # The variance of squared distances, from the table itself: the draws are bounded by it.
    squares = np.square(known.quantile(FINE) - known.mean)
    assert abs(np.square(drawn - known.mean).mean() - known.variance) < Z_LIMIT * squares.std() / np.sqrt(NUM_DRAWS)


@pytest.mark.parametrize("family", [name for name in FAMILIES if FAMILIES[name][1] is not None and "cut" not in name])
def test_moments_and_quantiles_are_the_familys(family):
    whole = family == "geometric"
    known, law = Drawn(table_of(family, whole), whole), FAMILIES[family][1]
    assert known.mean == pytest.approx(law.mean(), rel=1e-9)
    # The table's last cell flattens the last thousandth, which matters to skewed families.
    assert known.variance == pytest.approx(law.var(), rel=0.015)
    p = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99])
    assert known.quantile(p) == pytest.approx(law.ppf(p), rel=0.01, abs=1e-6 * law.mean())


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 3.0, 1000.0, 1e5]), st.booleans(), st.booleans())
def test_what_any_table_says_of_itself_is_exact(seed, largest, flat, whole):
    rng = np.random.default_rng(seed)
    table = np.sort(rng.uniform(0.0, largest, CELLS + 1))
    if flat:
        table = np.floor(2 * table) / 2  # whole and half numbers, where rounding jumps
    known = Drawn(table, whole)
    drawn = known.quantile(FINE)
    # A thousand points a cell: the sums over them are off by a thousandth of a cell's spread.
    step = np.diff(table).max() / 1024 + (whole / 1024)
    assert known.mean == pytest.approx(drawn.mean(), abs=step)
    assert known.variance == pytest.approx(drawn.var(), rel=1e-3, abs=step * max(1.0, largest))
    x = np.concatenate([rng.uniform(-1, largest + 2, 50), np.round(rng.uniform(0, largest, 20)), table[::100]])
    shares = np.searchsorted(np.sort(drawn), x, side="right") / len(drawn)
    assert np.abs(known.cdf(x) - shares).max() < 2.0 / 1024 / 1024 + 1e-5
