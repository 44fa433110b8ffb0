"""A second tier of a pool's prefix cache: host memory, or a cache with a time to live as APIs sell it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from sim.spec.base import NonNegativeInt, NonNegativeNumber, PositiveNumber, PositiveSeconds, Seconds, Spec

GIB = 1 << 30


class KvOffload(Spec):
    """Host memory to which a pool's KV cache is written, and from which prompts are loaded where that is faster."""

    capacity_gib: PositiveNumber
    """Host memory of a store [GiB]: one for each replica, or one for the pool, as `scope` says. What it costs is not
    counted: clouds sell it with the GPUs, and no price of it alone is known."""
    bandwidth_gb_per_s: PositiveNumber | None = None
    """Bandwidth of a replica's link to its store, each way [GB/s = 10^9 B/s]. Default: PCIe of its GPU, from the GPU's
    datasheet, times tensor_parallel_size."""
    latency_s: Seconds = 0.001
    """From the end of a transfer to its use [s]. Default 1 ms (assumed)."""
    scope: Literal["replica", "pool"] = "replica"
    """replica: a store for each replica, lost when it goes. pool: one that all replicas of the pool share, each over a
    link of its own. Default replica."""
    ttl_s: PositiveSeconds | None = None
    """How long an entry lives after its last use [s], such as 300 or 3600; it is never evicted before, and only
    prompts are written. Default: until others push it out (least recently used first)."""
    min_tokens: NonNegativeInt = 0
    """Shorter prompts are neither written nor read. Default 0; APIs: 1024 and more (Anthropic, OpenAI: 2025 lists)."""
    write_price_factor: NonNegativeNumber = 1.25
    """Price of a prompt token that is written, over that of one that is not cached; told where `ttl_s` is given.
    Default 1.25: Anthropic's for 5 minutes (2025 list; 2 for an hour)."""
    read_price_factor: NonNegativeNumber = 0.1
    """The same of a prompt token that is found. Default 0.1: Anthropic's (2025 list)."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a time to live that is none of a cache."""
        if self.ttl_s is not None and self.ttl_s <= self.latency_s:
            yield "ttl_s", f"must be > latency_s ({self.latency_s:g}), got {self.ttl_s:g}: entries would expire unread"

    def num_blocks(self, block_bytes: float) -> int:
        """Return the blocks of so many bytes [B] that a store holds."""
        return int(self.capacity_gib * GIB // block_bytes)
