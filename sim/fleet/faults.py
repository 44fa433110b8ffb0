"""Faults at control pace: random ones, scripted incidents, and who keeps account of them. SimPy processes.

Several things may keep a replica down at once (its GPU, its node, a deploy): it serves again when the last is over.
Every draw is keyed by pool, unit and occurrence, so that faults are the same whatever the traffic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import simpy

from sim.fleet.clocks import Clock
from sim.fleet.recovery import Recovery
from sim.plane import failures
from sim.plane.tables import ACTIVE, DOWN, DRAINING, OFF
from sim.spec.faults import TRAINING_EVENTS, FaultKind, Faults, Incident
from sim.traffic import draws
from sim.traffic.draws import bits, uniform
from sim.traffic.lengths import quantile_table

YEAR_S = 365.25 * 86_400.0
POLICIES = {"fail": failures.FAIL, "retry": failures.RETRY, "resume": failures.RESUME}
KINDS = tuple(TRAINING_EVENTS)
"""Kinds of random fault, in the order of their draws."""
Entry = dict[str, Any]


def fail_together(clock: Clock, replicas: Sequence[int], then: int, on_failure: str) -> None:
    """Those of these replicas that are on line fail, all before any event; one that drains will be what it drained for.

    Parameters
    ----------
    clock
        Of the run.
    replicas
        By their numbers in the plane.
    then
        State of those that took requests, afterwards: DOWN or OFF.
    on_failure
        What becomes of the requests there: a key of POLICIES.
    """
    for r in replicas:
        clock.act(failures.take_down, r, then)
    while clock.act(failures.evacuate, POLICIES[on_failure]) > 0:
        pass


class Ward:
    """What is wrong with which replica, and the log of it."""

    def __init__(self, clock: Clock, seed: int, faults: Faults, nodes: Sequence[int], over: Callable[[], bool]) -> None:
        """`nodes`: replicas of a node, pool by pool."""
        self.clock, self.seed, self.faults, self.over = clock, seed, faults, over
        self.log: list[Entry] = []
        self.recovery = Recovery(clock, faults.recovery_window_s, faults.recovery_margin, over)
        plane = clock.plane
        self._pools = plane.world.pools
        self._replicas_per_node = nodes
        self._first = [int(row["first_replica"]) for row in plane["pools"][: len(self._pools)]]
        num_replicas = len(plane["outstanding"])
        self.causes = [0] * num_replicas
        self.lost: set[int] = set()
        """Replicas that never come back."""
        self._slowness, self._version = [1.0] * num_replicas, [0] * num_replicas

    # ------------------------------------------------------------------ where replicas are

    def members(self, pool: int) -> range:
        """The replicas of a pool, by their numbers in the plane."""
        size = self._pools[pool].max_replicas or self._pools[pool].num_replicas
        return range(self._first[pool], self._first[pool] + size)

    def node_of(self, pool: int, r: int) -> int:
        """The node of a replica within its pool; one that is larger than a node counts as one."""
        return (r - self._first[pool]) // self._replicas_per_node[pool]

    def zone_of(self, pool: int, r: int) -> int:
        """The zone of a replica."""
        return self.node_of(pool, r) % self.faults.zones

    def state(self, r: int) -> int:
        """The state of a replica."""
        return int(self.clock.plane["replicas"]["state"][r])

    # ------------------------------------------------------------------ down, up, slow

    def note(self, do: str, pool: int, replicas: Sequence[int]) -> Entry:
        """A new entry of the log, whose recovery is followed."""
        name = self._pools[pool].name
        entry: Entry = {"t_s": self.clock.env.now, "do": do, "pool": name}
        entry["replicas"] = [r - self._first[pool] for r in replicas]
        self.log.append(entry)
        self.recovery.follow(entry, pool)
        return entry

    def strike(self, replicas: Sequence[int]) -> None:
        """Replicas fail together."""
        for r in replicas:
            self.causes[r] += 1
        fail_together(self.clock, replicas, DOWN, self.faults.on_failure)

    def heal(self, replicas: Sequence[int]) -> None:
        """One thing less keeps replicas down."""
        for r in replicas:
            self.causes[r] -= 1
            if self.causes[r] == 0 and self.state(r) == DOWN:
                self.clock.act(failures.bring_up, r)

    def slow_down(self, r: int, factor: float) -> None:
        """A replica's steps take so many times as long as now."""
        self._slowness[r] *= factor
        self._set_pace(r)

    def give_version(self, r: int, version: int) -> None:
        """A replica runs another version."""
        self._version[r] = version
        self._set_pace(r)

    def version(self, r: int) -> int:
        """The version that a replica runs."""
        return self._version[r]

    def _set_pace(self, r: int) -> None:
        self.clock.act(failures.set_pace, r, self._slowness[r], self._version[r])

    # ------------------------------------------------------------------ random faults

    def draw(self, stream: int, kind: int, pool: int, unit: int, occurrence: int) -> float:
        """The variate of an occurrence at a unit of a pool."""
        who = np.uint64(pool * len(KINDS) + kind)
        word = bits(draws.key(self.seed, stream), who, np.uint64(unit), np.uint64(occurrence))
        return float(uniform(word))

    def random_faults(self, name: str, kind: FaultKind, pool: int, unit: int, num_gpus: int) -> Generator[simpy.Event]:
        """A process: faults of one kind at one unit, which is a node or a replica."""
        clock, number = self.clock, KINDS.index(name)
        mean_s = YEAR_S / (kind.per_gpu_year * num_gpus)
        repair_s = quantile_table(kind.repair)
        occurrence = 0
        while True:
            u = self.draw(draws.FAULT_TIME, number, pool, unit, occurrence)
            yield clock.at(clock.env.now - mean_s * math.log(u))
            if self.over():
                return
            hit = [r for r in self.unit(name, pool, unit) if self.state(r) in (ACTIVE, DRAINING)]
            if hit:
                entry = self.note(name, pool, hit)
                entry["num_hit"] = self.inside(hit)
                self.strike(hit)
                u = self.draw(draws.FAULT_REPAIR, number, pool, unit, occurrence)
                # The tail beyond the table's last quantile is cut there; its mean is met.
                yield clock.at(clock.env.now + float(np.interp(u, np.linspace(0.0, 1.0, len(repair_s)), repair_s)))
                if self.over():
                    return
                self.heal(hit)
                entry["ended_s"] = clock.env.now
            occurrence += 1

    def unit(self, name: str, pool: int, unit: int) -> list[int]:
        """Replicas of a node, or a replica alone."""
        if name == "node":
            return [r for r in self.members(pool) if self.node_of(pool, r) == unit]
        return [self._first[pool] + unit]

    # ------------------------------------------------------------------ incidents

    def incident(self, incident: Incident) -> Generator[simpy.Event]:
        """A process: something that goes wrong at a set time, and is over some time later."""
        clock = self.clock
        yield clock.at(incident.at_s)
        if self.over():
            return
        struck = {pool: self.targets(incident, pool) for pool in self.pools_of(incident)}
        entries = [self.note(incident.do, pool, replicas) for pool, replicas in struck.items()]
        self.begin(incident, struck, entries)
        if incident.duration_s is None:
            if incident.do == "kill":
                self.lost.update(r for replicas in struck.values() for r in replicas)
            return
        yield clock.at(incident.at_s + incident.duration_s)
        if self.over():
            return
        self.finish(incident, [r for replicas in struck.values() for r in replicas])
        for entry in entries:
            entry["ended_s"] = clock.env.now

    def begin(self, incident: Incident, struck: dict[int, list[int]], entries: list[Entry]) -> None:
        """An incident begins; replicas that fail, of whatever pool, fail together."""
        for entry, (pool, replicas) in zip(entries, struck.items(), strict=True):
            if incident.do == "kill":
                entry["num_hit"] = self.inside(replicas)
            elif incident.do == "take_kv":
                most = math.ceil(incident.kv_frac * (self._pools[pool].num_gpu_blocks - 1))
                entry["num_blocks"] = sum(self.clock.act(failures.seize_blocks, r, most) for r in replicas)
            elif incident.do == "slow":
                for r in replicas:
                    self.slow_down(r, incident.factor)
        if incident.do == "kill":
            self.strike([r for replicas in struck.values() for r in replicas])

    def finish(self, incident: Incident, replicas: Sequence[int]) -> None:
        """An incident is over."""
        if incident.do == "kill":
            self.heal(replicas)
        elif incident.do == "slow":
            for r in replicas:
                self.slow_down(r, 1.0 / incident.factor)
        elif incident.do == "take_kv":
            for r in replicas:
                self.clock.act(failures.give_back_blocks, r)

    def inside(self, replicas: Sequence[int]) -> int:
        """Requests at some replicas."""
        return int(self.clock.plane["outstanding"]["v"][list(replicas)].sum())

    def pools_of(self, incident: Incident) -> list[int]:
        """Pools that an incident happens to."""
        names = [pool.name for pool in self._pools]
        return [names.index(incident.pool)] if incident.pool is not None else list(range(len(names)))

    def targets(self, incident: Incident, pool: int) -> list[int]:
        """Replicas of a pool that an incident happens to: those that are not off."""
        if incident.do == "watch":
            return []
        found = [r for r in self.members(pool) if self.state(r) != OFF]
        if incident.replicas is not None:
            return [r for r in found if r - self._first[pool] in incident.replicas]
        if incident.node is not None:
            return [r for r in found if self.node_of(pool, r) == incident.node]
        if incident.zone is not None:
            return [r for r in found if self.zone_of(pool, r) == incident.zone]
        return found

    def down_s(self, end_s: float) -> list[float]:
        """Time that the replicas of each pool were down, together [s]."""
        plane = self.clock.plane
        health, down = plane["health"], plane["replicas"]["state"][: len(plane["health"])] == DOWN
        total = health["down_s"] + np.where(down, end_s - health["down_at_s"], 0.0)
        return [float(total[list(self.members(pool))].sum()) for pool in range(len(self._pools))]
