"""The tables of links, loads and host tiers: made with the plane, empty where no pool of the world loads anything.

Behind the pools of the world come those of the stores, one for each pool with a host tier; behind the replicas the
stores, one for each replica of such a pool or one for all of them.
"""

from __future__ import annotations

import numpy as np

from sim.plane.cache_tables import Owner
from sim.plane.handover_tables import build_handovers, pools_with_links
from sim.plane.world import Pool, World


def max_replicas(pool: Pool) -> int:
    """Replicas a pool may grow to."""
    return pool.max_replicas or pool.num_replicas


def store_counts(world: World) -> list[int]:
    """Stores of each pool that has a host tier, in the order of their pools."""
    return [
        1 if pool.kv_offload.is_shared else max_replicas(pool) for pool in world.pools if pool.kv_offload is not None
    ]


def build_transfers(plane: Owner, world: World, num_requests: int) -> None:
    """Make them. Pools and replicas are there already."""
    found = {number: pool.kv_offload for number, pool in enumerate(world.pools)}
    loads = {number: tier for number, tier in found.items() if tier is not None}
    num_replicas = sum(map(max_replicas, world.pools))
    num_links = sum(max_replicas(world.pools[number]) for number in (*loads, *pools_with_links(world)))
    some = bool(num_links)
    links, tiers = plane.own("links", num_links), plane.own("tiers", len(world.pools) if loads else 0)
    links["head"] = links["tail"] = -1
    links["free_at_s"] = world.start_s
    loaders = plane.own("loaders", num_replicas if some else 0)
    loaders["store"] = loaders["link"] = -1
    plane.own("loads", num_requests if some else 0)
    plane.record["num_links"], plane.record["has_loads"] = num_links, some
    plane.record["keeps_times"] = any(np.isfinite(tier.ttl_s) for tier in loads.values())
    store, link = num_replicas, 0
    for row, (number, tier) in enumerate(loads.items(), len(world.pools)):
        pool = world.pools[number]
        build_store_pool(plane, row, pool, tier.num_blocks)
        plane["pools"]["loads"][number] = 1
        plane["pools"]["kv_token_bytes"][number] = pool.kv_bytes_per_token
        tiers["ttl_s"][number], tiers["min_tokens"][number], tiers["shared"][number] = (
            tier.ttl_s, tier.min_tokens, tier.is_shared,
        )  # fmt: skip
        first = int(plane["pools"]["first_replica"][number])
        for k in range(max_replicas(pool)):
            if k == 0 or not tier.is_shared:
                build_store(plane, store, row, tier.num_blocks)
                store += 1
            loaders["store"][first + k], loaders["link"][first + k] = store - 1, link
            links["bytes_per_s"][link], links["latency_s"][link] = tier.bytes_per_s, tier.latency_s
            link += 1
    build_handovers(plane, world, num_requests, link)


def build_store_pool(plane: Owner, number: int, pool: Pool, num_blocks: int) -> None:
    """The row of the pool that a pool's stores make up."""
    row = plane["pools"][number]
    row["block_size"], row["usable"], row["caching"], row["max_seqs"] = pool.block_size, num_blocks, 1, 1
    row["by_blocks"], row["max_model_len"], row["num_levels"] = pool.cache == "blocks", 1 << 30, 1


def build_store(plane: Owner, number: int, pool: int, num_blocks: int) -> None:
    """The row of a store."""
    row = plane["replicas"][number]
    row["number"], row["pool"] = number, pool
    row["free"] = row["unpromised"] = num_blocks
    row["loose"] = row["run_head"] = row["run_tail"] = -1
