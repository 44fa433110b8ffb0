"""All that goes wrong, or is deployed, in a scenario: what a World must have for it, and the processes of a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.cost.profile import Profile
from sim.cost.step_times import StepTimes
from sim.fleet.clocks import Clock
from sim.fleet.deploys import Rollout
from sim.fleet.faults import Ward
from sim.metrics.records import MOVED
from sim.plane.world import Pool
from sim.spec import Scenario
from sim.spec.faults import Faults


def has_mishaps(scenario: Scenario) -> bool:
    """Whether anything goes wrong, or is deployed."""
    return scenario.fleet.faults is not None or len(scenario.fleet.deploys) > 0


def may_fail(scenario: Scenario) -> bool:
    """Whether replicas may fail, or be taken back with requests at them."""
    spots = (pool.spot for pool in scenario.fleet.pools.values())
    return has_mishaps(scenario) or any(spot is not None and spot.interruptions_per_hour > 0.0 for spot in spots)


def with_versions(pool: Pool, scenario: Scenario) -> Pool:
    """A pool with the step times of what is deployed to it."""
    factors = [deploy.step_time_factor for deploy in scenario.fleet.deploys if deploy.pool == pool.name]
    versions = tuple(pool.step_times.scaled(factor) for factor in factors)
    stage: StepTimes | None = pool.stage_times
    stages = () if stage is None else tuple(stage.scaled(factor) for factor in factors)
    return replace(pool, versions=versions, stage_versions=stages)


class Mishaps:
    """The processes of a run, and what they leave."""

    def __init__(
        self,
        clock: Clock,
        scenario: Scenario,
        profiles: Mapping[str, Profile],
        gpus_per_node: Mapping[str, int],
        mine: Collection[int],
        over: Callable[[], bool],
    ) -> None:
        """`mine`: numbers of the pools that it is about."""
        faults = scenario.fleet.faults or Faults()
        names = list(profiles)
        num_gpus = [profile.num_gpus for profile in profiles.values()]
        nodes = [max(1, gpus_per_node[name] // gpus) for name, gpus in zip(names, num_gpus, strict=True)]
        self.deploys: list[dict[str, Any]] = []
        self.num_moved = 0
        self.names, self._mine = names, sorted(mine)
        self.ward = ward = Ward(clock, scenario.seed, faults, nodes, over)
        for incident in faults.incidents:
            if not set(ward.pools_of(incident)).isdisjoint(mine):
                clock.env.process(ward.incident(incident))
        for name, kind in faults.kinds().items():
            for pool in self._mine:
                members = ward.members(pool)
                units = len(members) if name != "node" else 1 + ward.node_of(pool, members[-1])
                for unit in range(units):
                    gpus = num_gpus[pool] * len(ward.unit(name, pool, unit))
                    clock.env.process(ward.random_faults(name, kind, pool, unit, gpus))
        brought = dict.fromkeys(names, 0)
        for number, deploy in enumerate(scenario.fleet.deploys):
            brought[deploy.pool] += 1
            if names.index(deploy.pool) not in mine:
                continue
            rollout = Rollout(ward, deploy, number, names.index(deploy.pool), brought[deploy.pool])
            clock.env.process(rollout.process(self.deploys))

    def count(self, rows: NDArray[np.void]) -> None:
        """Count who was moved, of finished requests."""
        self.num_moved += int(np.count_nonzero(rows["flags"] & MOVED))

    def result(self, timeline: NDArray[np.void], end_s: float) -> dict[str, Any]:
        """What `result.json` tells of these pools."""
        found: dict[str, Any] = {"log": self.ward.log, "num_moved": self.num_moved, "by_pool": {}}
        down_s = self.ward.down_s(end_s)
        for pool in self._mine:
            mine = timeline[timeline["pool"] == pool]
            online_s = float(np.sum(mine["num_replicas"] * mine["width_s"]))
            whole_s = online_s + down_s[pool]
            found["by_pool"][self.names[pool]] = {
                "down_s": down_s[pool],
                "availability_frac": online_s / whole_s if whole_s > 0.0 else None,
            }
        return found


def told_together(mishaps: Sequence[Mishaps], timeline: NDArray[np.void], end_s: float) -> dict[str, Any]:
    """What `result.json` tells of all pools, of the mishaps of planes side by side."""
    parts = [one.result(timeline, end_s) for one in mishaps]
    by_pool = {name: entry for part in parts for name, entry in part["by_pool"].items()}
    return {
        "log": sorted(chain.from_iterable(part["log"] for part in parts), key=itemgetter("t_s")),
        "num_moved": sum(part["num_moved"] for part in parts),
        "by_pool": {name: by_pool[name] for name in mishaps[0].names},
    }
