"""The replicas of one pool at control pace: as many serve as are wanted, as many more are warm, others start or drain.

The rules, after each decision and whenever a replica is ready or lost:

1. Where fewer serve, or are about to, than are wanted, warm ones are woken, lowest numbers first. A replica that has
   started serves if it is still wanted; else it is warm.
2. Where more do, those that are being woken go back to the warm pool, then active ones drain, highest numbers first.
3. Where fewer are on line (draining ones not counted) than are wanted and kept warm, new ones are ordered, lowest
numbers
   first, as far as there are rows free (`max_replicas`); where more are, those that start are cancelled, then warm ones
   are stopped, highest numbers first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.fleet.clocks import Clock
from sim.fleet.scaling.ledger import Ledger
from sim.fleet.scaling.starts import Starts
from sim.plane.commands import change_replica
from sim.plane.tables import ACTIVE, DRAINING, OFF, STARTING, WARM

Process = Generator[simpy.Event]


class Capacity:
    """What serves, what is warm, what is coming.

    Parameters
    ----------
    clock
        Of the run.
    pool
        Index of the pool.
    starts
        How long replicas take to start and to wake.
    num_warm
        How many are kept warm.
    on_demand_base
        How many of the lowest numbers are not spot; None: no replica is.
    ledger
        Where all is noted.
    over
        Whether the run has ended; nothing is done after that.
    """

    def __init__(
        self,
        clock: Clock,
        pool: int,
        starts: Starts,
        num_warm: int,
        on_demand_base: int | None,
        ledger: Ledger,
        over: Callable[[], bool],
    ) -> None:
        self.clock, self.pool, self.starts, self.ledger, self.over = clock, pool, starts, ledger, over
        row = clock.plane["pools"][pool]
        self.first, self.max_replicas = int(row["first_replica"]), int(row["max_replicas"])
        self.wanted = int(row["num_active"])
        self._num_warm, self._on_demand_base = num_warm, on_demand_base
        self.occurrences: Counter[int] = Counter()
        """How often each replica was ordered; tells the present start from one that was cancelled."""
        self.gpus_at_s: dict[int, float] = dict.fromkeys(range(self.wanted), clock.env.now)
        """Since when each replica has its GPUs [s]; in the future of one whose machine is coming."""
        self._ordered: set[int] = set()
        self._waking: dict[int, int] = {}
        """Replicas being woken, and the number of each one's present waking."""
        self._wakings: Counter[int] = Counter()
        self._waits_for_room = False

    @property
    def states(self) -> NDArray[np.int32]:
        """State of each replica of the pool; a copy."""
        members = slice(self.first, self.first + self.max_replicas)
        states: NDArray[np.int32] = self.clock.plane["replicas"]["state"][members].copy()
        return states

    def is_spot(self, n: int) -> bool:
        """Whether a replica may be taken back."""
        return self._on_demand_base is not None and n >= self._on_demand_base

    def want(self, wanted: int) -> None:
        """So many are to serve from now on."""
        self.wanted = wanted
        self.reconcile()

    def reconcile(self) -> None:
        """Apply the rules."""
        self._serve()
        self._order()
        self._note()

    def change(self, n: int, state: int) -> bool:
        """Bring a replica to another state now, if that can be."""
        return bool(self.clock.act(change_replica, self.first + n, state))

    def is_current(self, n: int, occurrence: int) -> bool:
        """Whether a replica is still there from that order, and the run goes on."""
        return self.occurrences[n] == occurrence and not self.over()

    # -------------------------------------------------------------- the rules

    def _serve(self) -> None:
        states = self.states
        active, warm = np.flatnonzero(states == ACTIVE).tolist(), np.flatnonzero(states == WARM).tolist()
        missing = self.wanted - len(active) - len(self._waking)
        for n in warm[: max(0, missing)]:
            self._wake(n)
        for n in sorted(self._waking, reverse=True)[: max(0, -missing)]:
            del self._waking[n]
            self.change(n, WARM)
            missing += 1
        for n in active[len(active) - max(0, -missing) :]:
            self.change(n, DRAINING)

    def _order(self) -> None:
        states = self.states
        off = [n for n in np.flatnonzero(states == OFF).tolist() if n not in self._ordered]
        warm = np.flatnonzero(states == WARM).tolist()
        coming = sorted(self._ordered | (set(np.flatnonzero(states == STARTING).tolist()) - set(self._waking)))
        on_line = int(np.count_nonzero(states == ACTIVE)) + len(self._waking) + len(warm) + len(coming)
        missing = self.wanted + self._num_warm - on_line
        for n in off[: max(0, missing)]:
            self.occurrences[n] += 1
            self._ordered.add(n)
            self.clock.env.process(self._start(n, self.occurrences[n]))
        if missing > len(off) and not self._waits_for_room:
            self._waits_for_room = True
            self.clock.env.process(self._wait_for_room())
        for n in [*reversed(coming), *reversed(warm)][: max(0, -missing)]:
            self._cancel(n)

    def _cancel(self, n: int) -> None:
        """Stop a replica that starts or is warm."""
        self.ledger.num_cancelled += n in self._ordered or int(self.states[n]) == STARTING
        self.occurrences[n] += 1
        self._ordered.discard(n)
        self.change(n, OFF)

    def lose(self, n: int) -> None:
        """A replica that starts, is being woken, or is warm is taken away."""
        self._waking.pop(n, None)
        self.occurrences[n] += 1
        self.change(n, OFF)

    def _note(self) -> None:
        self.ledger.watch(self.clock.env.now, short=int(np.count_nonzero(self.states == ACTIVE)) < self.wanted)

    # -------------------------------------------------------------- processes

    def _start(self, n: int, occurrence: int) -> Process:
        """One replica's way from its order to its first request."""
        ordered_s = self.clock.env.now
        if self.starts.wait is not None and self.is_spot(n):
            yield self.clock.at(ordered_s + self.starts.wait.draw(n, occurrence))
            if not self.is_current(n, occurrence):
                return
        self._ordered.discard(n)
        self.change(n, STARTING)
        self.gpus_at_s[n] = self.clock.env.now + self.starts.provisioning.draw(n, occurrence)
        yield self.clock.at(self.gpus_at_s[n] + self.starts.load.draw(n, occurrence))
        if not self.is_current(n, occurrence):
            return
        self.ledger.starts_s.append(self.clock.env.now - ordered_s)
        self.change(n, WARM)
        if int(np.count_nonzero(self.states == ACTIVE)) + len(self._waking) < self.wanted:
            self.change(n, ACTIVE)
        self.reconcile()

    def _wake(self, n: int) -> None:
        self._wakings[n] += 1
        self._waking[n] = self._wakings[n]
        self.change(n, STARTING)
        self.ledger.num_woken += 1
        self.clock.env.process(self._come_awake(n, self._wakings[n]))

    def _come_awake(self, n: int, number: int) -> Process:
        wake = self.starts.wake
        yield self.clock.at(self.clock.env.now + (wake.draw(n, number) if wake else 0.0))
        if self._waking.get(n) == number and not self.over():
            del self._waking[n]
            self.change(n, ACTIVE)
            self.reconcile()

    def _wait_for_room(self) -> Process:
        """Order what is missing as soon as a replica that drains leaves its GPUs."""
        yield self.clock.when(lambda: any(n not in self._ordered for n in np.flatnonzero(self.states == OFF)))
        self._waits_for_room = False
        if not self.over():
            self.reconcile()
