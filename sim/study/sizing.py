"""The least replicas that carry a scenario's worst hour, pool by pool, found by halving.

Sizes are found on a thinned fleet: a fraction of the users, of the clients and of the replicas, at the highest rate of
the day all the time. Small pools even out chance worse than large ones, so what is found is a little too large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.errors import CapacityError, Problem, SpecError
from sim.fleet.build import build, compile_pools
from sim.fleet.run import Player, Run
from sim.spec import PopulationTraffic, Scenario

FLAT = 0.001
"""Exponent of the day's curve under which all hours are alike."""
MOST_DOUBLINGS = 6


@dataclass(frozen=True)
class Sized:
    """A fleet that carries the worst hour, and how it does."""

    replicas: Mapping[str, int]
    """Of the thinned fleet, by pool."""
    sized: tuple[str, ...]
    """Pools that were searched for."""
    scale: float
    run: Run
    scenario: Scenario
    """The thinned one."""
    full: Scenario

    @property
    def num_gpus(self) -> float:
        """GPUs of the fleet at full size; of pools that were not sized as many as the scenario has."""
        return math.fsum(self._gpus(name) for name in self.replicas)

    @property
    def usd_per_hour(self) -> float:
        """What they cost."""
        pools = self.run.result["sim"]["by_pool"]
        return math.fsum(self._gpus(name) * pools[name]["usd_per_gpu_hour"] for name in self.replicas)

    def _gpus(self, pool: str) -> float:
        whole = self.full.fleet.pools[pool].replicas
        replicas = self.replicas[pool] / self.scale if pool in self.sized else float(whole)
        return replicas * float(self.run.result["sim"]["by_pool"][pool]["num_gpus_per_replica"])


def people_of(scenario: Scenario) -> PopulationTraffic:
    """The traffic of a scenario that has people; raises SpecError for any other."""
    if not isinstance(scenario.traffic, PopulationTraffic):
        message = f"must be population, got {scenario.traffic.kind}: only people have a day with a worst hour"
        raise SpecError(Problem(message, path="traffic.kind"))
    return scenario.traffic


def worst_hour(scenario: Scenario, scale: float, peak_factor: float) -> Scenario:
    """A thinned fleet at the highest rate of the day, for two thirds of an hour after a third.

    Parameters
    ----------
    scenario
        Of a population; its autoscalers and faults are left out, as what is asked is what must be there.
    scale
        Fraction of users, clients and replicas, of all pools.
    peak_factor
        Highest rate of the day over its mean.
    """
    traffic = people_of(scenario)
    changes: dict[str, Any] = {
        "traffic.monthly_users": round(traffic.monthly_users * scale * peak_factor),
        "traffic.curve_exponent": FLAT,
        "horizon": 2400.0,
        "run_in": 1200.0,
        "report_interval": 600.0,
        "fleet.faults": None,
        "fleet.operations": [],
    }
    if traffic.api is not None:
        changes["traffic.api.num_clients"] = max(10, round(traffic.api.num_clients * scale * peak_factor))
    for name, pool in scenario.fleet.pools.items():
        changes[f"fleet.pools.{name}.autoscaler"] = None
        changes[f"fleet.pools.{name}.replicas"] = 1 + math.ceil(
            pool.replicas * scale
        )  # one more, to be in nobody's way
        changes[f"fleet.pools.{name}.max_replicas"] = None
    return scenario.replace_all(changes)


def size(
    scenario: Scenario, pools: Mapping[str, tuple[str, ...]], *, scale: float, peak_factor: float, target: float
) -> Sized:
    """The least replicas of some pools with which their tiers keep their SLO.

    Each pool is judged by its own tiers, so all are searched at once: no pool may wait for another.

    Parameters
    ----------
    scenario
        At full size.
    pools
        Pools to size, and the tiers that each answers.
    scale, peak_factor
        See `worst_hour`.
    target
        Fraction of requests that must keep their SLO.

    Raises
    ------
    CapacityError
        No number of replicas is enough.
    """
    thinned = worst_hour(scenario, scale, peak_factor)
    compiled = compile_pools(thinned)
    low = dict.fromkeys(pools, 0)  # too few
    high = dict.fromkeys(pools, 0)  # enough; 0: not known
    tried = {name: thinned.fleet.pools[name].replicas for name in pools}
    runs: dict[tuple[int, ...], Run] = {}
    for _ in range(40):
        key = tuple(tried.values())
        if key not in runs:
            changes = {f"fleet.pools.{name}.replicas": n for name, n in tried.items()}
            runs[key] = Player(build(thinned.replace_all(changes), compiled), "compiled", True, None).play()
        result = runs[key].result["sim"]
        for name, tiers in pools.items():
            if _keeps(result, name, tiers, target):
                high[name] = tried[name] if high[name] == 0 else min(high[name], tried[name])
            else:
                low[name] = max(low[name], tried[name])
        nearest = {
            name: 2 * low[name] if high[name] == 0 else (low[name] + high[name] + 1) // 2 if high[name] - low[name] > 1
            else high[name] for name in pools
        }  # fmt: skip
        if nearest == tried and all(high.values()):
            return Sized(
                {name: nearest.get(name, pool.replicas) for name, pool in thinned.fleet.pools.items()},
                tuple(pools), scale, runs[key], thinned, scenario,
            )  # fmt: skip
        first = {name: thinned.fleet.pools[name].replicas for name in pools}
        if hopeless := [name for name in pools if nearest[name] > first[name] << MOST_DOUBLINGS]:
            raise CapacityError(
                f"no number of replicas of {', '.join(hopeless)} keeps {target:.0%} of requests within their SLO; "
                "its latency is too long even when idle"
            )
        tried = nearest
    raise CapacityError("the search for the least replicas does not settle")


def _keeps(result: Mapping[str, Any], pool: str, tiers: tuple[str, ...], target: float) -> bool:
    """Whether a pool's tiers keep their SLO, and its queue did not grow."""
    found = [result["by_tier"][tier] for tier in tiers]
    met = sum(tier["num_slo_met"] for tier in found)
    judged = sum(tier["num_slo_met"] / tier["slo_attainment_frac"] for tier in found if tier["slo_attainment_frac"])
    return bool(met >= target * judged > 0.0 and result["by_pool"][pool]["num_saturated_intervals"] == 0)
