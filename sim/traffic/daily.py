"""The daily curve: when conversations must start so that their messages, turn after turn, follow a given curve.

Messages come later than starts: turn k of a conversation arrives k gaps after its start. So the rate of messages is the
rate of starts convolved (cyclically, day after day) with the kernel sum over k of P(N > k) f_k, f_k being the density
of the sum of k gaps. Here that is undone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.traffic.lengths import Table, lookup
from sim.units import DAY_S

MINUTES = 1440
HOURS = 24
TIME_CELLS = 4096
MAX_DELAY_DAYS = 8  # of a message behind its conversation's start; later ones are taken for earlier
_SAMPLES = 1 << 16  # points of the gap's distribution, spread evenly over its probability


@dataclass(frozen=True, eq=False)
class DailyRate:
    """A rate over the day: constant within each minute, cyclic, with mean 1."""

    by_minute: NDArray[np.float64]

    @property
    def times_s(self) -> NDArray[np.float64]:
        """Time of day [s] by which i/4096 of the day's volume has come, shape (4097,): increasing, 0 to one day."""
        edges_s = np.linspace(0.0, DAY_S, MINUTES + 1)
        done = np.append(0.0, np.cumsum(self.by_minute)) / self.by_minute.sum()
        times_s: NDArray[np.float64] = np.interp(np.arange(TIME_CELLS + 1) / TIME_CELLS, done, edges_s)
        times_s[-1] = edges_s[np.searchsorted(done, done[-1])]  # nothing comes after the last minute with any
        return times_s

    @property
    def by_hour(self) -> NDArray[np.float64]:
        """Mean rate of each hour, shape (24,)."""
        return np.asarray(self.by_minute.reshape(HOURS, -1).mean(axis=1))

    def shifted(self, minutes: int) -> "DailyRate":
        """The same rate so many minutes later in the day."""
        return DailyRate(np.roll(self.by_minute, minutes))

    def volume(self, start_s: float, end_s: float) -> float:
        """The integral of the rate over [start_s, end_s) in days."""
        done = np.append(0.0, np.cumsum(self.by_minute)) / MINUTES
        edges_s = np.linspace(0.0, DAY_S, MINUTES + 1)
        whole, rest = np.divmod([start_s, end_s], DAY_S)
        first, last = whole + np.interp(rest, edges_s, done)
        return float(last - first)


def turn_survival(turns: Table) -> NDArray[np.float64]:
    """P(N > k) for k = 0, 1, ... of a number of turns drawn by `lengths.tokens`; its sum is the table's mean."""
    halves = np.arange(0.5, np.floor(turns[-1] + 0.5))
    if len(halves) < 2:
        return np.ones(1)
    # The share of u below the first point where the table reaches k + 1/2.
    i = np.searchsorted(turns, halves, side="left")
    low, high = turns[np.maximum(i - 1, 0)], turns[i]
    inside = np.divide(halves - low, high - low, out=np.zeros_like(halves), where=high > low)
    below = np.where(i == 0, 0.0, (i - 1 + inside) / (len(turns) - 1))
    below[0] = 0.0  # at least one turn
    return np.asarray(1.0 - below)


@dataclass(frozen=True, eq=False)
class Delay:
    """When the messages of a conversation come after its start: their expected number in each minute.

    `by_minute` has the length of whole days; what is later still is counted from its beginning again. It sums to the
    mean number of turns.
    """

    by_minute: NDArray[np.float64]

    @classmethod
    def of(cls, turns: Table, gap_s: Table) -> "Delay":
        """The delay of a workload, from the quantile tables of the number of turns and of the time between them [s]."""
        survival = turn_survival(turns)
        longest_minutes = (len(survival) - 1) * float(gap_s[-1]) / 60.0
        num_days = min(2 + int(longest_minutes // MINUTES), MAX_DELAY_DAYS)
        gap = np.fft.rfft(_on_minutes(gap_s, num_days * MINUTES))
        total = np.zeros_like(gap)
        for share in survival[::-1]:
            total = total * gap + share
        return cls(np.maximum(np.fft.irfft(total, n=num_days * MINUTES), 0.0))

    @classmethod
    def mixture(cls, delays: Sequence["Delay"], shares: Sequence[float]) -> "Delay":
        """The mean delay of conversations of several kinds."""
        longest = max(len(delay.by_minute) for delay in delays)
        total = np.zeros(longest)
        for delay, share in zip(delays, shares, strict=True):
            total[: len(delay.by_minute)] += share * delay.by_minute
        return cls(total)

    def messages_of_day(self, starts_by_minute: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rate of the messages that follow from one day's starts, on that day and on later ones, shape (days, 1440)."""
        size = len(self.by_minute)
        rate = np.fft.irfft(np.fft.rfft(starts_by_minute, n=size) * np.fft.rfft(self.by_minute), n=size)
        # The transform leaves zeros a little below zero.
        return np.maximum(rate, 0.0).reshape(-1, MINUTES)


def start_rate(hourly: Sequence[float], delay: Delay) -> tuple[DailyRate, DailyRate]:
    """The rate of conversation starts whose messages have given hourly means, and that rate of messages.

    Every day is like the last. The starts' rate is a straight line from the middle of each hour to the next. Its 24
    knots are found by the multiplicative fixed point knot *= wanted / got, which keeps them non-negative and, where a
    solution exists, ends at it.

    Parameters
    ----------
    hourly
        Wanted rate of messages by hour, in any unit, shape (24,).
    delay
        Of the messages behind their conversation's start.

    Returns
    -------
    starts, messages : DailyRate
    """
    wanted = np.asarray(hourly, dtype=np.float64)
    wanted = wanted / wanted.mean()
    kernel = np.fft.rfft(delay.by_minute.reshape(-1, MINUTES).sum(axis=0) / delay.by_minute.sum())
    minutes = np.arange(MINUTES) + 0.5
    hat = np.maximum(1.0 - np.abs(minutes - 30.0) / 60.0, 0.0) + np.maximum(minutes - (MINUTES - 30.0), 0.0) / 60.0
    got_by_hour = _convolved(hat, kernel).reshape(HOURS, -1).mean(axis=1)
    response = np.stack([np.roll(got_by_hour, hour) for hour in range(HOURS)], axis=1)
    knots = wanted.copy()
    for _ in range(500):
        got = response @ knots
        if np.max(np.abs(got - wanted)) < 1e-13:
            break
        knots *= np.divide(wanted, got, out=np.ones(HOURS), where=got > 0.0)
    starts = sum(knots[hour] * np.roll(hat, 60 * hour) for hour in range(HOURS))
    starts = np.asarray(starts) / np.mean(starts)
    return DailyRate(starts), DailyRate(_convolved(starts, kernel))


def _convolved(rate: NDArray[np.float64], kernel: NDArray[np.complex128]) -> NDArray[np.float64]:
    return np.maximum(np.fft.irfft(np.fft.rfft(rate) * kernel, n=MINUTES), 0.0)


def _on_minutes(gap_s: Table, size: int) -> NDArray[np.float64]:
    """Probabilities of a gap on whole minutes; what is longer than `size` minutes begins again from none."""
    gaps = lookup(gap_s, (np.arange(_SAMPLES) + 0.5) / _SAMPLES) / 60.0
    minute = np.floor(gaps).astype(np.int64)
    # Each gap is shared by the two nearest minutes, which keeps its mean.
    later = gaps - minute
    density = np.bincount(minute % size, 1.0 - later, size) + np.bincount((minute + 1) % size, later, size)
    return np.asarray(density / _SAMPLES)
