"""Weeks made of one week: its diurnal pattern, and stretches of what differed from it, drawn anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.metrics.drift.baseline import DAYS, Series, weighted_fit

BLOCK = 6
"""Intervals of a stretch: what differs in one hour still does in the next; *assumed*."""
LIKE = (1, 2, 3)
"""Days from which stretches are drawn, Tuesday to Thursday: none of their noise is taken for a day's pattern. A fit
with a level and a slope for each day takes up to two thirds of what differs over a quarter of it."""


def bootstrapped(week: Series, per_day: int, num_weeks: int, rng: np.random.Generator) -> Series:
    """Weeks of the same pattern and the same noise as one week that was seen.

    The pattern is hour of the day, with a level and a slope of their own for the days not in `LIKE`. A stretch is drawn
    for all series together, so what goes together stays together. Noise is scaled to the requests of the time it is put
    to, and for what the fit has taken of it.
    """
    regressors = pattern(per_day)
    effects = weighted_fit(regressors, week.values, week.weights)
    expected = regressors @ effects
    taken = np.diagonal(regressors @ np.linalg.pinv(regressors))  # part of an interval's noise that the fit follows
    z = (week.values - expected) * np.sqrt(week.weights / np.maximum(1.0 - taken, 1e-9)[:, None])
    starts = np.concatenate([day * per_day + np.arange(per_day) for day in LIKE])[: 1 - BLOCK]
    num_blocks = -(-num_weeks * len(z) // BLOCK)
    rows: NDArray[np.int64] = (rng.choice(starts, num_blocks)[:, None] + np.arange(BLOCK)).reshape(-1)
    weights = np.tile(week.weights, (num_weeks, 1))
    noise = z[rows[: len(weights)]] / np.sqrt(np.where(weights > 0.0, weights, np.inf))
    return Series(np.tile(expected, (num_weeks, 1)) + noise, weights, week.least)


def pattern(per_day: int) -> NDArray[np.float64]:
    """Regressors of a week in which the days of `LIKE` are alike."""
    time = np.arange(DAYS * per_day)
    day, slot = time // per_day, time % per_day
    columns = [slot == number for number in range(per_day)]
    for number in set(range(DAYS)) - set(LIKE):
        columns += [day == number, (day == number) * ((slot + 0.5) / per_day - 0.5)]
    return np.stack(columns, axis=1).astype(np.float64)


def bare(series: Series) -> Series:
    """The same, where every change matters."""
    return Series(series.values, series.weights, np.zeros_like(series.least))
