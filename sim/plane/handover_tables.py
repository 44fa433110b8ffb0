"""The tables of answers that are split over two pools: links, and what a request leaves in the first pool."""

from __future__ import annotations

from sim.metrics.histogram import NUM_BINS
from sim.plane.cache_tables import Owner
from sim.plane.world import Visit, World


def decode_visits(world: World) -> list[tuple[int, Visit, Visit]]:
    """(row, decode visit, prefill visit before it), in the order of the visit rows."""
    visits = [visit for path in world.paths.values() for visit in path]
    return [(row, visit, visits[row - 1]) for row, visit in enumerate(visits) if visit.transfer is not None]


def pools_with_links(world: World) -> list[int]:
    """Pools at whose replicas transfers queue: prefill pools that push, decode pools that pull."""
    ends = [before.pool if visit.transfer.push else visit.pool for _, visit, before in decode_visits(world)]  # type: ignore[union-attr]
    return sorted(set(ends))


def build_handovers(plane: Owner, world: World, num_requests: int, link: int) -> None:
    """Make them, with links from number `link` on."""
    pools, links, visits = plane["pools"], plane["links"], plane["visits"]
    found = decode_visits(world)
    plane.own("holds", num_requests if found else 0)["replica"] = -1
    plane.own("holding", int(pools["max_replicas"].sum()))
    plane.own("transfer_times", len(world.pools) * NUM_BINS if found else 0)
    plane.record["has_holds"] = bool(found)
    first_link = {}
    for number in pools_with_links(world):
        first_link[number] = link
        link += int(pools["max_replicas"][number])
    for row, visit, before in found:
        transfer = visit.transfer
        assert transfer is not None  # noqa: S101
        pools["loads"][visit.pool] = 1
        pools["kv_token_bytes"][visit.pool] = world.pools[visit.pool].kv_bytes_per_token
        end = before.pool if transfer.push else visit.pool
        visits["push"][row] = transfer.push
        visits["first_link"][row] = first_link[end] - pools["first_replica"][end]
        visits["least_frac"][row] = 1.0 / transfer.num_layers if transfer.num_layers else 1.0
        of_end = links[first_link[end] : first_link[end] + int(pools["max_replicas"][end])]
        slower = of_end["bytes_per_s"][0] == 0.0 or transfer.bytes_per_s < of_end["bytes_per_s"][0]
        if slower:
            of_end["bytes_per_s"] = transfer.bytes_per_s
        of_end["latency_s"] = max(float(of_end["latency_s"][0]), transfer.latency_s)
