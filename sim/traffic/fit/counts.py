"""Counts of arrivals: the slow intensity, and the Fano factor of what moves faster.

The Fano factor of windows of length w is the variance of their counts over the mean. For a Neyman-Scott process on an
intensity r(t) with mean 1 (sim.traffic.bursts), with excess A_c = share_c E[N (N - 1)] / E[N] = 2 share_c (m_c - 1),

    F(w) = 1 + sum over c of A_c <r g(r w / tau_c)> / <r> + Var(L_w) / E(L_w),    g(x) = 1 - (1 - exp(-x)) / x,

where L_w is the intensity's own volume of a window, known exactly. (Two members of a burst are |d| apart with density
exp(-d / tau) / tau; g is the chance that one window holds both, given one.) What n windows of one trace show is a
little less, because their mean is their own: the variance of the total over n^2 is taken off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sim.traffic.fit.recorded import Recorded

INTERVAL_S = 300.0
MAX_INTERVALS = 288  # a day of five minutes each: a longer trace has longer intervals
_FINE = 60  # parts of an interval in which arrivals are counted before they are smoothed
_WINDOWS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
_LEAST_WINDOWS = 24  # their variance then has a relative standard error of 0.3


@dataclass(frozen=True, eq=False)
class Slow:
    """A rate that is constant within intervals, over a span."""

    interval_s: float
    rate_per_s: NDArray[np.float64]
    span_s: float

    @property
    def edges_s(self) -> NDArray[np.float64]:
        """Edges of the intervals; the last is cut by the span."""
        return np.minimum(np.arange(len(self.rate_per_s) + 1.0) * self.interval_s, self.span_s)

    @property
    def widths_s(self) -> NDArray[np.float64]:
        """Lengths of the intervals."""
        return np.diff(self.edges_s)

    def volumes(self, window_s: float) -> NDArray[np.float64]:
        """Expected counts of the whole windows of the span."""
        total = np.append(0.0, np.cumsum(self.rate_per_s * self.widths_s))
        edges_s = np.arange(int(self.span_s // window_s) + 1) * window_s
        return np.diff(np.interp(edges_s, self.edges_s, total))


@dataclass(frozen=True)
class Excess:
    """What bursts of one kind add to the Fano factor: `excess` in long windows, half of it near `spread_s`."""

    excess: float
    spread_s: float


def smoothed(time_s: NDArray[np.float64], span_s: float) -> Slow:
    """The slow intensity of arrivals: smoothed with a normal kernel whose deviation is one interval, then averaged.

    At the ends the kernel is cut off and made whole again; the total is that of the arrivals. Intervals have five
    minutes, or as many times that as it takes to have no more than 288.
    """
    from scipy.ndimage import gaussian_filter1d

    interval_s = INTERVAL_S * max(1.0, np.ceil(span_s / INTERVAL_S / MAX_INTERVALS))
    num = max(int(np.ceil(span_s / interval_s)), 1)
    fine_s = interval_s / _FINE
    edges_s = np.minimum(np.arange(num * _FINE + 1) * fine_s, span_s)
    counts = np.histogram(time_s, np.append(edges_s[:-1], np.inf))[0].astype(float)
    seen_s = np.diff(edges_s)
    smooth = [gaussian_filter1d(values, float(_FINE), mode="constant") for values in (counts, seen_s)]
    expected = np.where(seen_s > 0.0, smooth[0] / smooth[1], 0.0) * seen_s
    volume = expected.reshape(num, _FINE).sum(axis=1)
    slow = Slow(interval_s, np.ones(num), span_s)
    rate = volume / slow.widths_s
    return Slow(interval_s, rate * (len(time_s) / float(rate @ slow.widths_s)), span_s)


def counts(time_s: NDArray[np.float64], window_s: float, span_s: float) -> NDArray[np.int64]:
    """Arrivals in each whole window of the span."""
    num = int(span_s // window_s)
    return np.bincount((time_s / window_s).astype(np.int64), minlength=num)[:num]


def fano(time_s: NDArray[np.float64], window_s: float, span_s: float) -> float:
    """The Fano factor of the counts of whole windows."""
    found = counts(time_s, window_s, span_s)
    return float(found.var(ddof=1) / found.mean())


def windows_of(recorded: Recorded) -> list[float]:
    """Windows that the dispersion is fitted at [s]: at least 24 in the span, and four steps of the grid, if any."""
    lengths: Sequence[float] = _WINDOWS_S
    if recorded.grid_s:
        # Only whole steps hold equally many recorded times.
        lengths = [recorded.grid_s * steps for steps in (4, 5, 10, 20, 40)]
    return [length for length in lengths if length * _LEAST_WINDOWS <= recorded.span_s]


def expected_fano(window_s: float, slow: Slow, kinds: Sequence[Excess]) -> float:
    """The Fano factor that n windows of one realisation show, in the mean (of variance over mean)."""
    num, mean, between = _of_windows(slow, window_s)
    one, all_of_them = (_excess(length, slow, kinds) for length in (window_s, num * window_s))
    # n - 1 in the sample variance; the total varies too.
    within = mean * (1.0 + one) - mean * (1.0 + all_of_them) / num
    return float(within * num / (num - 1) / mean + between / mean)


@lru_cache(maxsize=64)
def _of_windows(slow: Slow, window_s: float) -> tuple[int, float, float]:
    """Number, mean and variance of the volumes of whole windows: what a fit asks again and again."""
    volumes = slow.volumes(window_s)
    return len(volumes), float(volumes.mean()), float(volumes.var(ddof=1))


def count_variance(width_s: float, rate_per_s: float, mean_rate_per_s: float, kinds: Sequence[Excess]) -> float:
    """Variance of the count of a time during which the rate is constant."""
    mean, speed = rate_per_s * width_s, rate_per_s / mean_rate_per_s
    return mean * (1.0 + sum(kind.excess * _together(speed * width_s, kind.spread_s) for kind in kinds))


def _excess(window_s: float, slow: Slow, kinds: Sequence[Excess]) -> float:
    weight = slow.rate_per_s * slow.widths_s
    speed = slow.rate_per_s / (weight.sum() / slow.span_s)
    return sum(
        kind.excess * float(weight @ [_together(r * window_s, kind.spread_s) for r in speed]) / float(weight.sum())
        for kind in kinds
    )


def _together(window_s: float, spread_s: float) -> float:
    """g(x): the chance that a window that holds one member of a burst holds another given one."""
    if window_s <= 0.0:
        return 0.0
    if spread_s < 1e-9 * window_s:
        return 1.0
    x = window_s / spread_s
    return x / 2.0 if x < 1e-6 else 1.0 + np.expm1(-x) / x
