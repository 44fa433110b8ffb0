"""All requests of a source in order of time, with no fleet: every answer takes a stated time.

A source hands over first turns; who sends the later ones waits for the answer before. `unfold` lets each answer take
`ttft_s` and `tpot_s` for every token after the first, and so gives the requests that the plane issues on a fleet of
just that speed: nothing waits, and nothing fails but what a class itself refuses for its length.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, SpecError
from sim.traffic.arrivals import NO_SEGMENTS, Source
from sim.traffic.order import time_order
from sim.traffic.turns import AT_ONCE, REQUEST, Service, Turns

ROWS = 1 << 18
"""Requests worked on at once: enough that numpy's own time does not count, and some ten megabytes."""
SHORTEST_S, LONGEST_S = 1e-6, 1800.0
"""Windows are as long as this."""
PART_ROWS = 1 << 14  # columns of so many rows stay in the processor's cache


class Requests(NamedTuple):
    """Some requests."""

    rows: NDArray[np.void]
    """dtype REQUEST, in order of time; of equal times first turns go first, in the source's order."""
    segments: NDArray[np.void] = NO_SEGMENTS
    """dtype SEGMENT: those of each row that has any, one row's after the other's."""

    def from_start(self) -> "Requests":
        """Those from t = 0 on, without a run-in."""
        before = int(np.searchsorted(self.rows["t_s"], 0.0))
        return Requests(self.rows[before:], self.segments[int(self.rows["num_segments"][:before].sum()) :])


def unfold(
    source: Source,
    seed: int,
    service: Service = AT_ONCE,
    horizon_s: float = np.inf,
) -> Iterator[Requests]:
    """Yield all requests of a source: every turn of every conversation.

    Parameters
    ----------
    source
        Where first turns come from.
    seed
        The scenario's: that of the draws of later turns.
    service
        How long an answer takes.
    horizon_s
        No later turn comes at or after this time [s].

    Raises
    ------
    SpecError
        A class whose turns are sent by one process for all users: when it sends is not told by service times alone.
    """
    for each in source.classes:
        if each.reissue_interval_s > 0.0:
            message = "turns that wait for other users' turns cannot be told without a fleet; set it to 0"
            raise SpecError(Problem(message, path="traffic.reissue_interval_s"))
    turns = Turns.of(source.classes, source.languages, seed, service, horizon_s)
    yield from _Unfolding(source, turns).blocks()


class _Unfolding:
    """The requests that are known and not yet handed out.

    Time goes on in windows whose length follows the number of requests: twice as long after few, halved, in the midst
    of one, by too many.
    """

    def __init__(self, source: Source, turns: Turns) -> None:
        self._turns = turns
        self._chunks = source.chunks()
        self._arriving = np.zeros(0, dtype=REQUEST)  # known first turns, in order of time
        self._pending = np.zeros(0, dtype=REQUEST)  # whose next turn is not yet known
        self._ready = np.zeros(0, dtype=REQUEST)  # whose next turn is known
        self._segments = NO_SEGMENTS  # of first turns not handed out; they leave in the order in which they came
        self._length_s = 1.0
        self._at_end = False

    def blocks(self) -> Iterator[Requests]:
        """Blocks of requests, in order of time."""
        while (begin_s := self._next_s()) < np.inf:
            until_s = self._arrive(begin_s + self._length_s)
            until_s, num_rows = self._go_on(begin_s, until_s)
            self._length_s = until_s - begin_s
            if num_rows < ROWS // 2:
                self._length_s = min(2.0 * self._length_s, LONGEST_S)
            rows = self._take(until_s)
            if len(rows):
                num_segments = int(rows["num_segments"].sum())
                yield Requests(rows, self._segments[:num_segments])
                self._segments = self._segments[num_segments:]

    def _next_s(self) -> float:
        """The time of the next request [s]; infinite at the end."""
        if not len(self._arriving):
            self._read()
        known = [self._pending["t_s"].min(initial=np.inf), self._ready["t_s"].min(initial=np.inf)]
        return float(min([*known, *self._arriving["t_s"][:1]]))

    def _read(self) -> bool:
        """Have one more chunk of first turns; False at the source's end."""
        while not self._at_end:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._at_end = True
            elif len(chunk.rows):
                self._arriving = np.concatenate([self._arriving, self._turns.first(chunk.rows)])
                self._segments = np.concatenate([self._segments, chunk.segments])
                return True
        return False

    def _arrive(self, until_s: float) -> float:
        """Move first turns before a time to the pending; return the time up to which they are known [s]."""
        while len(self._arriving) < ROWS and (not len(self._arriving) or self._arriving["t_s"][-1] < until_s):
            if not self._read():
                break
        else:
            last_s = float(self._arriving["t_s"][-1])
            if last_s < until_s:
                # Of the last time there may be more to come.
                until_s = last_s if last_s > self._arriving["t_s"][0] else np.nextafter(last_s, np.inf)
        count = int(np.searchsorted(self._arriving["t_s"], until_s))
        self._pending = np.concatenate([self._pending, self._arriving[:count]])
        self._arriving = self._arriving[count:]
        return float(until_s)

    def _go_on(self, begin_s: float, until_s: float) -> tuple[float, int]:
        """Make the next turns of all that come before a time; return that time, earlier where they are many."""
        due, later = _parted(self._pending, until_s)
        ready, waiting, num_rows = [self._ready], [later], 0
        while len(due):
            num_rows += len(due)
            ready.append(due)
            if num_rows > ROWS and until_s - begin_s > SHORTEST_S:
                until_s = begin_s + (until_s - begin_s) / 2
            found = [self._turns.after(due[begin : begin + PART_ROWS]) for begin in range(0, len(due), PART_ROWS)]
            due, later = _parted(np.concatenate(found), until_s)
            waiting.append(later)
        self._pending, self._ready = np.concatenate(waiting), np.concatenate(ready)
        return until_s, num_rows

    def _take(self, until_s: float) -> NDArray[np.void]:
        """Remove and return what is ready before a time, in order of time."""
        rows, self._ready = _parted(self._ready, until_s)
        if not len(rows):
            return rows
        ns = np.rint(rows["t_s"] * 1e9).astype(np.int64)
        ns -= ns.min()
        order = time_order(ns) if ns.max() < 1 << 41 else np.argsort(ns, kind="stable")
        return _untied(rows[order])


def _parted(rows: NDArray[np.void], until_s: float) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Rows before a time, and the others."""
    is_before = rows["t_s"] < until_s
    return rows[is_before], rows[~is_before]


def _untied(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Rows in order of time, those of equal times by (later turn or not, user, conversation, turn)."""
    same = np.diff(rows["t_s"]) == 0.0
    if not same.any():
        return rows
    tied = np.append(same, False) | np.append(False, same)
    some = rows[tied]
    is_later = some["turn"] > 0
    user, conversation = np.where(is_later, some["user"], 0), np.where(is_later, some["conversation"], 0)
    rows[tied] = some[np.lexsort((some["turn"], conversation, user, is_later, some["t_s"]))]
    return rows
