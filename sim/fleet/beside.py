"""What runs beside the planes, on another processor: the next chunk of arrivals is made, the last records are kept.

A plane computes without Python's lock, and its work goes in order through one thread, so nothing depends on its pace.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


MOST_WAITING = 8
"""Pieces of work of a plane that may wait: so many parts of some 16,000 records."""


class Beside:
    """One thread for work whose result is needed a little later."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside-the-planes")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def ahead(self, items: Iterator[T]) -> Iterator[T]:
        """The same items, each made while the one before it is used; what making them raises is raised here."""
        made = self._thread.submit(next, items, None)
        while (item := made.result()) is not None:
            made = self._thread.submit(next, items, None)
            yield item

    def line(self) -> Line:
        """A line of work, for one thread to give."""
        return Line(self._thread)


class Line:
    """Work that one thread gives, done in order."""

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread
        self._given: deque[Future[None]] = deque()

    def do(self, work: Callable[[T], None], item: T) -> None:
        """Have `work(item)` done, after all work given before; what that raised may be raised here."""
        self.catch_up(MOST_WAITING)
        self._given.append(self._thread.submit(work, item))

    def catch_up(self, num_left: int = 0) -> None:
        """Wait until at most so many pieces of the work given are left."""
        while len(self._given) > num_left:
            self._given.popleft().result()
