"""Log-linear histograms of positive values: 64 bins an octave, read off a float's own bits.

The bin of x is the exponent and the first six bits of the mantissa of its float64, counted from
2**-20 and clipped to 2432 bins, so the range is 2**-20 (0.95 us in seconds) to 2**18 (3 days). Inside an octave
[2**e, 2**(e+1)) every bin is 2**e/64 wide, and stands for its middle, which is at most 2**e/128 from any value in it:
the relative error is at most 1/128 of the value, reached at the bottom of an octave and half of it at the top.
Values below the range fall in the first bin and values above it in the last.

A histogram is an int64 array whose last axis has `NUM_BINS` counts. Two are merged by `+`, which is exact, so
shards and replications merge to the same counts in any order.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 38 * 64
BIN_SHIFT = 46  # the float64 mantissa has 52 bits; six of them number the 64 bins of an octave
BIN_OFFSET = (1023 - 20) << 6  # 1023 is the exponent bias of float64; the first bin begins at 2**-20
RELATIVE_ERROR = 1 / 128

EDGES: NDArray[np.float64] = ((np.arange(NUM_BINS + 1, dtype=np.int64) + BIN_OFFSET) << BIN_SHIFT).view(np.float64)
"""Lower edges of the bins and the last one's upper edge, shape [NUM_BINS + 1]."""

MIDDLES: NDArray[np.float64] = 0.5 * (EDGES[:-1] + EDGES[1:])
"""The value each bin stands for, shape [NUM_BINS]."""


def bin_of(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin index of each value; negative values fall in the first bin, NaN and infinity in the last."""
    bins = np.ascontiguousarray(values, dtype=np.float64).view(np.int64) >> BIN_SHIFT
    bins -= BIN_OFFSET
    return np.clip(bins, 0, NUM_BINS - 1, out=bins)


def count(values: NDArray[np.float64], weights: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Histogram of values, each counted once or `weights` times, shape [NUM_BINS]."""
    counts = np.zeros(NUM_BINS, dtype=np.int64)
    np.add.at(counts, bin_of(values), 1 if weights is None else weights)
    return counts


def quantile(counts: NDArray[np.int64], q: float) -> float:
    """Value at quantile q in [0, 1], NaN where nothing was counted.

    It is the middle of the bin that holds the k-th smallest value, k = max(1, ceil(q n)): numpy's "inverted_cdf".
    Within `RELATIVE_ERROR` of that value if it lies in the range. q is read as the decimal that it prints as, so that
    q n is exact.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"q must be within [0, 1], got {q}")
    cumulative = np.cumsum(counts)
    total = int(cumulative[-1])
    if total == 0:
        return math.nan
    rank = max(1, math.ceil(Fraction(repr(float(q))) * total))
    return float(MIDDLES[np.searchsorted(cumulative, rank)])


def mean(counts: NDArray[np.int64]) -> float:
    """Mean of the bin middles, within `RELATIVE_ERROR` of the values' mean; NaN where nothing was counted."""
    total = int(counts.sum())
    return float(counts @ MIDDLES) / total if total else math.nan


def std(counts: NDArray[np.int64]) -> float:
    """Population standard deviation of the bin middles; NaN where nothing was counted."""
    total = int(counts.sum())
    if not total:
        return math.nan
    return math.sqrt(float(counts @ (MIDDLES - mean(counts)) ** 2) / total)
