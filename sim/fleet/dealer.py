"""Arrivals dealt out to planes that run side by side, none far ahead of another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import Chunk

MOST_AHEAD = 4
"""Chunks that may wait for a plane; whoever needs another then waits for that plane."""


class StoppedError(RuntimeError):
    """Another plane has failed, and tells why."""


class Dealer:
    """Cuts each chunk of arrivals into one for each plane; safe for threads.

    Parameters
    ----------
    chunks
        Arrivals of all planes, in order of time.
    plane_of_class
        Which plane plays the requests of a class, shape [class].
    num_planes
        How many planes there are.
    """

    def __init__(self, chunks: Iterator[Chunk], plane_of_class: NDArray[np.int64], num_planes: int) -> None:
        self._chunks, self._plane_of_class = chunks, plane_of_class
        self._hands: list[deque[Chunk] | None] = [deque() for _ in range(num_planes)]
        self._changed = threading.Condition()
        self._dealing = self._ended = self._stopped = False

    def of(self, plane: int) -> Iterator[Chunk]:
        """One plane's arrivals. Raises StoppedError when `stop` was called, and what making arrivals raises."""
        while (chunk := self._next(plane)) is not None:
            yield chunk

    def leave(self, plane: int) -> None:
        """A plane needs no more."""
        with self._changed:
            self._hands[plane] = None
            self._changed.notify_all()

    def stop(self) -> None:
        """Nobody gets any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _next(self, plane: int) -> Chunk | None:
        while True:
            with self._changed:
                while not self._may_go_on(plane):
                    self._changed.wait()
                if self._stopped:
                    raise StoppedError
                if hand := self._hands[plane]:
                    self._changed.notify_all()
                    return hand.popleft()
                if self._ended:
                    return None
                self._dealing = True
            self._deal()

    def _may_go_on(self, plane: int) -> bool:
        """Whether a plane that wants a chunk has one, or learns that there is none, or may deal."""
        has_room = all(hand is None or len(hand) < MOST_AHEAD for hand in self._hands)
        return self._stopped or bool(self._hands[plane]) or (not self._dealing and (self._ended or has_room))

    def _deal(self) -> None:
        """Fetch a chunk, which takes its time, and hand it out."""
        try:
            chunk = next(self._chunks, None)
        except BaseException:
            self.stop()  # nobody takes what failed for the end
            raise
        with self._changed:
            self._dealing, self._ended = False, chunk is None
            for plane, hand in enumerate(self._hands):
                if chunk is not None and hand is not None:
                    hand.append(part_of(chunk, self._plane_of_class[chunk.rows["class_id"]] == plane))
            self._changed.notify_all()


def part_of(chunk: Chunk, chosen: NDArray[np.bool_]) -> Chunk:
    """Some rows of a chunk, and their segments."""
    return Chunk(chunk.rows[chosen], chunk.segments[np.repeat(chosen, chunk.rows["num_segments"])])
