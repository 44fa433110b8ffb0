"""The step times of pools and of their versions, and the tables of what may go wrong with replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sim.cost.step_times import StepTimes
from sim.plane.curves import Curves
from sim.plane.tables import FAR
from sim.plane.transfer_tables import max_replicas, store_counts
from sim.plane.world import Pool, World

if TYPE_CHECKING:
    from sim.plane.owner import Plane


def num_versions(world: World) -> int:
    """Versions of all pools together: each has a row behind those of pools and stores."""
    return sum(len(pool.versions) for pool in world.pools)


def check_faults(world: World) -> None:
    """Raise ValueError where a World has faults or versions that the plane does not play."""
    for pool in world.pools:
        if pool.versions and not world.has_faults:
            raise ValueError(f"pool {pool.name!r}: versions belong to a world with has_faults")
        if len(pool.stage_versions) != (len(pool.versions) if pool.stage_times is not None else 0):
            raise ValueError(f"pool {pool.name!r}: each version of a pipeline needs stage_versions, and no other does")
        most_seqs = max(pool.max_num_seqs, pool.max_num_active_seqs)
        for times in (*pool.versions, *pool.stage_versions):
            if times.max_num_seqs < most_seqs or times.max_num_batched_tokens < pool.max_num_batched_tokens:
                raise ValueError(f"pool {pool.name!r}: the step times of a version stop short of its limits")
        if world.has_faults and loads(world, pool):
            raise ValueError(f"pool {pool.name!r}: no faults where requests load KV cache from elsewhere")


def loads(world: World, pool: Pool) -> bool:
    """Whether requests of a pool load KV cache from a second tier, or from another pool."""
    number = world.pools.index(pool)
    split = {visit.pool for path in world.paths.values() if path[-1].kind == "decode" for visit in path[-2:]}
    return pool.kv_offload is not None or number in split


def fill_times(row: np.void, times: StepTimes, stage: StepTimes | None, curves: Curves) -> None:
    """Write the step times of a pool, or of one of its versions, into a row of `pools`."""
    row["num_pieces"] = times.num_pieces
    for name in ("batch_s", "decode_batch_s", "sample_s", "excess_j", "decode_offset_s", "decode_slope_s"):
        row[name] = curves.add(getattr(times, name))
    row["knot_tokens"] = curves.add(np.minimum(times.knot_tokens, FAR))
    row["pair_s"], row["prefill_step_s"], row["first_batch_s"] = times.pair_s, times.prefill_step_s, times.batch_s[1]
    row["idle_w"], row["attention_w"] = times.idle_w, times.attention_w
    if stage is None:
        return
    row["stage_batch_s"], row["stage_decode_batch_s"] = curves.add(stage.batch_s), curves.add(stage.decode_batch_s)
    row["stage_sample_s"] = curves.add(stage.sample_s)
    row["stage_offset_s"], row["stage_slope_s"] = curves.add(stage.decode_offset_s), curves.add(stage.decode_slope_s)
    row["stage_pair_s"], row["stage_prefill_step_s"] = stage.pair_s, stage.prefill_step_s


def build_faults(plane: Plane, world: World, num_requests: int, curves: Curves) -> None:
    """Make the tables, which have no rows where nothing goes wrong, and the rows of the versions."""
    health = plane.own("health", sum(map(max_replicas, world.pools)) * world.has_faults)
    plane.own("moves", num_requests * world.has_faults)
    health["slowness"] = health["next_slowness"] = 1.0
    at, first = len(world.pools) + len(store_counts(world)), 0
    for number, pool in enumerate(world.pools):
        mine = slice(first, first + max_replicas(pool))
        if world.has_faults:
            health["times"][mine] = health["next_times"][mine] = number
        first += max_replicas(pool)
        plane["pools"]["first_version"][number] = at
        for k, times in enumerate(pool.versions):
            fill_times(plane["pools"][at], times, pool.stage_versions[k] if pool.stage_versions else None, curves)
            plane["pools"]["block_size"][at] = pool.block_size
            at += 1
