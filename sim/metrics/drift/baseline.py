"""The diurnal baseline: what each series is at each hour of the week, how it varies, and by how much now differs.

A series is expected to be (its hour of the day) + (its day of the week) + (a slope through that day, since a weekend
does not begin at midnight UTC everywhere), fitted by least squares, each interval weighted by the requests it rests on.
What differs is divided by its deviation; what remains of the interval before it is taken out (a first-order
autoregression), and the score is cut at `LARGEST`, so that one odd interval is no drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sim.metrics.drift.charts import cusum, tail_limit

Floats = NDArray[np.float64]

DAYS = 7
LARGEST = 4.0  # assumed: beyond it, one interval in 16,000 if scores were normal
REPLAYS = 8_000
"""Weeks simulated for a limit."""


def pattern(per_day: int) -> Floats:
    """Regressors of one week of intervals, shape [7 per_day, per_day + 12]."""
    time = np.arange(DAYS * per_day)
    day, slot = time // per_day, time % per_day
    through = (slot + 0.5) / per_day - 0.5
    columns = [slot == number for number in range(per_day)]
    columns += [day == number for number in range(1, DAYS)]
    columns += [(day == number) * through for number in range(1, DAYS)]
    return np.stack(columns, axis=1).astype(np.float64)


@dataclass(frozen=True)
class Series:
    """Numbers to watch, interval by interval."""

    values: Floats
    """Shape [time, series]."""
    weights: Floats
    """How many requests each rests on: its variance goes with the inverse. 0: nothing was seen."""
    least: Floats
    """Least change that matters, shape [series]; added to the deviation."""

    def part(self, begin: int, end: int) -> Series:
        """The intervals from `begin` up to `end`."""
        return Series(self.values[begin:end], self.weights[begin:end], self.least)


@dataclass(frozen=True)
class Baseline:
    """What is expected of some series in any week."""

    per_day: int
    effects: Floats
    """Shape [regressor, series]."""
    deviation: Floats
    """Of a value that rests on one request, shape [series]."""
    memory: Floats
    """Correlation of a deviation with that of the interval before, shape [series]."""
    scale: Floats
    """Deviation of the scores of the baseline's own weeks before they were divided by it, shape [series]."""
    least: Floats

    @classmethod
    def fit(cls, series: Series, per_day: int) -> Baseline:
        """Fit whole weeks."""
        weeks, rest = divmod(len(series.values), DAYS * per_day)
        if weeks < 1 or rest:
            raise ValueError(f"a baseline needs whole weeks of {DAYS * per_day} intervals, got {len(series.values)}")
        regressors = np.tile(pattern(per_day), (weeks, 1))
        effects = weighted_fit(regressors, series.values, series.weights)
        residual = series.values - regressors @ effects
        freedom = max(1, len(residual) - regressors.shape[1])
        deviation = np.sqrt((series.weights * residual**2).sum(axis=0) / freedom)
        num_series = series.values.shape[1]
        bare = cls(per_day, effects, deviation, np.zeros(num_series), np.ones(num_series), series.least)
        z = bare.standardised(series)
        power = np.maximum((z * z).sum(axis=0), 1e-12)
        memory = np.clip((z[1:] * z[:-1]).sum(axis=0) / power, 0.0, 0.9)
        return cls(per_day, effects, deviation, memory, np.sqrt(1.0 - memory**2), series.least)

    def standardised(self, series: Series) -> Floats:
        """Differences from what is expected, in deviations; 0 where nothing was seen. The series begin a week."""
        weeks = -(-len(series.values) // (DAYS * self.per_day))
        expected = (np.tile(pattern(self.per_day), (weeks, 1)) @ self.effects)[: len(series.values)]
        seen = series.weights > 0.0
        variance = self.deviation**2 / np.where(seen, series.weights, 1.0) + self.least**2
        z: Floats = np.where(seen, series.values - expected, 0.0) / np.sqrt(np.maximum(variance, 1e-24))
        return z

    def scores(self, series: Series) -> Floats:
        """Standardised differences without memory, cut at `LARGEST`, shape [time, series]."""
        z = np.clip(self.standardised(series), -LARGEST, LARGEST)
        before = np.concatenate([np.zeros_like(z[:1]), z[:-1]])
        cut: Floats = np.clip((z - self.memory * before) / self.scale, -LARGEST, LARGEST)
        return cut


def weighted_fit(regressors: Floats, values: Floats, weights: Floats) -> Floats:
    """Least squares with a column of weights for each series; series with equal weights are fitted together."""
    effects = np.empty((regressors.shape[1], values.shape[1]))
    kinds, which = np.unique(weights, axis=1, return_inverse=True)
    for number in range(kinds.shape[1]):
        mine = np.flatnonzero(which == number)
        root = np.sqrt(kinds[:, number])[:, None]
        effects[:, mine] = np.linalg.lstsq(regressors * root, values[:, mine] * root, rcond=None)[0]
    return effects


@lru_cache(maxsize=8)
def simulated_maxima(k: float, per_day: int, num_weeks: int, seed: int = 1) -> Floats:
    """The highest that a chart comes in a week, against a baseline of so many weeks, `REPLAYS` times.

    Of independent normal values through the same fit, since a baseline of few weeks is itself uncertain: with ever more
    weeks a level is passed as often as `charts.crossing_frac` says.
    """
    rng = np.random.default_rng(seed)
    week = DAYS * per_day
    maxima = []
    for _ in range(8):
        values = rng.standard_normal(((num_weeks + 1) * week, REPLAYS // 8))
        series = Series(values, np.ones_like(values), np.zeros(values.shape[1]))
        baseline = Baseline.fit(series.part(0, num_weeks * week), per_day)
        scores = baseline.scores(series.part(num_weeks * week, (num_weeks + 1) * week))
        maxima.append(cusum(scores, k).max(axis=(0, 1)))
    return np.concatenate(maxima)


def simulated_limit(k: float, false_alarms: float, per_day: int, num_weeks: int) -> float:
    """The level that a chart passes with that chance in a week in which nothing has changed."""
    return tail_limit(simulated_maxima(k, per_day, num_weeks), false_alarms)


def per_chart(false_alarms: float, num_charts: int) -> float:
    """Chance that each of so many charts may have, so that any alarms with that chance (Sidak 1967)."""
    return -math.expm1(math.log1p(-false_alarms) / num_charts)
