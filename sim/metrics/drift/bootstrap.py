"""Weeks made of one week: its diurnal pattern, and blocks of what differed from it, drawn anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.metrics.drift.baseline import Baseline, Series

BLOCK = 6
"""Intervals of a block: what differs in one hour still does in the next; *assumed*."""


def bootstrapped(week: Series, per_day: int, num_weeks: int, rng: np.random.Generator) -> Series:
    """Weeks of the same pattern and the same noise as one week that was seen.

    Each block of `BLOCK` intervals is that of the same time on a day drawn at random, for all series together, so what
    goes together stays together. The noise of few requests is scaled to that of the time it is put to.
    """
    baseline = Baseline.fit(week, per_day)
    pattern = len(baseline.effects)
    z = baseline.standardised(Series(week.values, week.weights, np.zeros_like(week.least)))
    z *= np.sqrt(len(z) / max(1, len(z) - pattern))  # a fit takes part of the noise for pattern
    deviation = baseline.deviation / np.sqrt(np.maximum(week.weights, 1e-12)) * (week.weights > 0.0)
    expected = week.values - baseline.standardised(bare(week)) * deviation
    days = len(z) // per_day
    blocks = np.arange(per_day) // BLOCK
    from_day = rng.integers(0, days, (num_weeks * days, blocks[-1] + 1))
    rows: NDArray[np.int64] = (from_day[:, blocks] * per_day + np.arange(per_day)).reshape(-1)
    values = np.tile(expected, (num_weeks, 1)) + z[rows] * np.tile(deviation, (num_weeks, 1))
    return Series(values, np.tile(week.weights, (num_weeks, 1)), week.least)


def bare(series: Series) -> Series:
    """The same, where every change matters."""
    return Series(series.values, series.weights, np.zeros_like(series.least))
