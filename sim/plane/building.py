"""From a World to the tables of a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.histogram import NUM_BINS
from sim.plane.building_classes import build_classes, check_classes, itl_groups, tries_again
from sim.plane.building_faults import build_faults, check_faults, fill_times, num_versions
from sim.plane.building_gateways import build_gateways, build_limits, check_promises, tell_classes
from sim.plane.building_routing import build_routing, check_routing, rules
from sim.plane.building_singly import check_singly, fill_singly, most_in_flight
from sim.plane.building_work import build_work, check_path, has_delays, has_work
from sim.plane.cache_tables import build_cache
from sim.plane.companion_tables import build_companions, check_companions
from sim.plane.curves import Curves
from sim.plane.events import NOT_QUEUED, WHEEL_SIZE, WHEEL_WIDTH_S
from sim.plane.tables import ACTIVE, DEADLINE, DECODE_SIDE, FAR, OFF, PREFILL_SIDE, WHOLE
from sim.plane.transfer_tables import build_transfers, max_replicas, store_counts
from sim.plane.world import (
    ANSWERS,
    BATCH_POLICIES,
    CACHES,
    ONLY_VLLM_V1,
    POLICIES,
    RESERVING,
    ROUTERS,
    SESSION_AFFINITY,
    SYNCHRONOUS,
    Pool,
    World,
)
from sim.traffic import draws

if TYPE_CHECKING:
    from sim.plane.owner import Plane

Table = NDArray[np.void]
RECORDS = 1 << 14
NO_DEADLINE = (FAR,) * len(DEADLINE.names or ())
SIDES = {"prefill": PREFILL_SIDE, "decode": DECODE_SIDE}
FIRST = ("generate", "prefill")
"""Kinds of visit with which answering begins."""
GROUP_WORD = np.uint64(1 << 40)
"""Sets the keys of shared prefixes apart from those of conversations."""


# ------------------------------------------------------------------ checks


def check(world: World) -> None:
    """Raise ValueError where a World breaks what the plane relies on."""
    check_classes(world)
    for name, path in world.paths.items():
        check_path(name, path)
    for pool in world.pools:
        times = pool.step_times
        if pool.max_num_batched_tokens < pool.max_num_seqs:
            raise ValueError(f"pool {pool.name!r}: max_num_batched_tokens must be at least max_num_seqs")
        if times.max_num_seqs < most_seqs(pool) or times.max_num_batched_tokens < pool.max_num_batched_tokens:
            raise ValueError(f"pool {pool.name!r}: its step times stop short of its limits")
        if pool.num_replicas > max_replicas(pool) or pool.num_gpu_blocks < 2 or pool.block_size < 1:
            raise ValueError(f"pool {pool.name!r}: replicas, blocks or block size out of range")
        if pool.cache not in CACHES:
            raise ValueError(f"pool {pool.name!r}: cache must be one of {CACHES}")
        if pool.scheduling_policy not in POLICIES:
            raise ValueError(f"pool {pool.name!r}: policy must be one of {POLICIES}")
        check_batch_policy(pool)
        tier = pool.kv_offload
        if tier is not None and (tier.num_blocks < 1 or not tier.bytes_per_s > 0.0 or pool.kv_bytes_per_token <= 0.0):
            raise ValueError(f"pool {pool.name!r}: its host tier has no blocks, no bandwidth or nothing to carry")
        check_singly(pool)
    check_split(world)
    check_faults(world)
    check_routing(world)
    check_promises(world)
    check_companions(world)


def check_batch_policy(pool: Pool) -> None:
    """Raise ValueError where a pool's batch policy is none, or does not know one of its settings."""
    if pool.batch_policy not in BATCH_POLICIES:
        raise ValueError(f"pool {pool.name!r}: batch_policy must be one of {BATCH_POLICIES}")
    if pool.async_scheduling and pool.batch_policy in SYNCHRONOUS:
        raise ValueError(f"pool {pool.name!r}: {pool.batch_policy} is synchronous")
    for name in ONLY_VLLM_V1:
        if pool.batch_policy != "vllm_v1" and getattr(pool, name) != getattr(Pool, name):
            raise ValueError(f"pool {pool.name!r}: {pool.batch_policy} knows no {name}")


def check_split(world: World) -> None:
    """Raise ValueError where a path that is split lacks its transfer, or a pool that could block itself."""
    visits = [visit for path in world.paths.values() for visit in path if visit.kind != "delay"]
    decoding = {visit.pool for visit in visits if visit.kind in ("generate", "decode")}
    for visit in visits:
        pool = world.pools[visit.pool]
        if visit.kind == "prefill" and visit.pool in decoding:
            raise ValueError(f"pool {pool.name!r}: prefill needs a pool in which nothing decodes")
        if (visit.kind == "decode") != (visit.transfer is not None):
            raise ValueError("decode visits, and no others, have a transfer")
        plain = pool.batch_policy == "vllm_v1" and pool.kv_offload is None and not pool.goes_singly
        if visit.kind in ANSWERS[1] and not plain:
            raise ValueError(f"pool {pool.name!r}: {visit.kind} visits are of a plain vllm_v1, without kv_offload")
        if visit.transfer is not None and not visit.transfer.bytes_per_s > 0.0:
            raise ValueError("a transfer needs a bandwidth")


def most_seqs(pool: Pool) -> int:
    """Most sequences that run at once."""
    return max(pool.max_num_seqs, pool.max_num_active_seqs)


# ------------------------------------------------------------------ building


def link_free(requests: Table, first: int) -> None:
    """Chain the rows from `first` on into a free list that ends with -1, and mark them unused."""
    n = len(requests)
    requests["next"][first:] = np.arange(first + 1, n + 1)
    requests["next"][-1] = -1
    requests["wheel"][first:] = NOT_QUEUED
    requests["timer_s"][first:] = FAR
    requests["serial"][first:] = -1


def build(plane: Plane, world: World, leap: bool, num_requests: int) -> None:
    """Make and fill every table of a plane."""
    curves = Curves()
    levels = sorted({kind.priority for kind in world.classes})
    groups, visit_groups = number_groups(world)
    build_pools(plane, world, len(levels), curves)
    first_visit = build_visits(plane, world, visit_groups)
    build_classes(plane, world, first_visit, levels, groups, curves)
    build_work(plane, world, first_visit, num_requests, curves)
    num_itl = max(itl_groups(world), default=0) + 1 + has_work(world)
    build_replicas(plane, world, len(levels), num_itl)
    num_groups = len(groups) + len(visit_groups)
    numbers = np.arange(num_groups, dtype=np.uint64)
    key, nobody = draws.key(world.seed, draws.CONTENT), np.uint64(0)
    plane.own("group_keys", num_groups)["v"] = draws.bits(key, numbers, nobody, GROUP_WORD)
    build_transfers(plane, world, num_requests)
    build_companions(plane, world, first_visit, visit_groups, num_requests, curves)
    build_faults(plane, world, num_requests, curves)
    build_cache(plane, world)
    tell_classes(plane, world, curves)
    curves.write(plane.own("curves", curves.size))
    build_limits(plane, world, first_visit, num_requests)
    build_gateways(plane, world, num_requests)
    width = max(most_seqs(pool) for pool in world.pools) + 1
    plane.own("itl", num_itl * NUM_BINS)
    plane.own("spread", num_itl * NUM_BINS * world.speculates)
    plane.own("spent", len(world.classes) * len(world.accounts))
    plane.own("out", 16 * width + 256)
    plane.own("ended", width)
    plane.own("done", RECORDS + 4 * width)
    plane.own("arrivals", 1)
    plane.own("segments", 1)
    plane.own("log", 1)
    plane.own("wheel", WHEEL_SIZE)["v"] = -1
    link_free(plane.own("requests", num_requests + 1)[:num_requests], 0)
    num_homes = len(world.pools) if world.falls_back else max(map(len, world.paths.values())) + (len(world.checks) > 0)
    num_homes *= ROUTERS[SESSION_AFFINITY] in rules(world)
    plane.own("homes", num_homes * num_requests)
    has_retries = tries_again(world)
    plane.own("retries", num_requests * has_retries)
    has_deadlines = world.has_deadlines or has_delays(world)
    has_extras = world.has_extras or has_work(world)
    plane.own("deadlines", num_requests * has_deadlines)[:] = NO_DEADLINE
    plane.own("extras", num_requests * has_extras)
    due = plane.own("due", 2 * num_requests + 2)
    routing = build_routing(plane, world, num_requests)
    num_replicas = len(plane["active"])
    tree_size = 1 << max(1, (plane.scalar("num_links") + num_replicas - 1).bit_length())
    nodes = plane.own("nodes", 2 * tree_size)
    nodes["t_s"] = FAR
    nodes["id"][tree_size:] = np.arange(tree_size)
    scalars: dict[str, Any] = {
        **routing,
        "leap": int(leap),
        "has_segments": int(world.has_segments),
        "cursor": -1,
        "now_s": world.start_s,
        "horizon_s": world.horizon_s,
        "num_replicas": num_replicas,
        "num_itl": num_itl,
        "ring": most_in_flight(world) - 1,
        "tree_size": tree_size,
        "done_room": RECORDS,
        "num_requests": num_requests,
        "num_homes": num_homes,
        "num_accounts": len(world.accounts),
        "has_retries": int(has_retries),
        "has_deadlines": int(has_deadlines),
        "has_extras": int(has_extras),
        "row_slack": 1 + world.has_companions,
        "has_faults": int(world.has_faults),
        "num_free": num_requests,
        "due_size": len(due),
        "wheel_at": int(np.floor(world.start_s / WHEEL_WIDTH_S)),
    }
    streams = {
        "user_tokens_key": draws.USER_TOKENS,
        "output_tokens_key": draws.OUTPUT_TOKENS,
        "gap_key": draws.GAP,
        "patience_key": draws.PATIENCE,
        "block_key": draws.BLOCK,
        "route_key": draws.ROUTE,
        "affinity_key": draws.AFFINITY,
        "content_key": draws.CONTENT,
        "accept_key": draws.ACCEPT,
        "retry_key": draws.RETRY,
        "backoff_key": draws.BACKOFF,
        "leave_key": draws.LEAVE,
        "router_key": draws.ROUTER,
        "region_key": draws.REGION,
    }
    for name, stream in streams.items():
        scalars[name] = draws.key(world.seed, stream)
    for name, value in scalars.items():
        plane.record[name] = value


def number_groups(world: World) -> tuple[dict[str, int], list[int]]:
    """Shared prefixes: number of each class group, and number of each visit's template (of generate visits: -1)."""
    groups = {name: n for n, name in enumerate(dict.fromkeys(kind.prefix_group for kind in world.classes))}
    number = len(groups)
    visit_groups = []
    for visit in world.visits:
        visit_groups.append(number if visit.kind == "classify" else -1)
        number += visit.kind == "classify"
    return groups, visit_groups


def build_pools(plane: Plane, world: World, num_levels: int, curves: Curves) -> None:
    """Fill the pool rows, and the curves of their step times."""
    table = plane.own("pools", len(world.pools) + len(store_counts(world)) + num_versions(world))
    first = 0
    for row, pool in zip(table, world.pools, strict=False):
        row["first_replica"], row["max_replicas"], row["num_active"] = first, max_replicas(pool), pool.num_replicas
        first += max_replicas(pool)
        row["router"], row["balance_abs"], row["balance_rel"], row["prefix_token_count"] = (
            ROUTERS.index(pool.router or world.router), world.balance_abs_threshold, world.balance_rel_threshold,
            world.prefix_token_count,
        )  # fmt: skip
        row["max_seqs"], row["max_tokens"], row["block_size"] = (
            most_seqs(pool), pool.max_num_batched_tokens, pool.block_size,
        )  # fmt: skip
        row["max_admitted"] = pool.max_num_active_seqs or pool.max_num_seqs
        row["interval"] = pool.prefill_schedule_interval
        fill_singly(row, pool, curves.add)
        row["threshold"], row["adaptive"] = (
            pool.long_prefill_token_threshold, pool.long_prefill_token_threshold_adaptive,
        )  # fmt: skip
        row["usable"], row["watermark"] = pool.num_gpu_blocks - 1, int(pool.watermark * pool.num_gpu_blocks)
        row["reserves"] = reserves = pool.batch_policy in RESERVING
        row["static"], row["prefill_first"] = pool.batch_policy == "static", pool.batch_policy == "prefill_first"
        row["reserve_full"] = pool.scheduler_reserve_full_isl
        row["chunked"] = pool.enable_chunked_prefill and not reserves
        row["caching"], row["max_model_len"] = pool.enable_prefix_caching, pool.max_model_len
        row["by_priority"] = pool.scheduling_policy == "priority"
        row["num_levels"] = num_levels if pool.scheduling_policy == "priority" else 1
        fill_times(row, pool.step_times, pool.stage_times, curves)
        row["frontend_s"], row["usd_per_s"], row["queue_alarm"] = pool.frontend_s, pool.usd_per_replica_s, 1 << 60


def build_visits(plane: Plane, world: World, visit_groups: list[int]) -> dict[str, int]:
    """Fill the visit rows, path by path; returns where each path begins."""
    table = plane.own("visits", len(visit_groups))
    begin: dict[str, int] = {}
    accounts = world.accounts
    n = 0
    for name, path in world.paths.items():
        begin[name] = n
        for ordinal, visit in enumerate(path):
            row = table[n]
            row["pool"], row["generate"], row["reads_full"] = (
                visit.pool, visit.kind != "classify", visit.prompt == "full",
            )  # fmt: skip
            row["side"] = SIDES.get(visit.kind, WHOLE)
            row["first"], row["last"] = visit.kind in FIRST, ordinal == len(path) - 1
            at_prefill = path[-1].transfer is not None and path[-1].transfer.first_token_at_prefill
            row["streams"] = visit.kind != "classify" and (visit.kind != "prefill" or at_prefill)
            row["emitted"] = visit.kind == "decode" and at_prefill
            row["home"] = visit.pool if world.falls_back else [other.pool for other in path].index(visit.pool)
            row["path_end"] = begin[name] + len(path) - 1
            row["account"] = accounts.index((visit.pool, visit.feature)) if visit.pool >= 0 else -1
            row["template_tokens"], row["group"], row["ordinal"], row["block_frac"] = (
                visit.template_tokens, visit_groups[n], ordinal, visit.block_frac,
            )  # fmt: skip
            n += 1
    return begin


def build_replicas(plane: Plane, world: World, num_levels: int, num_itl: int) -> None:
    """Fill the replica rows and the tables that hold a stretch for each replica."""
    total, depth = sum(max_replicas(pool) for pool in world.pools), most_in_flight(world)
    table = plane.own("replicas", total + sum(store_counts(world)))
    active, _ = plane.own("active", total), plane.own("outstanding", total)
    plane.own("stays", total)["since_s"] = world.start_s
    base = residues = r = 0
    for number, pool in enumerate(world.pools):
        for k in range(max_replicas(pool)):
            row = table[r]
            row["number"], row["pool"], row["state"] = r, number, ACTIVE if k < pool.num_replicas else OFF
            row["free"] = row["unpromised"] = pool.num_gpu_blocks - 1
            row["loose"] = row["run_head"] = row["run_tail"] = -1
            row["base"], row["residue_base"], row["flight_base"] = base, residues, depth * r
            row["count_base"], row["wait_base"] = r * num_itl, r * num_levels
            row["last_prefill"] = -pool.prefill_schedule_interval
            row["gauge_s"] = row["kv_at_s"] = row["online_at_s"] = row["booked_s"] = world.start_s
            row["last_decode_s"] = world.start_s
            base += most_seqs(pool) + 1
            residues += pool.block_size
            active["v"][r] = r
            r += 1
    plane.own("ends", base)
    plane.own("chunks", base)
    plane.own("outputs", depth * base)
    plane.own("flights", depth * total)
    plane.own("stage_free", total)["v"] = world.start_s
    plane.own("residues", residues)
    plane.own("counts", total * num_itl)
    plane.own("flight_counts", depth * total * num_itl)
    waits = plane.own("waits", total * num_levels)
    waits["head"] = waits["tail"] = -1
