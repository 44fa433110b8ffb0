"""Regions of a fleet: how far they are from people and from each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from sim.errors import did_you_mean
from sim.spec.base import Key, Seconds, Spec

if TYPE_CHECKING:
    from sim.spec.fleet import Fleet, Pool

EVERYWHERE = "all"
"""Where people are, if the traffic tells no regions apart."""


class FleetRegion(Spec):
    """A region in which pools have replicas. Times are one way, half a round trip. docs/routing.md has the rules."""

    users: dict[Key, Seconds]
    """From people to here [s], by region of the population ({all: 20 ms} where there are none). Programs are where
    people are."""
    regions: dict[Key, Seconds] = Field(default_factory=dict)
    """From here to other regions of the fleet, and back [s]; given with one of the two."""


def region_problems(
    regions: Mapping[str, FleetRegion], pools: Mapping[str, Pool], kinds: Sequence[str], spill_at: float | None
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the regions of a fleet; `kinds`: of all its visits."""
    for name, pool in pools.items():
        for field, message in pool_problems(regions, pool):
            yield f"pools.{name}.{field}", message
    if regions and {"prefill", "decode"} & set(kinds):
        yield "regions", "an answer that is split over two pools is not simulated with regions; remove one of the two"
    if spill_at is not None and len(regions) < 2:
        yield "spill_at", "only read with several regions; remove it"
    for name, region in regions.items():
        for other, takes_s in region.regions.items():
            if other not in regions or other == name:
                yield f"regions.{name}.regions.{other}", f"no other region of that name. {did_you_mean(other, regions)}"
            elif regions[other].regions.get(name, takes_s) != takes_s:
                yield f"regions.{name}.regions.{other}", f"differs from what regions.{other}.regions.{name} says"
        for other in regions:
            if name < other and way_s(regions, name, other) is None:
                yield f"regions.{name}.regions", f"missing: {other}; say how far that is, one way"


def pool_problems(regions: Mapping[str, FleetRegion], pool: Pool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with where the replicas of a pool are."""
    if not regions:
        if pool.regions:
            yield "regions", "there are no fleet.regions; give them, or remove this"
        return
    if not pool.regions:
        yield "regions", f"missing; say how many replicas are in each of {', '.join(regions)}"
    elif (total := sum(pool.regions.values())) != pool.replicas:
        yield "regions", f"must sum to the pool's replicas ({pool.replicas}), got {total}"
    for region in pool.regions:
        if region not in regions:
            yield "regions", f"no region of that name in fleet.regions: {region}. {did_you_mean(region, regions)}"
    if pool.reserved:
        yield "reserved", "must be empty where there are regions: not simulated together"


def place_problems(fleet: Fleet, places: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield places of people that a region does not know, or that there are not."""
    for name, region in fleet.regions.items():
        for place in places:
            if place not in region.users:
                yield f"fleet.regions.{name}.users", f"missing: {place}; say how far that is, one way"
        for place in region.users:
            if place not in places:
                help_ = did_you_mean(place, places)
                yield f"fleet.regions.{name}.users.{place}", f"the traffic has no such region. {help_}"


def way_s(regions: Mapping[str, FleetRegion], a: str, b: str) -> float | None:
    """One way between two regions [s]; None if it is not given."""
    if a == b:
        return 0.0
    return regions[a].regions.get(b, regions[b].regions.get(a))
