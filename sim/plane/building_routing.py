"""From a World to what its routers know at the start: nothing; and to the replicas that tiers have to themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.plane.building_regions import build_regions, check_regions
from sim.plane.prefix_index import MAX_STRETCHES
from sim.plane.tables import ACTIVE, FAR
from sim.plane.transfer_tables import max_replicas
from sim.plane.world import LEAST_KV, PREFIX_AFFINITY, ROUTERS, Pool, World
from sim.plane.world_routing import MOST_ENTRIES

if TYPE_CHECKING:
    from sim.plane.owner import Plane

FAVOURITES = 64
"""Choices of replicas by hash that are kept, for each of them: conversations that go on, or a part of them."""
Parts = list[tuple[str | None, int, int]]
"""Of a pool: a tier (None: all others) or a region, and its replicas, from the first to before the last."""


def check_routing(world: World) -> None:
    """Raise ValueError where routers or reserved replicas are not possible."""
    routing = world.routing
    if not rules(world) <= set(ROUTERS):
        raise ValueError(f"router must be one of {ROUTERS}")
    if world.balance_abs_threshold < 0 or world.balance_rel_threshold < 0.0 or world.prefix_token_count < 1:
        raise ValueError("a threshold or the prefix_token_count of the router is out of range")
    if routing.num_routers < 1 or routing.state_interval_s < 0.0 or routing.index_blocks < 0:
        raise ValueError("the number of routers, their interval or the size of their index is out of range")
    if not 0.0 <= routing.min_match_frac <= 1.0:
        raise ValueError("min_match_frac must be from 0 to 1")
    if num_entries(world) > MOST_ENTRIES:
        raise ValueError(f"the routers' indices would have {num_entries(world):,} entries; at most {MOST_ENTRIES:,}")
    check_regions(world)
    for pool in world.pools:
        counts = pool.reserved.values()
        if any(count < 1 for count in counts) or sum(counts) > pool.num_replicas:
            raise ValueError(f"pool {pool.name!r}: reserved replicas out of range")


def rules(world: World) -> set[str]:
    """The rules by which replicas are chosen."""
    return {pool.router or world.router for pool in world.pools}


def num_entries(world: World) -> int:
    """Most entries of all indices together."""
    total = sum(max_replicas(pool) for pool in world.pools)
    return world.routing.num_routers * total * index_blocks(world)


def index_blocks(world: World) -> int:
    """Blocks of text that a router remembers of each replica."""
    return world.routing.index_blocks if ROUTERS[PREFIX_AFFINITY] in rules(world) else 0


def parts_of(pool: Pool, first: int) -> Parts:
    """Who has which replicas of a pool, whose first replica is given."""
    found: Parts = []
    end = first + max_replicas(pool)
    if pool.regions:
        for region, count in pool.regions.items():
            found.append((region, first, first + count))
            first += count
        return [*found[:-1], (found[-1][0], found[-1][1], end)]
    for tier, count in pool.reserved.items():
        found.append((tier, first, first + count))
        first += count
    return [*found, (None, first, end)]


def build_routing(plane: Plane, world: World, num_requests: int) -> Mapping[str, Any]:
    """Make the tables that only routers use; returns the plane's scalars."""
    routing, many = world.routing, world.routing.num_routers > 1
    total, looks = len(plane["active"]), ROUTERS[LEAST_KV] in rules(world)
    plane.own("routers", routing.num_routers)["v"] = 1
    plane.own("via", num_requests * many)
    plane.own("sent", routing.num_routers * total * many)
    plane.own("gauges", routing.num_routers * total * looks)
    plane.own("looked", routing.num_routers)["v"] = -FAR
    has_parts = world.regions is not None or any(pool.reserved for pool in world.pools)
    for name in ("parts", "class_parts"):
        plane.own(name, 0)
    num_lanes = build_parts(plane, world) if has_parts else len(world.pools)
    regions = build_regions(plane, world, num_requests)
    plane.own("rotations", routing.num_routers * num_lanes)
    entries = num_entries(world)
    plane.own("holders", (entries + 2 * MAX_STRETCHES) * (entries > 0))
    buckets = plane.own("holder_buckets", 1 << max(0, entries // 4).bit_length())
    buckets["v"] = -1
    shelves: NDArray[np.void] = plane.own("shelves", routing.num_routers * total * (entries > 0))
    shelves["oldest"] = shelves["newest"] = -1
    favourites = FAVOURITES * (1 << total.bit_length()) if ROUTERS[PREFIX_AFFINITY] in rules(world) else 0
    plane.own("favourites", favourites)
    return {
        **regions,
        "num_routers": routing.num_routers,
        "num_up": routing.num_routers,
        "routes_talks": int(routing.by_conversation),
        "num_pools": len(world.pools),
        "num_lanes": num_lanes,
        "has_parts": int(has_parts),
        "watches": int(many or looks),
        "looks": int(looks),
        "counts_own": int(routing.counts_own),
        "state_interval_s": routing.state_interval_s,
        "min_match_frac": routing.min_match_frac,
        "index_blocks": index_blocks(world),
        "holder_mask": len(buckets) - 1,
        "free_holder": -1,
        "favourite_mask": favourites - 1,
        "num_listings": 1,
    }


def build_parts(plane: Plane, world: World) -> int:
    """Fill the rows of parts, and tell each class its own in every pool. Returns how many parts there are."""
    rows: Parts = []
    class_parts = np.zeros((len(world.classes), len(world.pools)), np.int32)
    for number, pool in enumerate(world.pools):
        mine = parts_of(pool, int(plane["pools"]["first_replica"][number]))
        tiers = [tier for tier, _, _ in mine]
        for class_id, kind in enumerate(world.classes):
            tier = kind.tier if kind.tier in pool.reserved else tiers[-1]
            class_parts[class_id, number] = len(rows) + tiers.index(tier)
        plane["pools"]["first_part"][number], plane["pools"]["num_parts"][number] = len(rows), len(mine)
        rows += mine
    plane.own("class_parts", class_parts.size)["v"] = class_parts.ravel()
    states = plane["replicas"]["state"]
    for row, (_, first, end) in zip(plane.own("parts", len(rows) + 1), rows, strict=False):  # the last has no replicas
        row["first"], row["end"], row["first_active"] = first, end, first  # the active ones are the first of a pool
        row["num_active"] = np.count_nonzero(states[first:end] == ACTIVE)
    return len(rows)
