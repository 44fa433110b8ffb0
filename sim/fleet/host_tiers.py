"""The second tier of the prefix cache: from a scenario to the plane, and from the plane's counters to results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sim import cost
from sim.errors import Problem
from sim.metrics.host_tier import HostTierCounts
from sim.plane.owner import Plane
from sim.plane.tables import TIER_COUNTERS
from sim.plane.world import HostTier
from sim.spec import Scenario
from sim.spec.fleet import Pool
from sim.spec.hardware import GpuSpec

GB = 1e9
MOST_BLOCKS = 1 << 30


def host_tier(pool: Pool, profile: cost.Profile, gpu: GpuSpec) -> HostTier | None:
    """The plane's host tier of a pool, if it has one."""
    given = pool.kv_offload
    if given is None:
        return None
    default = float(gpu.pcie_bytes_per_s) * pool.tensor_parallel_size
    return HostTier(
        num_blocks=given.num_blocks(profile.kv_bytes_per_token * profile.block_size),
        bytes_per_s=default if given.bandwidth_gb_per_s is None else given.bandwidth_gb_per_s * GB,
        latency_s=given.latency_s,
        is_shared=given.scope == "pool",
        ttl_s=float("inf") if given.ttl_s is None else given.ttl_s,
        min_tokens=given.min_tokens,
    )


def host_tier_problems(pool: Pool, profile: cost.Profile) -> Iterator[Problem]:
    """Yield what is wrong with the size of a pool's host tier."""
    if pool.kv_offload is None:
        return
    block_bytes = profile.kv_bytes_per_token * profile.block_size
    num_blocks = pool.kv_offload.num_blocks(block_bytes)
    if not 1 <= num_blocks <= MOST_BLOCKS:
        message = (
            f"must hold 1 to {MOST_BLOCKS:,} KV blocks of {block_bytes / (1 << 20):.3g} MiB, "
            f"got {pool.kv_offload.capacity_gib:g} GiB for {num_blocks:,}"
        )
        yield Problem(message, path="kv_offload.capacity_gib")


def counts_of(plane: Plane, scenario: Scenario) -> Mapping[str, HostTierCounts]:
    """What the host tiers did, by pool."""
    found, link = {}, 0
    for number, (name, row) in enumerate(zip(scenario.fleet.pools, plane.world.pools, strict=True)):
        given = scenario.pool(name).kv_offload
        if given is None:
            continue
        links = plane["links"][link : link + (row.max_replicas or row.num_replicas)]
        link += len(links)
        found[name] = HostTierCounts(
            tokens={counter: int(plane["tiers"][counter][number]) for counter in TIER_COUNTERS},
            loaded_bytes=float(links["num_bytes"].sum()),
            link_busy_s=float(links["busy_s"].sum()),
            has_ttl=given.ttl_s is not None,
            write_price_factor=given.write_price_factor,
            read_price_factor=given.read_price_factor,
        )
    return found
