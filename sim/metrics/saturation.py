"""Is a pool keeping up? A verdict for every interval, and the run's as its worst one.

A pool is saturated in an interval if its backlog grew by more than chance allows and its queue never emptied: the mean
net flow into the backlog (arrivals less departures) exceeds three of its standard errors, and the least number
waiting was above zero. Latencies of a saturated interval say how long the test ran, not how good the fleet is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.statistics import finite

NUM_STANDARD_ERRORS = 3.0  # assumed: one false alarm in 700 intervals if net flows were normal


def growth(net_flow: NDArray[np.float64], width_s: float | NDArray[np.float64]) -> tuple[float, float]:
    """Return the backlog's mean growth and its standard error [requests/s].

    Parameters
    ----------
    net_flow
        Requests that came less requests that left, in slices of the interval (a minute each is usual).
    width_s
        Width of each slice, or of all [s].

    Returns
    -------
    tuple of float
        Net flow over time, and the standard deviation of the slices' rates, weighted by width, over the square root of
        their number. Slices count as independent; a stable queue gives back in one slice what it took in another, so
        this errs on the side of a larger standard error. Infinite for fewer than two slices.
    """
    flow = np.asarray(net_flow, dtype=np.float64)
    width = np.broadcast_to(np.asarray(width_s, dtype=np.float64), flow.shape)
    mean = float(flow.sum() / width.sum()) if len(flow) else 0.0
    if len(flow) < 2:
        return mean, math.inf
    variance = float(width @ (flow / width - mean) ** 2 / width.sum())
    return mean, math.sqrt(variance / (len(flow) - 1))


def is_saturated(growth_per_s: float, stderr_per_s: float, waiting_min: int) -> bool:
    """Return the verdict on one interval of one pool."""
    return waiting_min > 0 and growth_per_s > NUM_STANDARD_ERRORS * stderr_per_s


def margin_frac(needed_s: float, available_s: float) -> float:
    """Return the estimated spare share of a pool: 1 - needed / available replica step time; negative if overloaded.

    An estimate, because needed time is taken at the largest batches that the pool's limits allow, as if they could be
    filled at every instant. NaN where no time was available.
    """
    return 1.0 - needed_s / available_s if available_s > 0.0 else math.nan


def verdict(timeline: NDArray[np.void], pools: tuple[str, ...]) -> dict[str, Any]:
    """Return the run's verdict: its worst interval (saturated first, then least margin, then growth).

    Parameters
    ----------
    timeline
        `INTERVAL` rows; those that begin before t = 0 (the run-in) are left out.
    pools
        Name of each pool index.

    Returns
    -------
    dict
        verdict "saturated" or "stable", the worst interval (None if there is none), its estimated margin_frac,
        and the number of saturated intervals of each pool.
    """
    rows = timeline[timeline["t_s"] >= 0.0]
    by_pool = {name: int(np.count_nonzero(rows["saturated"][rows["pool"] == i])) for i, name in enumerate(pools)}
    if len(rows) == 0:
        return {
            "verdict": "stable",
            "worst_interval": None,
            "margin_frac": None,
            "num_saturated_intervals": by_pool,
        }
    margin = np.where(np.isnan(rows["margin_frac"]), np.inf, rows["margin_frac"])
    worst = rows[np.lexsort((-rows["growth_per_s"], margin, -rows["saturated"]))[0]]
    interval = {
        "pool": pools[worst["pool"]],
        "t_s": float(worst["t_s"]),
        "width_s": float(worst["width_s"]),
        "growth_per_s": finite(worst["growth_per_s"]),
        "growth_stderr_per_s": finite(worst["growth_stderr_per_s"]),
        "waiting_end": int(worst["waiting_end"]),
    }
    return {
        "verdict": "saturated" if worst["saturated"] else "stable",
        "worst_interval": interval,
        "margin_frac": finite(worst["margin_frac"]),
        "num_saturated_intervals": by_pool,
    }
