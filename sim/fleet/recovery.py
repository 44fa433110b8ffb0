"""How long a pool takes to recover from something: told by how long requests spend in it, by Little's law.

Over each window the mean number of requests in the pool (routed to a replica and not yet through) over the rate at
which they come is the time that one spends there. A pool suffers from an incident when that time exceeds the one over
the five windows before it by more than the margin, and has recovered at the end of the first window after that which
is within the margin again. What has not begun to suffer within five windows does not: it recovers in no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import simpy

from sim.fleet.clocks import Clock

PARTS = 6
"""Samples of a window."""
BEFORE, ONSET = 5, 5
"""Windows before an incident that say what is usual, and windows after it in which an effect must show (assumed)."""


@dataclass
class Patient:
    """An entry of a log that waits for its pool to recover."""

    entry: dict[str, Any]
    pool: int
    began_s: float
    usual_s: float
    suffers: bool = False


class Recovery:
    """The process that samples the pools, and fills `time_to_recover_s` into the entries of logs."""

    def __init__(self, clock: Clock, window_s: float, margin_frac: float, over: Callable[[], bool]) -> None:
        self._clock, self._window_s, self._margin_frac, self._over = clock, window_s, margin_frac, over
        num_pools = len(clock.plane.world.pools)
        self._seen = [deque[tuple[float, int, int]](maxlen=BEFORE * PARTS + 1) for _ in range(num_pools)]
        self._patients: list[Patient] = []
        clock.env.process(self._watch())

    def follow(self, entry: dict[str, Any], pool: int) -> None:
        """Tell of a pool from now on; `time_to_recover_s` of the entry is None until it has recovered."""
        entry["time_to_recover_s"] = None
        usual_s = self._time_in_pool_s(pool, BEFORE * PARTS)
        if usual_s is not None:
            self._patients.append(Patient(entry, pool, self._clock.env.now, usual_s))

    def _watch(self) -> Generator[simpy.Event]:
        start_s, k = self._clock.env.now, 0
        while not self._over():
            self._sample()
            k += 1
            yield self._clock.at(start_s + k * (self._window_s / PARTS))

    def _sample(self) -> None:
        plane, now_s = self._clock.plane, self._clock.env.now
        outstanding = plane["outstanding"]["v"]
        for row, pool, seen in zip(plane["pools"], plane.world.pools, self._seen, strict=False):
            first = int(row["first_replica"])
            inside = int(outstanding[first : first + (pool.max_replicas or pool.num_replicas)].sum())
            seen.append((now_s, inside, int(row["num_arrived"])))
        self._patients = [patient for patient in self._patients if not self._is_well(patient, now_s)]

    def _is_well(self, patient: Patient, now_s: float) -> bool:
        """Whether nothing more is to be told of an entry."""
        gone_s = now_s - patient.began_s
        if gone_s < self._window_s:
            return False
        time_s = self._time_in_pool_s(patient.pool, PARTS)
        if time_s is not None and time_s > (1.0 + self._margin_frac) * patient.usual_s:
            patient.suffers = True
            return False
        if not patient.suffers and gone_s < ONSET * self._window_s:
            return False
        patient.entry["time_to_recover_s"] = gone_s if patient.suffers else 0.0
        return True

    def _time_in_pool_s(self, pool: int, parts: int) -> float | None:
        """Mean time in a pool over so many samples [s]; None where nobody came, or it is too early to tell."""
        seen = list(self._seen[pool])[-parts - 1 :]
        if len(seen) <= PARTS or seen[-1][2] == seen[0][2]:
            return None
        inside = sum(number for _, number, _ in seen[1:]) / (len(seen) - 1)
        return inside * (seen[-1][0] - seen[0][0]) / (seen[-1][2] - seen[0][2])
