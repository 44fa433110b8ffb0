"""Distributions as quantile tables: 1025 values of the inverse CDF, straight lines between them.

One table serves every draw of a length or a time, in numpy here and compiled in the plane, at the same small cost
whatever the family. A table's mean under that lookup is known exactly, so expected totals are too.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv, gammaln, ndtri

from sim.errors import SpecError
from sim.spec.distribution import MAX_TOKENS, Distribution

CELLS = 1024
Table = NDArray[np.float64]


def quantile_table(distribution: Distribution, *, whole: bool = False) -> Table:
    """The quantile table of a distribution.

    Parameters
    ----------
    distribution
        With percentiles given as values, not by name.
    whole
        The table will be read by `tokens`, which rounds; else by `lookup`.

    Returns
    -------
    array, shape (1025,)
        Inverse CDF at 0, 1/1024, ..., 1, non-decreasing. A stated mean is met exactly by the lookup that will be used
        (before the cut-off at `min` and `max`): values are stretched from the lowest by the factor that this takes.
        The last value of an unbounded family gives the last cell its mean.

    Raises
    ------
    SpecError
        The stated mean cannot be reached by stretching.
    """
    upper = 1.0 - np.arange(CELLS + 1) / CELLS
    if distribution.distribution_type in ("constant", "uniform", "percentiles"):
        table = _upper_quantile(distribution, upper)
    else:
        table = np.append(_upper_quantile(distribution, upper[:-1]), 0.0)
        table[-1] = max(2.0 * _mean_of_last_cell(distribution) - table[-2], table[-2])
    if distribution.mean is not None and distribution.distribution_type != "constant":
        table = stretched(table, distribution.mean, whole=whole)
    table = np.clip(table, distribution.min, distribution.max)
    # The tail of an unbounded family can be longer than what the whole numbers drawn from it can hold.
    return np.minimum(table, MAX_TOKENS) if whole else table


def _upper_quantile(distribution: Distribution, v: Table) -> Table:
    """The value exceeded with probability v: the inverse of 1 - CDF, precise far into the upper tail."""
    mean, deviation, high = distribution.mean or 0.0, distribution.standard_deviation or 0.0, distribution.max or 0.0
    values: Any
    match distribution.distribution_type:
        case "gamma" | "lognormal" | "weibull" | "constant" if deviation == 0.0:
            values = np.full_like(v, mean)
        case "uniform":
            values = high + (distribution.min - high) * v
        case "exponential":
            values = -mean * np.log(v)
        case "geometric" if mean == 1.0:
            values = np.ones_like(v)
        case "geometric":  # P(N > n) = (1 - 1/mean)**n
            values = np.maximum(np.ceil(np.log(v) / np.log1p(-1.0 / mean)), 1.0)
        case "gamma":
            shape = (mean / deviation) ** 2
            values = gammainccinv(shape, v) * (mean / shape)
        case "weibull":  # P(X > x) = exp(-(x / scale)**shape)
            shape = weibull_shape(deviation / mean)
            values = mean / np.exp(gammaln(1.0 + 1.0 / shape)) * (-np.log(v)) ** (1.0 / shape)
        case "lognormal":
            variance = np.log1p((deviation / mean) ** 2)
            values = mean * np.exp(-0.5 * variance - np.sqrt(variance) * ndtri(v))
        case _:
            if not isinstance(distribution.percentiles, dict):
                raise TypeError("the name of a percentile table must be resolved first")
            points, at = zip(*sorted(distribution.percentiles.items()), strict=True)
            values = np.interp(100.0 * (1.0 - v), points, at)
    return np.asarray(values)


def weibull_shape(cv: float) -> float:
    """The shape of the Weibull distribution with this coefficient of variation.

    1 + cv**2 = Gamma(1 + 2/shape) / Gamma(1 + 1/shape)**2, whose right side falls as the shape grows.
    """
    wanted = np.log1p(cv * cv)
    low, high = -5.0, 15.0  # of ln(shape)
    for _ in range(80):
        middle = 0.5 * (low + high)
        inverse = np.exp(-middle)
        more = gammaln(1.0 + 2.0 * inverse) - 2.0 * gammaln(1.0 + inverse) > wanted
        low, high = (middle, high) if more else (low, middle)
    return float(np.exp(low))


def _mean_of_last_cell(distribution: Distribution) -> float:
    """The mean of the values above the quantile 1023/1024: the integral over v = exp(-s) by Simpson's rule."""
    s = np.linspace(0.0, 40.0, 4001)
    weights = np.full(s.shape, 2.0)
    weights[1::2] = 4.0
    weights[[0, -1]] = 1.0
    values = _upper_quantile(distribution, np.exp(-s) / CELLS) * np.exp(-s)
    return float(values @ weights * (s[1] - s[0]) / 3.0)


def stretched(table: Table, mean: float, *, whole: bool) -> Table:
    """A table stretched from its lowest value so that its lookup has this mean.

    Rounding makes the mean of whole numbers a step function of the factor where the table is flat: it is then met as
    nearly as the steps allow.
    """
    low = table[0]

    def mean_at(factor: float) -> float:
        return table_mean(low + factor * (table - low), whole=whole)

    # The mean grows with the factor: doubled until it is enough, then halved in between.
    below, above = 0.0, 2.0
    while mean_at(above) < mean and above < 2.0**60:
        above *= 2.0
    # A billionth allows for the rounding of sums over the cells.
    if mean < mean_at(0.0) * (1.0 - 1e-9) or mean > mean_at(above) * (1.0 + 1e-9):
        reach = f"from {mean_at(0.0):g}" + ("" if table[-1] > low else f" to {mean_at(above):g}")
        raise SpecError(f"a mean of {mean:g} cannot be reached by stretching the values; it can be {reach}")
    if table[-1] == low:
        return table
    for _ in range(80):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if mean_at(middle) < mean else (below, middle)
    return np.asarray(low + above * (table - low))


def table_mean(table: Table, *, whole: bool = True) -> float:
    """The exact mean of what `tokens` (or, with `whole` false, `lookup`) gives for a uniform variate."""
    if not whole:
        return float((table.sum() - 0.5 * (table[0] + table[-1])) / (len(table) - 1))
    return float(np.mean(token_means(table)))


def token_means(table: Table) -> Table:
    """The mean of what `tokens` gives within each cell, shape (1024,)."""
    # Measured from the first cell's own whole number, so that nothing large cancels.
    base = np.floor(table[:-1] + 0.5)
    a, b = table[:-1] - base, table[1:] - base
    flat = b < 0.5
    width = np.where(flat, 1.0, b - a)
    inside = (_rounding_integral(b) - _rounding_integral(a)) / width
    # Below one half `tokens` gives 1 where rounding gives 0: add the part of the cell that lies there.
    part = np.where(flat, 1.0, np.clip(0.5 - table[:-1], 0.0, width) / width)
    extra = np.where(base == 0.0, part, 0.0)
    return np.asarray(base + np.where(flat, 0.0, inside) + extra)


def _rounding_integral(x: Table) -> Table:
    """The integral of floor(v + 1/2) from -1/2 to x, for x >= -1/2."""
    n = np.floor(x + 0.5)
    return np.asarray(0.5 * n * (n - 1.0) + n * (x + 0.5 - n))


def lookup(table: Table, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of a table of equal cells at u in (0, 1), on straight lines between its entries."""
    x = u * (len(table) - 1)
    # A power of two of cells keeps the product of u < 1 below it, so no index runs over.
    i = x.astype(np.int32)
    return table.take(i) + (x - i) * np.diff(table).take(i)


def tokens(table: Table, u: NDArray[np.float64]) -> NDArray[np.int32]:
    """Whole numbers drawn from a quantile table at u in (0, 1): rounded, at least one, at most MAX_TOKENS."""
    return np.clip(lookup(table, u) + 0.5, 1.0, MAX_TOKENS).astype(np.int32)
