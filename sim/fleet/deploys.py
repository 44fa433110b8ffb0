"""Deploys: a new version comes to a pool's replicas a few at a time, with a canary first. SimPy processes.

A replica that changes is drained, is down while it restarts, and serves again with the new version and an empty cache.
The canary is judged by its mean step: busy time over steps while it bakes, against that of the replicas that have yet
to change. Requests are shared out alike, so batches are alike, and a version that is slower shows at once.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import simpy

from sim.fleet.faults import Ward
from sim.plane import failures
from sim.plane.tables import ACTIVE, DOWN, DRAINING
from sim.spec.faults import Deploy
from sim.traffic import draws
from sim.traffic.draws import bits, uniform
from sim.traffic.lengths import quantile_table


class Rollout:
    """One deploy."""

    def __init__(self, ward: Ward, deploy: Deploy, number: int, pool: int, version: int) -> None:
        """`number`: of the deploy in the scenario; `version`: which of the pool's versions it brings."""
        self.ward, self.deploy, self.number, self.pool, self.version = ward, deploy, number, pool, version
        self.clock = ward.clock
        self._restart_s = quantile_table(deploy.restart)
        self._num_restarts = 0

    def process(self, log: list[dict[str, Any]]) -> Generator[simpy.Event]:
        """The process."""
        deploy, ward, clock = self.deploy, self.ward, self.clock
        yield clock.at(deploy.at_s)
        if ward.over():
            return
        members = [r for r in ward.members(self.pool) if ward.state(r) == ACTIVE]
        entry = ward.note("deploy", self.pool, members)
        ward.log.remove(entry)
        log.append(entry)
        entry |= {"num_changed": 0, "canary_slowdown": None, "rolled_back_s": None, "deployed_s": None}
        old = {r: ward.version(r) for r in members}
        num_canaries = math.ceil(deploy.canary_frac * len(members))
        canaries, rest = members[:num_canaries], members[num_canaries:]
        if canaries:
            yield from self.change(entry, canaries, dict.fromkeys(canaries, self.version))
            slowdown = yield from self.bake(canaries, rest)
            entry["canary_slowdown"] = slowdown
            if slowdown is not None and slowdown > deploy.max_slowdown:
                yield from self.change(entry, canaries, old)
                entry["rolled_back_s"] = clock.env.now
                return
        yield from self.change(entry, rest, dict.fromkeys(rest, self.version))
        entry["deployed_s"] = clock.env.now

    def change(
        self, entry: dict[str, Any], replicas: Sequence[int], versions: dict[int, int]
    ) -> Generator[simpy.Event]:
        """Give replicas their versions, some at once."""
        at_once = self.deploy.at_once
        for k in range(0, len(replicas), at_once):
            yield from self.restart([r for r in replicas[k : k + at_once] if self.ward.state(r) == ACTIVE], versions)
            entry["num_changed"] += len(replicas[k : k + at_once])

    def restart(self, wave: list[int], versions: dict[int, int]) -> Generator[simpy.Event]:
        """Drain some replicas, and bring each up with its version."""
        ward, clock = self.ward, self.clock
        for r in wave:
            ward.causes[r] += 1
            clock.act(failures.drain_replica, r, DOWN)
        states = clock.plane["replicas"]["state"]
        yield clock.when(lambda: not np.any(states[wave] == DRAINING))
        due = sorted((clock.env.now + self.restart_s(), r) for r in wave)
        for due_s, r in due:
            yield clock.at(due_s)
            if ward.over():
                return
            ward.give_version(r, versions[r])
            ward.heal([r])

    def restart_s(self) -> float:
        """How long the next restart takes [s]."""
        key = draws.key(self.ward.seed, draws.RESTART)
        u = uniform(bits(key, np.uint64(self.pool), np.uint64(self.number), np.uint64(self._num_restarts)))
        self._num_restarts += 1
        return float(np.interp(u, np.linspace(0.0, 1.0, len(self._restart_s)), self._restart_s))

    def bake(self, canaries: Sequence[int], others: Sequence[int]) -> Generator[simpy.Event, Any, float | None]:
        """Watch the canaries for a while: how many times as long their steps are as the others'; None: none to tell."""
        began = [self.worked(group) for group in (canaries, others)]
        yield self.clock.at(self.clock.env.now + self.deploy.bake_s)
        ended = [self.worked(group) for group in (canaries, others)]
        spent = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(began, ended, strict=True)]
        if any(steps == 0 or busy_s <= 0.0 for busy_s, steps in spent):
            return None
        (canary_s, canary_steps), (other_s, other_steps) = spent
        return (canary_s / canary_steps) / (other_s / other_steps)

    def worked(self, replicas: Sequence[int]) -> tuple[float, int]:
        """Busy time [s] and steps of some replicas since the start."""
        seen = [self.clock.plane.observe_replica(r, self.clock.env.now) for r in replicas]
        return float(sum(row["busy_s"] for row in seen)), int(sum(row["num_steps"] for row in seen))
