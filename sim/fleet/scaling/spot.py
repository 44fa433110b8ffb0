"""Spot capacity: replicas that are taken back, alone or several together, after a notice.

A replica that takes requests drains from the notice on, and fails at its end; one that starts or is warm is gone at
once. Who is left is ordered anew by the pool's rules (`capacity`), so a replacement starts at the notice too.
"""

from __future__ import annotations

import numpy as np

from sim.fleet.faults import fail_together
from sim.fleet.scaling.capacity import Capacity, Process
from sim.fleet.scaling.starts import ALL, Draws
from sim.plane.tables import ACTIVE, DRAINING, OFF, STARTING, WARM
from sim.spec.startup import Spot
from sim.traffic import draws

HOUR_S = 3600.0


class Interruptions:
    """Takes spot replicas of one pool back."""

    def __init__(self, capacity: Capacity, spot: Spot, seed: int) -> None:
        self._capacity, self._spot = capacity, spot
        self._draws = Draws(seed, draws.INTERRUPTION, capacity.pool)

    def run(self) -> Process:
        """Interruptions one after the other.

        Each replica is taken at the same rate r: by events of its own (`together_frac` 0), or by events of the pool at
        rate r / f that take each with probability f.
        """
        capacity, spot = self._capacity, self._spot
        per_s, together = spot.interruptions_per_hour / HOUR_S, spot.together_frac
        if per_s == 0.0:
            return
        number, due_s = 0, capacity.clock.env.now
        # Events of their own: the pool's rate is that of as many replicas as there can be, and an event takes one of
        # those numbers, if it is on line. So each lives an exponential time, whoever else comes and goes.
        numbers = range(capacity.max_replicas)
        rate_per_s = per_s / together if together > 0.0 else per_s * len(numbers)
        while True:
            number += 1
            due_s += self._draws.gap(rate_per_s, ALL, number)
            yield capacity.clock.at(due_s)
            if capacity.over():
                return
            if together > 0.0:
                taken = [n for n in numbers if self._draws.uniform(n, number) < together]
            else:
                taken = [int(self._draws.uniform(ALL + 1, number) * len(numbers))]
            self._take(taken)

    def _take(self, numbers: list[int]) -> None:
        """Give notice to those of these replicas that are spot and on line."""
        capacity, now = self._capacity, self._capacity.clock.env.now
        states = capacity.states
        for n in numbers:
            if not capacity.is_spot(n) or capacity.gpus_at_s.get(n, np.inf) > now:
                continue
            if states[n] == ACTIVE:
                capacity.change(n, DRAINING)
                capacity.clock.env.process(self._end(n, capacity.occurrences[n]))
            elif states[n] in (STARTING, WARM):
                capacity.lose(n)
            else:
                continue
            capacity.ledger.num_interrupted += 1
        capacity.reconcile()

    def _end(self, n: int, occurrence: int) -> Process:
        """Whoever has not drained by the end of the notice is cut off, and its requests go elsewhere, or fail."""
        capacity, clock = self._capacity, self._capacity.clock
        yield clock.at(clock.env.now + self._spot.notice_s)
        if capacity.is_current(n, occurrence) and capacity.states[n] == DRAINING:
            capacity.ledger.num_cut_off += 1
            fail_together(clock, [capacity.first + n], OFF, self._spot.on_failure)
