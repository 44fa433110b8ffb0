"""From the plane's log of steps to the steps themselves: what a leap left out is worked out again.

The plane writes the first step of a leap whole, and of the others only what cannot be derived from the step before
(`sim.plane.log`): each of them schedules the same requests with one token more.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sim.plane.log import ADMIT, DONE, END, ENTRY, FINISH, INNER, PREEMPT, STATE, STEP


@dataclass
class Step:
    """One step of a replica; requests are known by serial, times are absolute [s]."""

    step: int
    t_sched: float
    """When it was formed."""
    t_start: float = 0.0
    t_end: float = 0.0
    sched: list[tuple[int, int, int]] = field(default_factory=list)
    """(request, tokens, tokens computed before), in order."""
    admit: list[tuple[int, int, int]] = field(default_factory=list)
    """(request, cached tokens, 1 if it was preempted before)."""
    preempt: list[int] = field(default_factory=list)
    running: int = 0
    waiting: int = 0
    free: int = 0
    """Free blocks when it had been formed."""
    hashed: int = 0
    """Distinct block hashes in the cache then."""
    finish: list[int] = field(default_factory=list)
    free_end: int | None = None
    """Free blocks when its output had been processed."""


class Steps:
    """The steps of one replica, from its rows of the log.

    Parameters
    ----------
    arrivals_s
        When each request reached the replica, in order [s].
    asynchronous
        Whether two steps are in flight.
    """

    def __init__(self, arrivals_s: Sequence[float], *, asynchronous: bool) -> None:
        self._arrivals_s = arrivals_s
        self._asynchronous = asynchronous
        self._steps: list[Step] = []
        self._admit: list[tuple[int, int, int]] = []
        self._preempt: list[int] = []
        self._finish: list[int] = []
        self._num_finished = 0

    def add(self, rows: NDArray[np.void]) -> None:
        """Take the next rows of the log (dtype `sim.plane.tables.LOG`)."""
        steps = self._steps
        names = ("kind", "t_s", "a", "b", "c")
        for kind, t_s, a, b, c in zip(*(rows[name].tolist() for name in names), strict=True):
            if kind == ENTRY:
                steps[-1].sched.append((a, b, c))
            elif kind == INNER:
                steps.append(self._next(steps[-1], t_s, b, c))
            elif kind == STEP:
                steps.append(Step(a, t_s, admit=self._admit, preempt=self._preempt, running=b, waiting=c))
                self._admit, self._preempt = [], []
            elif kind == STATE:
                last = steps[-1]
                last.t_start, last.free, last.hashed = t_s, a, b
            elif kind == END:
                steps[a].t_end = t_s
            elif kind == ADMIT:
                self._admit.append((a, b, c))
            elif kind == PREEMPT:
                self._preempt.append(a)
            elif kind == FINISH:
                self._finish.append(a)
            elif kind == DONE:
                steps[a].finish, steps[a].free_end = self._finish, b
                self._num_finished += len(self._finish)
                self._finish = []

    def _next(self, last: Step, t_end: float, free: int, hashed: int) -> Step:
        """The step of a leap after `last`."""
        t_sched = last.t_end
        if self._asynchronous:
            # It was formed when the step before the last had ended.
            two_ago = self._steps[-2].t_end if len(self._steps) > 1 else last.t_sched
            t_sched = max(last.t_sched, two_ago)
        sched = [(serial, 1, before + 1) for serial, _, before in last.sched]
        return replace(
            last,
            step=last.step + 1,
            t_sched=t_sched,
            t_start=last.t_end,
            t_end=t_end,
            sched=sched,
            admit=[],
            preempt=[],
            waiting=bisect_right(self._arrivals_s, t_sched) - last.running - self._num_finished,
            free=free,
            hashed=hashed,
            finish=[],
            free_end=None,
        )

    def all(self) -> list[Step]:
        """The steps so far, in order."""
        steps = self._steps
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if step.free_end is None:
                # Nothing ended with it. Asynchronously the next step had been formed by then.
                step.free_end = following.free if self._asynchronous and following else step.free
        return steps
