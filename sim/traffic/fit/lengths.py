"""Percentile tables of lengths and times, with as few points as meet every quantile."""

import numpy as np
from numpy.typing import NDArray

from sim.traffic.lengths import CELLS

_FRAC = 0.02  # of the value: well within the 5 % that are aimed at
PERCENTS = (1, 5, 10, 25, 50, 75, 90, 95, 99)


def percentiles_of(values: NDArray[np.float64], least: float = 0.5) -> dict[float, float]:
    """Points of a table whose straight lines meet the quantiles of values at i/1024 within `least` or 2 %.

    Beginning with the two ends, the quantile that is met worst becomes a point too, until all are met (Ramer, 1972;
    Douglas and Peucker, 1973).
    """
    grid = np.arange(CELLS + 1) / CELLS
    return thinned(grid, np.quantile(values, grid), least)


def thinned(grid: NDArray[np.float64], quantiles: NDArray[np.float64], least: float = 0.5) -> dict[float, float]:
    """The same, of quantiles at given probabilities."""
    allowed = np.maximum(least, _FRAC * quantiles)
    kept, open_ = {0, len(grid) - 1}, [(0, len(grid) - 1)]
    while open_:
        first, last = open_.pop()
        inside = np.arange(first + 1, last)
        line = np.interp(grid[inside], grid[[first, last]], quantiles[[first, last]])
        miss = np.abs(line - quantiles[inside]) / allowed[inside]
        if len(inside) and miss.max() > 1.0:
            worst = int(inside[np.argmax(miss)])
            kept.add(worst)
            open_ += [(first, worst), (worst, last)]
    # Five digits of a percent tell the 1025 points apart.
    return {round(100.0 * float(grid[i]), 5): _short(float(quantiles[i])) for i in sorted(kept)}


def _short(value: float) -> float:
    """Four digits, and tenths at most."""
    return round(value, 1) if value < 1000 else float(round(value))
