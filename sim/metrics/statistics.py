"""Mean, deviation and percentiles of a quantity, under vLLM's keys."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics import histogram

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


def finite(value: float) -> float | None:
    """Return the value, or None where it is no finite number (JSON has no NaN)."""
    return float(value) if math.isfinite(value) else None


def ratio(part: float, whole: float) -> float | None:
    """Return part / whole, None where whole is zero."""
    return float(part) / float(whole) if whole else None


def percentile_key(percent: float, name: str) -> str:
    """Return vLLM's key of a percentile: ``p99_ttft_ms``, ``p99.9_ttft_ms``.

    >>> percentile_key(99.0, "ttft_ms"), percentile_key(99.9, "ttft_ms")
    ('p99_ttft_ms', 'p99.9_ttft_ms')
    """
    return f"p{percent:g}_{name}"


def statistics(
    name: str,
    counts: NDArray[np.int64],
    total: float | None = None,
    square_total: float | None = None,
    *,
    scale: float = 1.0,
    bin_unit: float = 1.0,
) -> dict[str, Any]:
    """Return mean, median, std and percentiles of one quantity.

    Parameters
    ----------
    name
        Ending of the keys, such as ``ttft_ms``.
    counts
        Its histogram, shape [NUM_BINS], in units of `bin_unit`.
    total, square_total
        Exact sums of the values and their squares; where they are not given, mean and std come from the
        histogram, within its relative error.
    scale
        Factor from the quantity's unit to the key's: 1000 for ``_ms``.
    bin_unit
        One unit of the histogram's edges in the quantity's unit.

    Returns
    -------
    dict
        None for every statistic where nothing was counted. `std` is the population's (divided by n).
    """
    num = int(counts.sum())
    if total is None or square_total is None or num == 0:
        mean, std = histogram.mean(counts) * bin_unit, histogram.std(counts) * bin_unit
    else:
        mean = total / num
        std = math.sqrt(max(0.0, square_total / num - mean * mean))
    result = {
        f"mean_{name}": finite(mean * scale),
        f"median_{name}": finite(histogram.quantile(counts, 0.5) * bin_unit * scale),
        f"std_{name}": finite(std * scale),
    }
    for percent in PERCENTILES:
        value = histogram.quantile(counts, float(f"{percent / 100:.6g}"))
        result[percentile_key(percent, name)] = finite(value * bin_unit * scale)
    return result
