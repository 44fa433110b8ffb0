"""Renewal arrivals of many senders at once, each with its own rate and burstiness, on one daily curve.

Sender c's gaps are gamma or Weibull with mean 1 / rate_c and coefficient of variation cv_c, in operational time: a
clock that runs as fast as the daily curve is high. So each sender's rate follows the curve, and its bursts keep their
shape. The first gap is the equilibrium residual, which makes the process stationary from the start: its density is the
gaps' survival over their mean (Cox, Renewal Theory, 1962, section 5.4). Of gamma gaps it is U G with
G ~ gamma(shape + 1). Of Weibull gaps with shape k and scale s it is s Y^(1/k) with Y ~ gamma(1/k), for the integral of
exp(-(t/s)^k) up to x is (s/k) times the lower incomplete gamma function of 1/k at (x/s)^k.

A gap is drawn from its inverse CDF, a table over the binary logarithm of the nearer tail: for bursty senders nearly all
of the mean lies in the last percent, for regular ones the first percent matters too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma, gammainccinv, gammaincinv

from sim.traffic import draws
from sim.traffic.daily import DailyRate
from sim.traffic.lengths import lookup, weibull_shape
from sim.traffic.order import time_order
from sim.units import DAY_S

_OCTAVES, _BINS = 52, 32  # of a tail probability, from 2**-53 to 1/2; straight lines inside each of 32 bins an octave
_FIRST_BIN, _BIN_SHIFT = (1023 - _OCTAVES - 1) * _BINS, 52 - 5
_MAX_ROWS = 1 << 18  # of a slice, on average
_MAX_SLICE_S = 1800.0
_DAY_NS = round(DAY_S * 1e9)
_LONGEST_NS = 1e17  # three years: no run sees the end of a longer gap
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def gamma_tables(cv: NDArray[np.float64], extra_shape: float = 0.0) -> NDArray[np.float64]:
    """Inverse CDFs of gamma(shape + extra_shape) / shape with shape = 1 / cv**2, shape (cv, 2, bins + 1).

    Half 0 holds the values at lower-tail probabilities, half 1 those at upper-tail ones: at (1 + b/32) 2**(e - 53) for
    bin b of octave e, the last at 1/2. Rows are scaled to their exact mean.
    """
    shape = 1.0 / np.square(cv)[:, np.newaxis]
    halves = [inverse(shape + extra_shape, tail_probabilities()) / shape for inverse in (gammaincinv, gammainccinv)]
    return _scaled(np.stack(halves, axis=1), 1.0 + extra_shape / shape)


def weibull_tables(cv: NDArray[np.float64], *, residual: bool = False) -> NDArray[np.float64]:
    """Inverse CDFs of Weibull gaps of mean 1, or of their equilibrium residuals, in the form of `gamma_tables`.

    The mean residual is (1 + cv^2) / 2.
    """
    shape = np.array([weibull_shape(each) for each in cv.tolist()])[:, np.newaxis]
    scale = 1.0 / gamma(1.0 + 1.0 / shape)
    # Gaps are s Y^(1/k) with Y ~ gamma(1), which is exponential.
    halves = [
        scale * inverse(1.0 / shape if residual else np.ones_like(shape), tail_probabilities()) ** (1.0 / shape)
        for inverse in (gammaincinv, gammainccinv)
    ]
    mean = 0.5 * (1.0 + np.square(cv)[:, np.newaxis]) if residual else np.ones_like(shape)
    return _scaled(np.stack(halves, axis=1), mean)


def _scaled(halves: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows scaled so that the lookup has exactly this mean."""
    found = (0.5 * (halves[:, :, 1:] + halves[:, :, :-1]) @ np.diff(tail_probabilities())).sum(axis=1)
    return np.asarray(halves * (mean / found[:, np.newaxis])[:, np.newaxis])


def tail_probabilities() -> NDArray[np.float64]:
    """Where the entries of a half of `gamma_tables` stand: from 2**-53 to 1/2, equal steps within an octave."""
    bins = np.arange(_OCTAVES * _BINS + 1)
    return np.asarray(np.ldexp(1.0 + (bins % _BINS) / _BINS, bins // _BINS - _OCTAVES - 1))


def gap_lookup(tables: NDArray[np.float64], row: NDArray[np.int64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of rows of such tables at u in (0, 1)."""
    upper = u > 0.5
    word = np.where(upper, 1.0 - u, u).view(np.int64)
    inside = (word & ((1 << _BIN_SHIFT) - 1)) * 2.0**-_BIN_SHIFT
    # One half lies behind the other; u = 1/2 itself is the end of the lower half's last bin.
    at = (word >> _BIN_SHIFT) - _FIRST_BIN + (2 * row + upper) * tables.shape[2]
    flat = tables.ravel()
    low = flat[at]
    return np.asarray(low + inside * (flat[np.minimum(at + 1, len(flat) - 1)] - low))


@dataclass(frozen=True, eq=False)
class Renewals:
    """Arrivals of many senders.

    Parameters
    ----------
    seed
        Seed of all draws.
    first_sender
        Number of the first sender; the others follow.
    rate_per_s : shape (senders,)
        Mean rate of each over a day.
    cv : shape (levels,)
        Coefficients of variation that occur.
    level : shape (senders,)
        Which of them each sender has.
    daily
        The curve.
    start_s, end_s
        Arrivals fall in [start_s, end_s).
    weibull : shape (senders,)
        Whether a sender's gaps are Weibull; None: nobody's are.
    """

    seed: int
    first_sender: int
    rate_per_s: NDArray[np.float64]
    cv: NDArray[np.float64]
    level: NDArray[np.int64]
    daily: DailyRate
    start_s: float
    end_s: float
    weibull: NDArray[np.bool_] | None = None

    def slices(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
        """Slice by slice, sorted by time: (times [s], sender, number of the arrival among the sender's)."""
        gaps, times_s = _Gaps(self), self.daily.times_s
        peak = max(float(self.daily.by_minute.max()), 1.0)
        width_s = min(_MAX_SLICE_S, _MAX_ROWS / (float(self.rate_per_s.sum()) * peak))
        for index in range(int(-(-(self.end_s - self.start_s) // width_s))):
            begin_s = self.start_s + index * width_s
            finish_s = min(begin_s + width_s, self.end_s)
            ns, sender, number = gaps.until(round(self.daily.volume(0.0, finish_s) * _DAY_NS))
            day, rest_ns = np.divmod(ns, _DAY_NS)
            clock_ns = np.rint((day * DAY_S + lookup(times_s, rest_ns / _DAY_NS)) * 1e9).astype(np.int64)
            # Rounding must not carry an arrival over the edge of its slice.
            begin_ns = round(begin_s * 1e9)
            offset_ns = np.clip(clock_ns - begin_ns, 0, round(finish_s * 1e9) - begin_ns - 1)
            order = time_order(offset_ns)
            yield (begin_ns + offset_ns[order]) / 1e9, sender[order] + self.first_sender, number[order]


class _Gaps:
    """Where each sender's renewal process stands in operational time [ns]."""

    def __init__(self, renewals: Renewals) -> None:
        self.key = draws.key(renewals.seed, draws.CLIENT_GAP)
        self.tables = gamma_tables(renewals.cv)
        residuals = gamma_tables(renewals.cv, 1.0)
        is_weibull = np.zeros(len(renewals.level), dtype=np.bool_) if renewals.weibull is None else renewals.weibull
        if is_weibull.any():
            self.tables = np.concatenate([self.tables, weibull_tables(renewals.cv)])
            residuals = np.concatenate([residuals, weibull_tables(renewals.cv, residual=True)])
        self.row = renewals.level + len(renewals.cv) * is_weibull
        self.cv = renewals.cv[renewals.level]
        self.mean_ns = 1e9 / renewals.rate_per_s
        self.entity = np.arange(len(self.mean_ns), dtype=np.uint64) + np.uint64(renewals.first_sender)
        self.number = np.zeros(len(self.mean_ns), dtype=np.int64)
        u = draws.uniform(draws.bits(self.key, self.entity, _ZERO, _ZERO))
        v = draws.uniform(draws.bits(self.key, self.entity, _ZERO, _ONE))
        residual = np.where(is_weibull, 1.0, u) * gap_lookup(residuals, self.row, v)
        start_ns = round(renewals.daily.volume(0.0, renewals.start_s) * _DAY_NS)
        self.next_ns = start_ns + self._whole(residual * self.mean_ns)

    def until(self, end_ns: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """All arrivals before `end_ns` not returned yet: (operational time [ns], sender from 0, number)."""
        found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]] = []
        senders = np.flatnonzero(self.next_ns < end_ns)
        while len(senders):
            # Enough arrivals for nearly all; who needs more comes round again.
            expected = np.minimum((end_ns - self.next_ns[senders]) / self.mean_ns[senders], float(_MAX_ROWS))
            size = (expected + 2.0 * self.cv[senders] * np.sqrt(expected) + 2.0).astype(np.int64)
            first = np.cumsum(size) - size
            who = np.repeat(senders, size)
            step = np.arange(len(who)) - np.repeat(first, size)
            number = self.number[who] + step
            # Entry 0 of each sender is its next arrival, known already; every other adds the gap before it.
            u = draws.uniform(draws.bits(self.key, self.entity[who], number.view(np.uint64), _ZERO))
            gap_ns = self._whole(gap_lookup(self.tables, self.row[who], u) * self.mean_ns[who])
            gap_ns[first] = self.next_ns[senders]
            # Integers add up exactly, so one running sum serves all senders.
            total = np.cumsum(gap_ns)
            before = np.repeat(total[first] - gap_ns[first], size)
            ns = total - before
            early = ns < end_ns
            num_early = np.add.reduceat(early, first)
            # The first arrival that is too late, or else the last one drawn, is the next one known.
            following = first + np.minimum(num_early, size - 1)
            early[following] = False
            self.next_ns[senders], self.number[senders] = ns[following], number[following]
            found.append((ns[early], who[early], number[early]))
            senders = senders[self.next_ns[senders] < end_ns]
        if not found:
            empty = np.zeros(0, dtype=np.int64)
            return empty, empty, empty
        ns, who, number = (np.concatenate(column) for column in zip(*found, strict=True))
        return ns, who, number

    @staticmethod
    def _whole(ns: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.rint(np.minimum(ns, _LONGEST_NS)).astype(np.int64)
