"""Predictive scaling: a pool's past by the time of the day or week, and what it says of the next minutes.

The seasonal naive forecast (Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 5.2) times
the change since the last period: y(t + h) = y(t + h - P) x mean(y) / mean(y a period ago), both means over the last
`trend_window_s`. Exact for whatever comes back every period, and for its growth by one factor.
"""

from __future__ import annotations

import math
from collections import defaultdict

from sim.fleet.scaling.pace import ROUNDING
from sim.spec.autoscaler import Forecast


class Past:
    """Means of one metric in bins of time, and forecasts from them."""

    def __init__(self, spec: Forecast, start_s: float) -> None:
        self._spec, self._start_s = spec, start_s
        self._num_bins = round(spec.every_s / spec.bin_s)
        self._sums: defaultdict[int, float] = defaultdict(float)
        self._widths_s: defaultdict[int, float] = defaultdict(float)

    def add(self, from_s: float, to_s: float, mean: float) -> None:
        """Note the mean of a span, in the bin of its middle."""
        k = self._bin_of(0.5 * (from_s + to_s))
        self._sums[k] += mean * (to_s - from_s)
        self._widths_s[k] += to_s - from_s
        old = k - 2 * self._num_bins
        if old in self._sums:
            del self._sums[old], self._widths_s[old]

    def forecast(self, now: float, ahead_s: float) -> float | None:
        """Largest value expected from now until then; None where the last period is not known."""
        first, last = self._bin_of(now), self._bin_of(now + ahead_s)
        expected = [value for k in range(first, last + 1) if (value := self._value(k - self._num_bins)) is not None]
        return max(expected) * self._change(first) if expected else None

    def replicas(self, now: float, ahead_s: float) -> int:
        """How many replicas the forecast asks for; 0 where there is none."""
        expected = self.forecast(now, ahead_s)
        return 0 if expected is None else math.ceil(expected / self._spec.target - ROUNDING)

    def _bin_of(self, t_s: float) -> int:
        return math.floor(t_s / self._spec.bin_s + ROUNDING)

    def _value(self, k: int) -> float | None:
        """Mean of a bin: as it was seen, or by the history of before the start."""
        if self._widths_s.get(k, 0.0) > 0.0:
            return self._sums[k] / self._widths_s[k]
        history, every_s = self._spec.history, self._spec.every_s
        into_s = (k + 0.5) * self._spec.bin_s - (self._start_s - every_s)
        if history and 0.0 <= into_s < every_s:
            return history[int(into_s / every_s * len(history))]
        return None

    def _change(self, k: int) -> float:
        """Factor since the last period, over the whole bins of the trend's window before bin k."""
        pairs = []
        for j in range(k - round(self._spec.trend_window_s / self._spec.bin_s), k):
            now, then = self._value(j), self._value(j - self._num_bins)
            if now is not None and then is not None and j in self._sums:
                pairs.append((now, then))
        before = math.fsum(then for _, then in pairs)
        return math.fsum(now for now, _ in pairs) / before if before > 0.0 else 1.0
