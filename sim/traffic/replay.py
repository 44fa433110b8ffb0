"""A recorded trace as traffic: each request a conversation of one turn, its prompt and its output as in the file.

Where the file says which blocks prompts have in common (`hash_ids`), a request's prompt is described by a segment of
512 tokens for each id, the last one cut so that they add up to the prompt; a prompt longer than its ids goes on with a
segment of its own. A segment's key is a bijection of a 64-bit word: the id, or 2**63 + the request's number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, NO_SEGMENTS, ONE_LANGUAGE, SEGMENT, Chunk, TrafficClass
from sim.traffic.reuse import Unlimited
from sim.traffic.rows import in_chunks
from sim.traffic.summary import Volume, described
from sim.traffic.traces import HASH_BLOCK_TOKENS, TraceBlock, read_trace

_OWN = np.uint64(1 << 63)


def segments_of(
    hash_ids: list[list[int]], prompt_tokens: NDArray[np.int64], number: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Number of segments of each request, and the segments (dtype SEGMENT); none for a request without ids."""
    num_ids = np.fromiter(map(len, hash_ids), np.int64, len(hash_ids))
    ids = np.fromiter(chain.from_iterable(hash_ids), np.uint64, int(num_ids.sum()))
    # One segment more than ids for the rest; then those without a token are dropped.
    width = num_ids + 1
    ends = np.cumsum(width)
    row = np.repeat(np.arange(len(width)), width)
    place = np.arange(len(row)) - (ends - width)[row]
    left = prompt_tokens[row] - place * HASH_BLOCK_TOKENS
    rest = place == num_ids[row]
    words = np.empty(len(row), dtype=np.uint64)
    words[~rest], words[rest] = ids, _OWN + number.astype(np.uint64)
    kept = (left > 0) & (num_ids[row] > 0)
    segments = np.zeros(np.count_nonzero(kept), dtype=SEGMENT)
    segments["key"] = draws.mix(words[kept] + draws.GOLDEN)
    segments["tokens"] = np.where(rest, left, np.minimum(left, HASH_BLOCK_TOKENS))[kept]
    return np.add.reduceat(kept, ends - width, dtype=np.int64), segments


@dataclass(frozen=True, eq=False)
class Replay:
    """A trace played from `start_s` on, `rate_scale` times as fast; a Source.

    The trace is read anew at every call, block by block, so its size is not bounded by memory.
    """

    path: Path
    trace_format: str
    rate_scale: float
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    start_s: float
    horizon_s: float

    @property
    def classes(self) -> tuple[TrafficClass, ...]:
        """One class."""
        return (self.traffic_class,)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages are not told apart."""
        return ONE_LANGUAGE

    def describe(self) -> dict[str, Any]:
        """The trace in numbers, as far as the horizon; raises TraceError where it is wrong."""
        return self._description

    @cached_property
    def _description(self) -> dict[str, Any]:
        num_requests = prompt_tokens = output_tokens = hit_tokens = 0
        cache, num_blocks = Unlimited(), 0
        for block, times_s in self._timed():
            count = int(np.searchsorted(times_s, self.horizon_s))
            num_requests += count
            prompt_tokens += int(block.prompt_tokens[:count].sum())
            output_tokens += int(block.output_tokens[:count].sum())
            for ids, tokens in zip(block.hash_ids[:count], block.prompt_tokens[:count].tolist(), strict=False):
                hit_tokens += min(cache.use(0.0, ids) * HASH_BLOCK_TOKENS, tokens)
                num_blocks += len(ids)
        volume = Volume(
            self.traffic_class.name,
            self.traffic_class.tier,
            conversations=num_requests,
            requests=num_requests,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            user_tokens=prompt_tokens,
        )
        inputs: dict[str, Any] = {"path": str(self.path), "format": self.trace_format, "rate_scale": self.rate_scale}
        if num_blocks:
            inputs["ideal_prefix_hit_frac"] = hit_tokens / max(prompt_tokens, 1)
        return described("trace", [volume], None, **inputs)

    def chunks(self) -> Iterator[Chunk]:
        """Requests, in the order of the file."""
        num_rows = 0
        for block, times_s in self._timed():
            rows = np.zeros(int(np.searchsorted(times_s, self.horizon_s)), dtype=ARRIVAL)
            rows["t_s"] = times_s[: len(rows)]
            rows["user"] = np.arange(num_rows, num_rows + len(rows))
            rows["num_turns"] = 1
            rows["user_tokens"] = block.prompt_tokens[: len(rows)]
            rows["output_tokens"] = block.output_tokens[: len(rows)]
            rows["bucket"] = 0 if len(self.buckets) else -1
            segments = NO_SEGMENTS
            if block.hash_ids:
                rows["num_segments"], segments = segments_of(
                    block.hash_ids[: len(rows)], block.prompt_tokens[: len(rows)], rows["user"]
                )
            yield from in_chunks(rows, segments)
            num_rows += len(rows)
            if len(rows) < len(times_s):
                return

    def _timed(self) -> Iterator[tuple[TraceBlock, NDArray[np.float64]]]:
        """Blocks with the times of their requests on the simulation's clock [s]."""
        first_ns: int | None = None
        start_ns = round(self.start_s * 1e9)
        for block in read_trace(self.path, self.trace_format):
            first_ns = int(block.time_ns[0]) if first_ns is None else first_ns
            since_ns = np.rint((block.time_ns - first_ns) / self.rate_scale).astype(np.int64)
            yield block, (since_ns + start_ns) / 1e9
