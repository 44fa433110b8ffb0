"""A recorded trace as traffic: each request a conversation of one turn, its prompt and its output as in the file.

Where the file says what prompts have in common, a request's prompt is described by segments. With `hash_ids`, one of a
block's tokens for each id, the last one cut so that they add up to the prompt. With `prefix`, one of `prefix_tokens`
tokens. A prompt that is longer goes on with a segment of its own. A segment's key is a bijection of a 64-bit word: the
id, or a hash of the prefix's name, or 2**63 + the request's number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.spec.trace import TraceOperation
from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, NO_SEGMENTS, SEGMENT, Chunk, OneClass, TrafficClass
from sim.traffic.reuse import Unlimited
from sim.traffic.rows import in_chunks
from sim.traffic.summary import Volume, described
from sim.traffic.traces import HASH_BLOCK_TOKENS, Options, Report, TraceBlock, format_of
from sim.traffic.traces.hashing import text_words
from sim.traffic.traces.playing import played
from sim.traffic.traces.reading import DEFAULTS

_OWN = np.uint64(1 << 63)


def segments_of(
    hash_ids: list[list[int]],
    prompt_tokens: NDArray[np.int64],
    number: NDArray[np.int64],
    block_tokens: int = HASH_BLOCK_TOKENS,
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Number of segments of each request, and the segments (dtype SEGMENT); none for a request without ids."""
    num_ids = np.fromiter(map(len, hash_ids), np.int64, len(hash_ids))
    ids = np.fromiter(chain.from_iterable(hash_ids), np.uint64, int(num_ids.sum()))
    return _cut(num_ids, ids, np.full(len(ids), block_tokens), prompt_tokens, number)


def prefix_segments(
    prefix: NDArray[np.object_],
    prefix_tokens: NDArray[np.int64],
    prompt_tokens: NDArray[np.int64],
    number: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """The same for requests whose prompts begin with a text that has a name; none where it has none."""
    known = prefix_tokens > 0
    return _cut(known.astype(np.int64), text_words(prefix[known]), prefix_tokens[known], prompt_tokens, number)


def _cut(
    num_words: NDArray[np.int64],
    words: NDArray[np.uint64],
    word_tokens: NDArray[np.int64],
    prompt_tokens: NDArray[np.int64],
    number: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Segments of prompts that begin with words of so many tokens each."""
    # One segment more than words for the rest; then those without a token are dropped.
    width = num_words + 1
    ends = np.cumsum(width)
    row = np.repeat(np.arange(len(width)), width)
    rest = np.arange(len(row)) - (ends - width)[row] == num_words[row]
    given, keys = np.zeros(len(row), dtype=np.int64), np.empty(len(row), dtype=np.uint64)
    given[~rest], keys[~rest], keys[rest] = word_tokens, words, _OWN + number.astype(np.uint64)
    before = np.cumsum(given) - given
    left = prompt_tokens[row] - (before - before[ends - width][row])
    kept = (left > 0) & (num_words[row] > 0)
    segments = np.zeros(np.count_nonzero(kept), dtype=SEGMENT)
    segments["key"] = draws.mix(keys[kept] + draws.GOLDEN)
    segments["tokens"] = np.where(rest, left, np.minimum(left, given))[kept]
    return np.add.reduceat(kept, ends - width, dtype=np.int64), segments


def block_segments(block: TraceBlock, number: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
    """Segments of a block's requests: by hash ids where a request has them, else by its prefix."""
    prefix_tokens = block.column("prefix_tokens")
    if not block.hash_ids:
        if not len(block) or not prefix_tokens.any():
            return np.zeros(len(block), dtype=np.int64), NO_SEGMENTS
        return prefix_segments(block.column("prefix"), prefix_tokens, block.prompt_tokens, number)
    num_hashed, hashed = segments_of(block.hash_ids, block.prompt_tokens, number, block.block_tokens)
    others = np.where(num_hashed == 0, prefix_tokens, 0)
    if not others.any():
        return num_hashed, hashed
    num_named, named = prefix_segments(block.column("prefix"), others, block.prompt_tokens, number)
    rows = np.arange(len(block))
    order = np.argsort(np.concatenate([np.repeat(rows, num_hashed), np.repeat(rows, num_named)]), kind="stable")
    return num_hashed + num_named, np.concatenate([hashed, named])[order]


class _Ideal:
    """What a cache that forgets nothing finds of a trace's prompts."""

    def __init__(self) -> None:
        self.hit_tokens = 0
        self.said = False  # whether the trace says what prompts have in common
        self._cache = Unlimited()
        self._longest: dict[str, int] = {}

    def add(self, block: TraceBlock) -> None:
        """Play prompts in order."""
        prompts = block.prompt_tokens.tolist()
        hashes: list[list[int]] = block.hash_ids or [[]] * len(block)
        self.said |= bool(block.hash_ids)
        for ids, tokens in zip(hashes, prompts, strict=True):
            if ids:
                self.hit_tokens += min(self._cache.use(ids) * block.block_tokens, tokens)
        if block.prefix is None or block.prefix_tokens is None:
            return
        self.said = True
        for name, tokens, ids in zip(block.prefix.tolist(), block.prefix_tokens.tolist(), hashes, strict=True):
            if tokens and not ids:
                longest = self._longest.get(name, 0)
                self.hit_tokens += min(longest, tokens)
                self._longest[name] = max(longest, tokens)


@dataclass(frozen=True, eq=False)
class Replay(OneClass):
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
    options: Options = DEFAULTS
    operations: tuple[TraceOperation, ...] = ()
    repair: bool = False

    def describe(self) -> dict[str, Any]:
        """The trace in numbers, as far as the horizon; raises TraceError where it is wrong."""
        return self._description

    @cached_property
    def _description(self) -> dict[str, Any]:
        num_requests = prompt_tokens = output_tokens = 0
        ideal, report = _Ideal(), Report(self.repair)
        for block, times_s in self._timed(report):
            count = int(np.searchsorted(times_s, self.horizon_s))
            num_requests += count
            prompt_tokens += int(block.prompt_tokens[:count].sum())
            output_tokens += int(block.output_tokens[:count].sum())
            ideal.add(block.take(slice(count)))
        volume = Volume(
            self.traffic_class.name,
            self.traffic_class.tier,
            conversations=num_requests,
            requests=num_requests,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            user_tokens=prompt_tokens,
        )
        kind = format_of(self.path, self.trace_format).name
        inputs: dict[str, Any] = {"path": str(self.path), "format": kind, "rate_scale": self.rate_scale}
        if ideal.said:
            inputs["ideal_prefix_hit_frac"] = ideal.hit_tokens / max(prompt_tokens, 1)
        inputs |= {
            name: counts for name, counts in report.to_dict().items() if name in {"repairs", "left_out"} and counts
        }
        return described("trace", [volume], None, **inputs)

    def chunks(self) -> Iterator[Chunk]:
        """Requests, in the order of the file."""
        num_rows = 0
        for block, times_s in self._timed(Report(self.repair)):
            block = block.take(slice(int(np.searchsorted(times_s, self.horizon_s))))
            rows = np.zeros(len(block), dtype=ARRIVAL)
            rows["t_s"] = times_s[: len(rows)]
            rows["user"] = np.arange(num_rows, num_rows + len(rows))
            rows["num_turns"] = 1
            rows["user_tokens"] = block.prompt_tokens
            rows["output_tokens"] = block.output_tokens
            rows["bucket"] = 0 if len(self.buckets) else -1
            rows["num_segments"], segments = block_segments(block, rows["user"])
            yield from in_chunks(rows, segments)
            num_rows += len(rows)
            if len(rows) < len(times_s):
                return

    def _timed(self, report: Report) -> Iterator[tuple[TraceBlock, NDArray[np.float64]]]:
        """Blocks with the times of their requests on the simulation's clock [s]."""
        start_ns = round(self.start_s * 1e9)
        for block in played(self.path, self.trace_format, self.options, self.operations, report):
            since_ns = np.rint(block.time_ns / self.rate_scale).astype(np.int64)
            yield block, (since_ns + start_ns) / 1e9
