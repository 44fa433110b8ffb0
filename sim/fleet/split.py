"""Answers that are split over a prefill and a decode pool: the transfers between them, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import catalog, cost
from sim.errors import Problem
from sim.metrics.histogram import NUM_BINS
from sim.metrics.statistics import ratio, statistics
from sim.plane.handover_tables import pools_with_links, splits
from sim.plane.owner import Plane
from sim.plane.world import Transfer
from sim.spec import Scenario
from sim.spec.companions import before_check
from sim.spec.hardware import GpuSpec
from sim.spec.visit import Visit

GIGA = 1e9


def split_problems(scenario: Scenario, profiles: Mapping[str, cost.Profile]) -> Iterator[Problem]:
    """Yield paths whose two pools do not keep the same cache."""
    for name, path in scenario.fleet.paths.items():
        visits = before_check(path)
        if visits[-1].kind != "decode":
            continue
        first, second = (profiles[str(visit.pool)] for visit in visits[-2:])
        for what in ("model", "kv_cache_dtype"):
            a, b = getattr(first, what), getattr(second, what)
            if a != b:
                message = f"prefill pool {visits[-2].pool} has {what} {a}, decode pool {visits[-1].pool} has {b}"
                yield Problem(f"{message}; what is fetched must be the same", path=f"fleet.paths.{name}")


def link_bytes_per_s(scenario: Scenario, profile: cost.Profile, gpu: GpuSpec) -> float:
    """Bandwidth of a replica's links to other replicas, in one direction: those of the GPUs that hold a token [B/s]."""
    given = scenario.fleet.kv_transfer.bandwidth_gb_per_s
    one_gpu = float(gpu.internode_bytes_per_s) if given is None else given * GIGA
    return one_gpu * profile.tensor_parallel_size


def transfer_of(
    scenario: Scenario, visits: Sequence[Visit], profiles: Mapping[str, cost.Profile], gpus: Mapping[str, GpuSpec]
) -> Transfer | None:
    """How the last visit of a path gets the prompt's cache from the visit before it; None where it answers alone."""
    if visits[-1].kind != "decode":
        return None
    spec = scenario.fleet.kv_transfer
    ends = [str(visit.pool) for visit in visits[-2:]]
    model = catalog.load_model(str(scenario.pool(ends[0]).model))
    return Transfer(
        bytes_per_s=min(link_bytes_per_s(scenario, profiles[pool], gpus[pool]) for pool in ends),
        latency_s=spec.latency_s,
        push=spec.mode == "push",
        num_layers=model.num_hidden_layers if spec.granularity == "layer" else 0,
        first_token_at_prefill=spec.first_token == "prefill",  # noqa: S105
    )


def transfer_figures(plane: Plane, timeline: NDArray[np.void]) -> dict[int, dict[str, Any]]:
    """What was kept, carried and fetched from t = 0 on, by pool.

    Parameters
    ----------
    plane
        At the end of a run.
    timeline
        `INTERVAL` rows of the whole run.
    """
    world, found = plane.world, dict[int, dict[str, Any]]()
    ways = splits(world)
    for number in sorted({way.prefill for way in ways}):
        found[number] = {"held_block_s": float(plane["pools"]["held_block_s"][number])}
    for number in sorted({way.decode for way in ways}):
        times = plane["transfer_times"]["v"].reshape(-1, NUM_BINS)[number]
        found[number] = {"num_transfers": int(times.sum()), **statistics("transfer_ms", times, scale=1000.0)}
    for number in pools_with_links(world):
        here = [way for way in ways if way.queue == number]
        pool = plane["pools"][number]
        first = int(plane["visits"]["first_link"][here[0].row] + pool["first_replica"])
        links = plane["links"][first : first + int(pool["max_replicas"])]
        rows = timeline[(timeline["pool"] == number) & (timeline["t_s"] >= 0.0)]
        token_bytes = {world.pools[way.decode].kv_bytes_per_token for way in here}
        num_bytes = float(links["num_bytes"].sum())
        found[number] |= {
            "transferred_bytes": num_bytes,
            "transferred_tokens": round(num_bytes / token_bytes.pop()) if len(token_bytes) == 1 else None,
            "link_busy_frac": ratio(float(links["busy_s"].sum()), float(rows["num_replicas"] @ rows["width_s"])),
        }
    return found
