"""From a World's regions to the tables of the plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.plane.world import World

if TYPE_CHECKING:
    from sim.plane.owner import Plane


def check_regions(world: World) -> None:
    """Raise ValueError where replicas are in no region, or regions have what they cannot."""
    regions = world.regions
    for pool in world.pools:
        counts = pool.regions
        if regions is None and counts:
            raise ValueError(f"pool {pool.name!r} has regions, and the world has none")
        if regions is None:
            continue
        if not counts or not set(counts) <= set(regions.names) or any(count < 0 for count in counts.values()):
            raise ValueError(f"pool {pool.name!r}: its replicas must be in regions of the world")
        if sum(counts.values()) != pool.num_replicas or pool.reserved:
            raise ValueError(f"pool {pool.name!r}: all its replicas must be in regions, and none reserved")
    if regions is None:
        return
    if not (world.has_deadlines and world.has_extras):
        raise ValueError("a world with regions has deadlines and extras")
    if any(visit.kind in ("prefill", "decode") for path in world.paths.values() for visit in path):
        raise ValueError("an answer that is split over two pools is not simulated with regions")
    n, places = len(regions.names), len(regions.user_frac)
    shapes = np.shape(regions.to_users_s), np.shape(regions.between_s)
    if n == 0 or places == 0 or shapes != ((places, n), (n, n)):
        raise ValueError("latencies must be given from each place of senders, and each region, to each region")
    if np.min(regions.to_users_s) < 0.0 or np.min(regions.between_s) < 0.0 or not regions.spill_at > 0.0:
        raise ValueError("a latency is negative, or spill_at is not positive")
    if np.any(np.diag(regions.between_s) != 0.0):
        raise ValueError("a region is at no distance from itself")


def build_regions(plane: Plane, world: World, num_requests: int) -> Mapping[str, Any]:
    """Make the tables that only regions use; returns the plane's scalars. The rows of parts are there already."""
    regions = world.regions
    n = 0 if regions is None else len(regions.names)
    places = 0 if regions is None else len(regions.user_frac)
    plane.own("places", num_requests * (n > 0))
    region_parts = plane.own("region_parts", len(world.pools) * n)
    part_of = plane.own("part_of", len(plane["active"]) * (n > 0))
    edges, nearest = plane.own("place_edges", max(0, places - 1)), plane.own("nearest", places)
    neighbours, to_users = plane.own("neighbours", n * n), plane.own("to_users_s", places * n)
    between = plane.own("between_s", n * n)
    if regions is None:
        return {"num_regions": 0, "num_places": 0, "spill_at": 0.0}
    to_users["v"], between["v"] = np.ravel(regions.to_users_s), np.ravel(regions.between_s)
    nearest["v"] = np.argmin(regions.to_users_s, axis=1)
    neighbours["v"] = np.argsort(regions.between_s, axis=1, kind="stable").ravel()
    edges["v"][: places - 1] = sender_edges(regions.user_frac)
    for number, pool in enumerate(world.pools):
        row = plane["pools"][number]
        first = int(row["first_part"])
        nowhere = len(plane["parts"]) - 1  # a part without replicas
        for region, name in enumerate(regions.names):
            part = first + list(pool.regions).index(name) if name in pool.regions else nowhere
            region_parts["v"][number * n + region] = part
        for part in range(first, first + int(row["num_parts"])):
            part_of["v"][plane["parts"][part]["first"] : plane["parts"][part]["end"]] = part
    return {"num_regions": n, "num_places": places, "spill_at": regions.spill_at}


def sender_edges(user_frac: Any) -> Any:
    """Where the words of senders go over from one place to the next, as the traffic's (`sim.traffic.people`)."""
    return np.minimum(np.cumsum(user_frac)[:-1] * 2.0**64, 2.0**64 - 2048.0).astype(np.uint64)
