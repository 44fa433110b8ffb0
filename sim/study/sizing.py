"""The least replicas that carry a scenario's worst hour, pool by pool, found by halving.

Sizes are found on a thinned fleet: a fraction of the users, of the clients and of the replicas, at the highest rate of
the day all the time. Small pools even out chance worse than large ones, so what is found is a little too large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sim.errors import CapacityError, Problem, SpecError
from sim.fleet.build import build, compile_pools
from sim.fleet.run import Player, Run
from sim.metrics.collector import MISSES
from sim.metrics.records import COMPLETED, ENDINGS
from sim.metrics.summary import MONTH_S
from sim.spec import PopulationTraffic, Scenario
from sim.spec.companions import before_check
from sim.spec.tier import Slo

FLAT = 0.001
"""Exponent of the day's curve under which all hours are alike."""
FEWEST_CLIENTS = 10
"""Fewer API clients than that are not like many, as few send most (*assumed*)."""
HOUR_S = 3600.0
MOST_DOUBLINGS = 6
"""Of the first guess; where so many replicas are not enough, what is slow is not the queue."""
MOST_RUNS = 40
JUDGED = tuple(ENDINGS[ending] for ending in (COMPLETED, *MISSES))
"""Endings that an SLO judges."""


@dataclass
class _Search:
    """Doubling until enough is found, then halving between too few and enough."""

    first: int
    too_few: int = 0
    enough: int | None = None

    @property
    def next(self) -> int:
        """What to try; what was found, once it is."""
        if self.enough is None:
            return max(self.first, 2 * self.too_few)
        return (self.too_few + self.enough + 1) // 2

    @property
    def found(self) -> int | None:
        """The least that is enough; None where that is not known yet."""
        return self.enough if self.enough == self.too_few + 1 else None

    def hear(self, tried: int, is_enough: bool) -> None:
        """Take what a run said."""
        if is_enough:
            self.enough = tried
        else:
            self.too_few = tried


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

    @property
    def usd_per_month(self) -> float:
        """What they cost in a month: all hours are billed as the worst one."""
        return self.usd_per_hour * MONTH_S / HOUR_S

    def per_month(self, count: float) -> float:
        """What a count of the run comes to in a month of ordinary days, at full size."""
        mean_over_run = people_of(self.full).monthly_users / people_of(self.scenario).monthly_users
        return count / float(self.run.result["duration"]) * mean_over_run * MONTH_S

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
        changes["traffic.api.num_clients"] = max(FEWEST_CLIENTS, round(traffic.api.num_clients * scale * peak_factor))
    for name, pool in scenario.fleet.pools.items():
        changes[f"fleet.pools.{name}.autoscaler"] = None
        # One more than its part, so that a pool which is not sized is in nobody's way.
        changes[f"fleet.pools.{name}.replicas"] = 1 + math.ceil(pool.replicas * scale)
        changes[f"fleet.pools.{name}.max_replicas"] = None
    return scenario.replace_all(changes)


def answering(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """The pools that answer, and the tiers that each answers."""
    found: dict[str, tuple[str, ...]] = {}
    for tier, terms in scenario.tiers.items():
        pool = str(before_check(scenario.fleet.paths[terms.path])[-1].pool)
        found[pool] = (*found.get(pool, ()), tier)
    return found


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
        Pools to size, and the tiers that each answers and is judged by: see `answering`.
    scale, peak_factor
        See `worst_hour`.
    target
        Fraction of requests that must keep their SLO.

    Raises
    ------
    SpecError
        A tier without an SLO, or traffic without people.
    CapacityError
        No number of replicas is enough.
    """
    thinned = worst_hour(scenario, scale, peak_factor)
    SpecError.raise_if(
        Problem("missing: a fleet is sized to keep it", path=f"tiers.{tier}.slo")
        for tiers in pools.values()
        for tier in tiers
        if scenario.slo_of(tier) == Slo()
    )
    compiled = compile_pools(thinned)

    @cache
    def played(*replicas: int) -> Run:
        changes = {f"fleet.pools.{name}.replicas": n for name, n in zip(pools, replicas, strict=True)}
        return Player(build(thinned.replace_all(changes), compiled), "compiled", True, None).play()

    searches = {name: _Search(thinned.fleet.pools[name].replicas) for name in pools}
    for _ in range(MOST_RUNS):
        tried = {name: search.next for name, search in searches.items()}
        run = played(*tried.values())
        for name, search in searches.items():
            search.hear(tried[name], _keeps(run.result["sim"], name, pools[name], target))
        if all(search.found == tried[name] for name, search in searches.items()):
            replicas = {name: pool.replicas for name, pool in thinned.fleet.pools.items()} | tried
            return Sized(replicas, tuple(pools), scale, run, thinned, scenario)
        CapacityError.raise_if(
            f"{tried[name]} replicas of {name} do not keep {target:.0%} of the requests of {', '.join(pools[name])} "
            "within their SLO, and more would not: try a looser slo, a lower target, or faster replicas (a larger "
            "tensor_parallel_size, smaller weights, other hardware)"
            for name, search in searches.items()
            if search.next > search.first << MOST_DOUBLINGS
        )
    raise CapacityError("the search for the least replicas does not settle: the pools depend on each other")


def _keeps(result: Mapping[str, Any], pool: str, tiers: tuple[str, ...], target: float) -> bool:
    """Whether a pool's tiers keep their SLO, and its queue did not grow."""
    found = [result["by_tier"][tier] for tier in tiers]
    met = sum(tier["num_slo_met"] for tier in found)
    judged = sum(tier[f"num_{ending}"] for tier in found for ending in JUDGED)
    return bool(met >= target * judged > 0.0 and result["by_pool"][pool]["num_saturated_intervals"] == 0)
