"""Islands: pools that no request, tier or order joins to the others. Planes side by side play one island each.

Nothing that happens on one island is felt on another, so each may have a plane and a clock of its own. The result is
the same to the last bit however they are shared out (`tests/fleet/test_islands.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from sim.fleet.build import Built
from sim.spec import PopulationTraffic, Scenario
from sim.spec.routing import rules_of

Island = frozenset[int]
"""Numbers of pools."""


def share_out(built: Built, num_planes: int) -> list[Island]:
    """Pools for each plane, at most so many and each with some: the islands, largest first, to who has least so far.

    Parameters
    ----------
    built
        What is run.
    num_planes
        Planes that may be in play at once, >= 1.

    Returns
    -------
    list
        Sets of pools that have every pool once; the largest comes first.
    """
    scenario, names = built.scenario, list(built.scenario.fleet.pools)

    def size(pools: Iterable[int]) -> int:
        return sum(scenario.pool(names[number]).max_replicas or 0 for number in pools)

    found = islands(scenario) if num_planes > 1 and may_split(scenario) else [frozenset(range(len(names)))]
    shares: list[set[int]] = [set() for _ in range(min(num_planes, len(found)))]
    for island in sorted(found, key=size, reverse=True):
        min(shares, key=size).update(island)
    return sorted(map(frozenset, shares), key=size, reverse=True)


def may_split(scenario: Scenario) -> bool:
    """Whether a scenario has nothing that looks at all pools at once.

    The end of a run that drains is one for all; monitors read the records of all; regions, the door and several routers
    are the fleet's; and whoever comes may have the gauges of all replicas read, which `least_kv` goes by.
    """
    fleet = scenario.fleet
    at_the_door = any(operation.pool is None for operation in fleet.operations)
    watched = scenario.monitoring is not None or len(scenario.drifts) > 0
    gauges = "least_kv" in rules_of(fleet.router, fleet.pools)
    one_house = gauges or len(fleet.regions) > 0 or fleet.routing.num_routers > 1
    population = isinstance(scenario.traffic, PopulationTraffic)
    return population and not (scenario.drains or watched or at_the_door or one_house)


def islands(scenario: Scenario) -> list[Island]:
    """The least sets of pools such that no path or tier, and nothing ordered by hand, meets two of them."""
    names = list(scenario.fleet.pools)
    found = [frozenset({number}) for number in range(len(names))]
    for bridge in bridges(scenario):
        touched = [island for island in found if not island.isdisjoint(map(names.index, bridge))]
        found = [island for island in found if island not in touched] + [frozenset(chain.from_iterable(touched))]
    return [island for island in found if island]


def bridges(scenario: Scenario) -> Iterator[set[str]]:
    """Sets of pools that something joins."""
    fleet = scenario.fleet
    on_path = {name: {str(visit.pool) for visit in visits if visit.pool} for name, visits in fleet.paths.items()}
    yield from on_path.values()
    for tier in scenario.tiers.values():
        limit = tier.user_limit
        paths = [tier.path, *([limit.fall_back] if limit is not None and limit.fall_back is not None else [])]
        yield set(chain.from_iterable(on_path[path] for path in paths))
    # One log tells of what is ordered by hand, in its order.
    incidents = fleet.faults.incidents if fleet.faults is not None else ()
    ordered = {one.pool for one in fleet.operations} | {one.pool for one in incidents}
    ordered |= {one.pool for one in fleet.deploys}
    yield set(fleet.pools) if None in ordered else {str(pool) for pool in ordered}
