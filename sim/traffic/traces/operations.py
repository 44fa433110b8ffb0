"""What can be done to a trace: each a function over its blocks, in order of time, that holds one block at a time.

Times are those of the blocks, so `relative` comes first where they should count from a trace's first request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.errors import TraceError
from sim.traffic import draws
from sim.traffic.traces.block import TraceBlock, joined
from sim.traffic.traces.hashing import text_words

Blocks: TypeAlias = Iterable[TraceBlock]


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def relative(blocks: Blocks) -> Iterator[TraceBlock]:
    """Times counted from the first request."""
    first_ns: int | None = None
    for block in blocks:
        if len(block):
            first_ns = int(block.time_ns[0]) if first_ns is None else first_ns
            yield block.at(block.time_ns - first_ns)


def scale(blocks: Blocks, rate: float) -> Iterator[TraceBlock]:
    """Requests come `rate` times as fast: times from 0 on are divided by it."""
    for block in blocks:
        yield block.at(np.rint(block.time_ns / rate).astype(np.int64))


def shift(blocks: Blocks, by_s: float) -> Iterator[TraceBlock]:
    """Requests come later by `by_s` (or earlier, where it is negative)."""
    for block in blocks:
        yield block.at(block.time_ns + _ns(by_s))


def cut(blocks: Blocks, from_s: float, to_s: float) -> Iterator[TraceBlock]:
    """Requests of [from_s, to_s), counted from `from_s` on."""
    from_ns = _ns(from_s)
    to_ns = _ns(min(to_s, 2**62 / 1e9))
    for block in blocks:
        begin, end = np.searchsorted(block.time_ns, [from_ns, to_ns])
        if begin < end:
            part = block.take(slice(int(begin), int(end)))
            yield part.at(part.time_ns - from_ns)
        if end < len(block):
            return


def thin(blocks: Blocks, frac: float, seed: int) -> Iterator[TraceBlock]:
    """A fraction of the requests, drawn by session where there is one, else by the request's number.

    A session stays or goes as a whole, and a larger fraction keeps all that a smaller one does.
    """
    key = draws.key(seed, draws.THIN)
    num_rows = 0
    for block in blocks:
        word = np.arange(num_rows, num_rows + len(block), dtype=np.uint64)
        num_rows += len(block)
        named = np.zeros(len(block), dtype=np.uint64)
        if block.session is not None:
            known = block.session != ""
            word[known] = text_words(block.session[known])
            named[known] = 1
        kept = draws.uniform(draws.bits(key, word, named, np.uint64(0))) < frac
        if kept.any():
            yield block.take(kept)


def splice(*traces: Blocks, gap_s: float = 0.0) -> Iterator[TraceBlock]:
    """Traces one after the other: each begins `gap_s` after the last request of the one before."""
    end_ns: int | None = None
    for number, trace in enumerate(traces):
        later_ns: int | None = None if end_ns is not None else 0
        for block in apart(trace, number):
            if not len(block):
                continue
            if later_ns is None:
                later_ns = (end_ns or 0) + _ns(gap_s) - int(block.time_ns[0])
            moved = block.at(block.time_ns + later_ns)
            end_ns = int(moved.time_ns[-1])
            yield moved


def merge(*traces: Blocks) -> Iterator[TraceBlock]:
    """Traces at the same time, each on its own clock; of equal times, the trace named first goes first."""
    streams = [iter(apart(trace, number)) for number, trace in enumerate(traces)]
    held: list[TraceBlock | None] = [_next(stream) for stream in streams]
    sizes: set[int] = set()
    while any(block is not None for block in held):
        # Whatever is held up to the earliest of the blocks' ends can go: nothing can come before it any more. Of that
        # very time, more of the same trace may come, so the traces named after it wait.
        until_ns, first = min((int(block.time_ns[-1]), k) for k, block in enumerate(held) if block is not None)
        ready = []
        for number, block in enumerate(held):
            if block is None:
                continue
            end = int(np.searchsorted(block.time_ns, until_ns, side="right" if number <= first else "left"))
            ready.append(block.take(slice(end)))
            held[number] = block.take(slice(end, None)) if end < len(block) else _next(streams[number])
        sizes |= {block.block_tokens for block in ready if block.hash_ids}
        if len(sizes) > 1:
            raise TraceError(f"traces with hash ids of {' and '.join(map(str, sorted(sizes)))} tokens cannot be merged")
        whole = joined([block for block in ready if len(block)])
        yield whole.take(np.argsort(whole.time_ns, kind="stable"))


def _next(stream: Iterator[TraceBlock]) -> TraceBlock | None:
    return next((block for block in stream if len(block)), None)


def apart(blocks: Blocks, number: int) -> Iterator[TraceBlock]:
    """Names and hash ids that mean something else than those of other traces; trace 0 keeps its own."""
    for block in blocks:
        if number == 0:
            yield block
            continue
        named: dict[str, Any] = {
            name: _prefixed(getattr(block, name), number)
            for name in ("user", "session", "prefix")
            if getattr(block, name) is not None
        }
        yield replace(block, **named, hash_ids=[_moved(ids, number) for ids in block.hash_ids])


def _prefixed(names: NDArray[np.object_], number: int) -> NDArray[np.object_]:
    made = np.empty(len(names), dtype=object)
    made[:] = [f"{number}:{name}" if name else "" for name in names.tolist()]
    return made


def _moved(ids: list[int], number: int) -> list[int]:
    """Ids as words of 63 bits that those of another trace meet by chance only."""
    words = np.add(np.array(ids, dtype=np.uint64), np.multiply(np.uint64(number), draws.GOLDEN))
    moved: list[int] = (draws.mix(words) >> np.uint64(1)).tolist()
    return moved
