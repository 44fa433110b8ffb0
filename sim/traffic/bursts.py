"""Times at random, in bursts and on a changing intensity: a Neyman-Scott process in operational time.

Bursts of kind c begin as a Poisson process. A burst holds N conversations, geometric with mean m_c, each of which
starts an exponential time with mean tau_c after the burst's beginning (Neyman and Scott, "Statistical approach to
problems of cosmology", J. R. Stat. Soc. B 20, 1958; Cox and Isham, Point Processes, 1980, section 3.4). A burst of one
with tau = 0 is a Poisson process. All of it runs in operational time: a clock that is as fast as the intensity is high.
So the mean rate follows the intensity exactly, whatever the bursts.

Every draw belongs to a burst of its kind, or to a member of one: nothing depends on how time is cut into slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import MAX_CHUNK_ROWS

_BATCH = 1 << 16  # bursts drawn at once, at most
# An exponential variate drawn from a uniform of at least 2**-53 is at most 53 ln 2 means long.
_LONGEST = 53.0 * np.log(2.0)
_ZERO = np.uint64(0)


@dataclass(frozen=True)
class BurstKind:
    """Bursts of one kind: `rate_per_s` conversations a second in all, `mean_size` in each burst."""

    rate_per_s: float
    mean_size: float = 1.0
    spread_s: float = 0.0


@dataclass(frozen=True, eq=False)
class Starts:
    """Times at which conversations start.

    Parameters
    ----------
    seed
        Seed of all draws.
    kinds
        Kinds of bursts, whose mean rates add up.
    interval_s
        Length of one interval of the intensity [s].
    relative : shape (intervals,)
        Intensity of each from time 0 on, with mean 1; then it begins again. Before time 0 the first value holds.
    start_s, end_s
        Times fall in [start_s, end_s), and are stationary from the start.
    """

    seed: int
    kinds: tuple[BurstKind, ...]
    interval_s: float
    relative: NDArray[np.float64]
    start_s: float
    end_s: float

    @cached_property
    def _edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Clock and operational time [s] of the edges of the intervals of one period."""
        operational_s: NDArray[np.float64] = np.append(0.0, np.cumsum(self.relative)) * self.interval_s
        clock_s = np.linspace(0.0, len(self.relative) * self.interval_s, len(self.relative) + 1)
        return clock_s, operational_s

    def volume_s(self, time_s: float) -> float:
        """Operational time of a time of the clock [s]."""
        if time_s < 0.0:
            return float(time_s * self.relative[0])
        clock_s, operational_s = self._edges
        whole, rest_s = divmod(time_s, clock_s[-1])
        return float(whole * operational_s[-1] + np.interp(rest_s, clock_s, operational_s))

    def _clock_s(self, operational_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Times of the clock of operational times [s]."""
        clock_s, edges_s = self._edges
        whole, rest_s = np.divmod(np.maximum(operational_s, 0.0), edges_s[-1])
        later: NDArray[np.float64] = whole * clock_s[-1] + np.interp(rest_s, edges_s, clock_s)
        # Where the first value is 0 nothing comes before time 0, and this is not used.
        return np.asarray(np.where(operational_s < 0.0, operational_s / max(self.relative[0], 1e-300), later))

    def slices(self) -> Iterator[NDArray[np.float64]]:
        """Times [s], whole nanoseconds, never decreasing; at most MAX_CHUNK_ROWS at once."""
        first_ns, end_ns = (round(self.volume_s(time_s) * 1e9) for time_s in (self.start_s, self.end_s))
        rate_per_s = sum(kind.rate_per_s for kind in self.kinds)
        width_ns = round(min(MAX_CHUNK_ROWS / rate_per_s * 1e9, 2.0**61))
        streams = [_Stream(self.seed, number, kind, first_ns) for number, kind in enumerate(self.kinds)]
        last_s = self.start_s
        for begin_ns in range(first_ns, end_ns, width_ns):
            until_ns = min(begin_ns + width_ns, end_ns)
            ns = np.concatenate([stream.until(until_ns) for stream in streams])
            ns.sort()
            ns = ns[np.searchsorted(ns, first_ns) :]
            times_s = np.rint(self._clock_s(ns / 1e9) * 1e9) / 1e9
            # Rounding must carry no time before another, or over the end.
            times_s = np.maximum.accumulate(np.maximum(times_s, last_s))
            times_s = times_s[: np.searchsorted(times_s, self.end_s)]
            last_s = float(times_s[-1]) if len(times_s) else last_s
            for at in range(0, len(times_s), MAX_CHUNK_ROWS):
                yield times_s[at : at + MAX_CHUNK_ROWS]


class _Stream:
    """Where the bursts of one kind stand in operational time [ns]."""

    def __init__(self, seed: int, number: int, kind: BurstKind, first_ns: int) -> None:
        self._begin, self._size, self._delay = (
            draws.key(seed, stream) for stream in (draws.BURST_BEGIN, draws.BURST_SIZE, draws.BURST_DELAY)
        )
        self._kind, self._number = kind, np.uint64(number)
        self._mean_ns = 1e9 * kind.mean_size / kind.rate_per_s
        self._next = 0  # number of the next burst
        # So early that none before it reaches into the time asked for.
        self._at_ns = first_ns - int(_LONGEST * kind.spread_s * 1e9)
        self._later = np.zeros(0, dtype=np.int64)

    def until(self, end_ns: int) -> NDArray[np.int64]:
        """All times before `end_ns` not returned yet, in no order."""
        found = [self._later]
        while self._at_ns < end_ns:
            expected = (end_ns - self._at_ns) / self._mean_ns
            count = int(min(expected + 4.0 * expected**0.5 + 8.0, _BATCH))
            burst = np.arange(self._next, self._next + count, dtype=np.uint64)
            u = draws.uniform(draws.bits(self._begin, burst, self._number, _ZERO))
            # No run sees the end of a gap of 90 years; sums of a batch of them still fit.
            gap_ns = np.rint(np.minimum(-np.log(u) * self._mean_ns, 2.0**61 / _BATCH))
            begin_ns = self._at_ns + np.cumsum(gap_ns.astype(np.int64))
            early = int(np.searchsorted(begin_ns, end_ns))
            found.append(self._members(burst[:early], begin_ns[:early]))
            if early:
                self._at_ns, self._next = int(begin_ns[early - 1]), self._next + early
            if early < count:
                break
        ns = np.concatenate(found)
        due = ns < end_ns
        self._later = ns[~due]
        return ns[due]

    def _members(self, burst: NDArray[np.uint64], begin_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Times of all members of some bursts."""
        if self._kind.mean_size > 1.0:
            u = draws.uniform(draws.bits(self._size, burst, self._number, _ZERO))
            size = 1 + np.floor(np.log(u) / np.log1p(-1.0 / self._kind.mean_size)).astype(np.int64)
            member = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
            burst, begin_ns = np.repeat(burst, size), np.repeat(begin_ns, size)
        else:
            member = np.zeros(len(burst), dtype=np.int64)
        if self._kind.spread_s == 0.0:
            return begin_ns
        u = draws.uniform(draws.bits(self._delay, burst, self._number, member.view(np.uint64)))
        delay_ns: NDArray[np.float64] = np.rint(-np.log(u) * (self._kind.spread_s * 1e9))
        return begin_ns + delay_ns.astype(np.int64)
