"""Requests as a trace records them, or as a window on generated traffic does: the one thing that is measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces import HASH_BLOCK_TOKENS, TraceBlock

LEAST_ROWS = 100
"""Fewer requests say nothing about bursts or tails: *assumed*."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Requests in order of time."""

    time_s: NDArray[np.float64]
    """Since the first."""
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    blocks: Sequence[Sequence[int]] | None
    """Of each prompt, a number for each 512 tokens; equal numbers stand for equal prefixes. None: not recorded."""
    span_s: float
    """Length of the window that they were seen through."""
    grid_s: float
    """Steps in which times are recorded; 0: fine enough not to matter."""

    def __len__(self) -> int:
        return len(self.time_s)


def recorded_of(parts: Iterable[TraceBlock], name: str) -> Recorded:
    """Return all requests of the trace of that name; raises TraceError where it is wrong or too short to be fitted."""
    parts = list(parts)
    num = sum(map(len, parts))
    time_ns = np.concatenate([part.time_ns for part in parts]) if num else np.zeros(1, dtype=np.int64)
    blocks = [ids for part in parts for ids in _half_kilo(part, name)]
    time_s = (time_ns - time_ns[0]) / 1e9
    if num < LEAST_ROWS or time_s[-1] == 0.0:
        message = f"{num} requests in {time_s[-1]:g} s are too few to fit; it takes {LEAST_ROWS} over some time"
        raise TraceError(Problem(message, name))
    grid_s = time_grid(time_s)
    if grid_s:
        # Off by a millisecond, times on the edge of a window fall on either side of it.
        time_s = np.rint(time_s / grid_s) * grid_s
    return Recorded(
        time_s=time_s,
        prompt_tokens=np.concatenate([part.prompt_tokens for part in parts]),
        output_tokens=np.concatenate([part.output_tokens for part in parts]),
        blocks=blocks if len(blocks) == len(time_s) and any(blocks) else None,
        span_s=float(time_s[-1]) + grid_s,
        grid_s=grid_s,
    )


def _half_kilo(part: TraceBlock, name: str) -> list[list[int]]:
    """The hash ids of every HASH_BLOCK_TOKENS begun: an id stands for all text up to its block's end."""
    every, rest = divmod(HASH_BLOCK_TOKENS, part.block_tokens)
    if rest == 0:
        return (
            part.hash_ids
            if every == 1
            else [ids[every - 1 :: every] + ids[-1:] * bool(len(ids) % every) for ids in part.hash_ids]
        )
    if not part.hash_ids:
        return []
    message = f"a hash id stands for {part.block_tokens} tokens; a fit takes {HASH_BLOCK_TOKENS}, or a whole part of it"
    raise TraceError(Problem(message, name))


def time_grid(time_s: NDArray[np.float64]) -> float:
    """Steps in which times are recorded [s], where most share theirs with others and steps are even; else 0."""
    steps = np.diff(np.unique(time_s))
    if len(steps) == 0 or len(steps) > 0.5 * len(time_s):
        return 0.0
    # Steps of a millisecond or so are times of the same step, told a little differently.
    step = float(np.median(steps[steps > 0.1 * steps.max()]))
    ratio = steps / step
    if np.mean(np.abs(ratio - np.rint(ratio)) < 0.02) < 0.9:
        return 0.0
    return round(float(steps.sum() / np.rint(ratio).sum()), 3)


def shared_prefix_tokens(recorded: Recorded) -> int:
    """Whole blocks that begin at least nine prompts in ten [tokens]."""
    if recorded.blocks is None:
        return 0
    count = 0
    while True:
        at = [ids[count] for ids in recorded.blocks if len(ids) > count + 1]
        if not at or np.unique(at, return_counts=True)[1].max() < 0.9 * len(recorded):
            return count * HASH_BLOCK_TOKENS
        count += 1
