"""What pools that go step by step need of the tables: checks of the World, and the fields of their rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.plane.world import Pool, World

MAX_STAGES = 64
"""Steps in flight at once are counted in a byte; vLLM pipelines have 2 to 16 stages."""
TABLES = ("batch_s", "decode_batch_s", "sample_s", "decode_offset_s", "decode_slope_s")


def check_singly(pool: Pool) -> None:
    """Raise ValueError where a pool with pipeline stages or speculation is not one that the plane plays."""
    stages, k = pool.pipeline_parallel_size, len(pool.accept_frac)
    if not 1 <= stages <= MAX_STAGES:
        raise ValueError(f"pool {pool.name!r}: pipeline_parallel_size must be 1 to {MAX_STAGES}")
    if (stages > 1) != (pool.stage_times is not None):
        raise ValueError(f"pool {pool.name!r}: stage_times belong to a pipeline of several stages")
    if any(not 0.0 <= share <= 1.0 for share in pool.accept_frac) or pool.num_lookahead_tokens not in (0, k):
        raise ValueError(f"pool {pool.name!r}: accept_frac or num_lookahead_tokens out of range")
    if pool.goes_singly and (pool.batch_policy != "vllm_v1" or pool.async_scheduling or (stages > 1 and k > 0)):
        raise ValueError(f"pool {pool.name!r}: pipeline stages or speculation, under a synchronous vllm_v1 alone")
    if pool.goes_singly and pool.kv_offload is not None:
        raise ValueError(f"pool {pool.name!r}: no host tier beside pipeline stages or speculation")
    times, stage = pool.step_times, pool.stage_times
    if stage is not None:
        if any(getattr(times, name).shape != getattr(stage, name).shape for name in TABLES):
            raise ValueError(f"pool {pool.name!r}: stage_times must have the shapes of step_times")
        if not np.array_equal(times.knot_tokens, stage.knot_tokens):
            raise ValueError(f"pool {pool.name!r}: stage_times must have the knots of step_times")


def most_in_flight(world: World) -> int:
    """Rows for steps in flight that each replica gets: a power of two, at least two."""
    return 1 << max(1, max(pool.pipeline_parallel_size - 1 for pool in world.pools).bit_length())


def fill_singly(row: np.void, pool: Pool, add: Callable[[NDArray[np.float64]], int]) -> None:
    """Write the fields of a pool that goes step by step; `add` keeps a curve and says where it begins."""
    row["singly"], row["drafts"], row["lookahead"] = (
        pool.goes_singly, len(pool.accept_frac), pool.num_lookahead_tokens,
    )  # fmt: skip
    row["accept"] = add(at_least_accepted(pool.accept_frac))
    row["depth"] = max(int(pool.async_scheduling), pool.pipeline_parallel_size - 1)


def at_least_accepted(accept_frac: Sequence[float]) -> NDArray[np.float64]:
    """Chance that at least j drafts are accepted, for j = 1 ... k."""
    return np.asarray(np.multiply.accumulate(np.array(accept_frac, dtype=np.float64)), dtype=np.float64)
