"""One local day of conversations, usual or of one flash crowd, kept by slices of time until they are handed out.

A conversation is kept as one word of 8 bytes, its user and its number among the user's of that day: its time is drawn
again, to the same bits, when its slice comes.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.activity import MAX_PER_DAY, ActivityTables
from sim.traffic.daily import TIME_CELLS
from sim.traffic.people import People
from sim.units import DAY_S

SLICES = 96  # a day's conversations are kept by quarter hours and sorted when their time comes
DAY_NS = round(DAY_S * 1e9)
SLICE_NS = DAY_NS // SLICES
FRESH = 4096  # small arrays are brought together when there are so many
# Conversations are numbered by day and order within it; day 0 has number 4096, so that a run-in has numbers too. The
# days of the usual traffic end here, and those of a first flash crowd begin: 78 years after t = 0.
FIRST_DAY = 4096
DAY_NUMBERS = 1 << 15
MAX_DAY = DAY_NUMBERS - FIRST_DAY - 1
_K_BITS, _K_MASK = np.uint64(12), np.uint64(MAX_PER_DAY - 1)
_ZERO = np.uint64(0)


@dataclass(eq=False)
class PartDay:
    """Conversations that begin on one local day.

    Parameters
    ----------
    people
        Who they are.
    day
        The local day; day 0 begins at midnight, local time, of the date of t = 0.
    crowd
        0 for the usual traffic, else the number of a flash crowd, from 1 on.
    tables
        Draws of how many there are.
    factor : shape (regions,)
        Which factor of the tables holds in each region; -1: nobody comes.
    times_s : shape (regions, 4097)
        Local time of day [s] by which i/4096 of a region's conversations have begun.
    offset_ns : shape (regions,)
        Local time less UTC [ns].
    """

    people: People
    day: int
    crowd: int
    tables: ActivityTables
    factor: NDArray[np.int64]
    times_s: NDArray[np.float64]
    offset_ns: NDArray[np.int64]
    slices: dict[int, list[NDArray[np.uint64]]] = field(default_factory=dict)
    _fresh: list[tuple[int, NDArray[np.uint64]]] = field(default_factory=list)

    @property
    def number(self) -> np.uint64:
        """What tells this day's conversations from those of all others."""
        return np.uint64(self.crowd * DAY_NUMBERS + self.day + FIRST_DAY)

    def draw(self, begin: int, end: int, first: int, last: int) -> None:
        """Add the conversations of users begin, ..., end - 1 that fall in slices first, ..., last - 1 of all time."""
        users = np.arange(begin, end, dtype=np.uint64)
        region = self.people.region(users)
        factor = self.factor[region]
        if (self.factor < 0).any():
            here = np.flatnonzero(factor >= 0)
            users, region, factor = users[here], region[here], factor[here]
        come, counts = self.tables.conversations(self.people.seed, users, self.number, factor)
        users, region = np.repeat(users[come], counts), np.repeat(region[come], counts)
        k = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
        words = (users << _K_BITS) + k.view(np.uint64)
        at = self._times_ns(users, region, k.view(np.uint64)) // SLICE_NS - first
        inside = np.flatnonzero((at >= 0) & (at < last - first))
        if len(inside) < len(at):
            at, words = at[inside], words[inside]
        if not len(at):
            return
        low = int(at.min())
        at = (at - low).astype(np.uint8)
        words = words[np.argsort(at, kind="stable")]
        ends = np.cumsum(np.bincount(at))
        for index, (start, stop) in enumerate(zip(np.append(0, ends[:-1]), ends, strict=True)):
            if stop > start:
                self._fresh.append((first + low + index, words[start:stop]))
        if len(self._fresh) >= FRESH:
            self.pack()

    def pack(self) -> None:
        """Bring what was drawn last into few arrays, slice by slice, so that a slice's memory is its own."""
        by_slice: dict[int, list[NDArray[np.uint64]]] = {}
        for index, words in self._fresh:
            by_slice.setdefault(index, []).append(words)
        for index, parts in by_slice.items():
            self.slices.setdefault(index, []).append(np.concatenate(parts))
        self._fresh.clear()

    def take(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
        """Remove a slice's conversations: their UTC times [ns], users, regions and numbers, in order of users."""
        words = np.concatenate(self.slices.pop(index, [np.zeros(0, dtype=np.uint64)]))
        users, k = words >> _K_BITS, words & _K_MASK
        region = self.people.region(users)
        return self._times_ns(users, region, k), users, region, ((self.number << _K_BITS) + k).view(np.int64)

    def _times_ns(
        self, users: NDArray[np.uint64], region: NDArray[np.int64], k: NDArray[np.uint64]
    ) -> NDArray[np.int64]:
        """UTC times at which conversations begin [ns]."""
        key = draws.key(self.people.seed, draws.START)
        x = draws.uniform(draws.bits(key, users, (self.number << _K_BITS) + k, _ZERO)) * TIME_CELLS
        i = x.astype(np.int32)
        at = i + region * (TIME_CELLS + 1)
        table = self.times_s.ravel()
        low = table.take(at)
        time_s = low + (x - i) * (table.take(at + 1) - low)
        local_ns = np.minimum((time_s * 1e9 + 0.5).astype(np.int64), DAY_NS - 1)
        return np.asarray(local_ns + (self.day * DAY_NS - self.offset_ns[region]))
