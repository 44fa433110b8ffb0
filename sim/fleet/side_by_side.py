"""Work on several threads, the first of them this one; what goes wrong first is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sim.fleet.dealer import StoppedError

T = TypeVar("T")


def num_processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do all, the first on this thread. Raises what one raised, a StoppedError only if there is nothing else."""
    with ThreadPoolExecutor(max(1, len(works) - 1), thread_name_prefix="plane") as threads:
        others = [threads.submit(work) for work in works[1:]]
        try:
            return [works[0](), *(other.result() for other in others)]
        except StoppedError:
            for other in others:
                reason = other.exception()
                if reason is not None and not isinstance(reason, StoppedError):
                    raise reason from None
            raise
