"""What a trace's prompts could reuse of earlier prompts: the plain reference that a simulated cache is held against.

A prompt is cut into blocks, and a block is known by all the text up to its end, so it can be reused only where the
whole prefix is the same. The hit of a prompt is its leading blocks that the cache holds when it comes; at once the
cache holds all of its blocks. Outputs are not held (a trace's next prompt repeats them), and nothing waits for an
engine: in a fleet, hits come out a little different.
"""

from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import Chunk

_ROWS = 256  # prompts cut into blocks at once


class Cache(Protocol):
    """A rule of what is held, and for how long."""

    def use(self, t_s: float, blocks: Sequence[int]) -> int:
        """How many leading blocks are held at a time, which never decreases; then all of them are."""


class Unlimited:
    """Holds every block for ever."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def use(self, t_s: float, blocks: Sequence[int]) -> int:  # noqa: ARG002  (time does not matter here)
        """See Cache."""
        hits = _leading(blocks, self._held)
        self._held.update(blocks)
        return hits


class LeastRecentlyUsed:
    """Holds the `num_blocks` blocks that were used last; a prompt's last block is the first of its blocks to go."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._held: OrderedDict[int, None] = OrderedDict()

    def use(self, t_s: float, blocks: Sequence[int]) -> int:  # noqa: ARG002  (only order matters here)
        """See Cache."""
        held = self._held
        hits = _leading(blocks, held)
        for block in reversed(blocks):
            held[block] = None
            held.move_to_end(block)
        while len(held) > self._num_blocks:
            held.popitem(last=False)
        return hits


class TimeToLive:
    """Holds a block for `ttl_s` seconds after its last use."""

    def __init__(self, ttl_s: float) -> None:
        self._ttl_s = ttl_s
        self._used_s: OrderedDict[int, float] = OrderedDict()

    def use(self, t_s: float, blocks: Sequence[int]) -> int:
        """See Cache."""
        used_s = self._used_s
        while used_s and t_s - next(iter(used_s.values())) > self._ttl_s:
            used_s.popitem(last=False)
        hits = _leading(blocks, used_s)
        for block in blocks:
            used_s[block] = t_s
            used_s.move_to_end(block)
        return hits


def _leading(blocks: Sequence[int], held: Container[int]) -> int:
    return next((n for n, block in enumerate(blocks) if block not in held), len(blocks))


@dataclass
class Reuse:
    """What was reused, in tokens and in blocks."""

    prompt_tokens: int = 0
    hit_tokens: int = 0
    num_blocks: int = 0
    hit_blocks: int = 0

    @property
    def token_frac(self) -> float:
        """Share of the prompts' tokens that were reused."""
        return self.hit_tokens / max(self.prompt_tokens, 1)

    @property
    def block_frac(self) -> float:
        """Share of the prompts' blocks that were reused."""
        return self.hit_blocks / max(self.num_blocks, 1)


def reuse(
    chunks: Iterable[Chunk], cache: Cache, block_size: int, *, partial: bool = False, compute_last: bool = False
) -> Reuse:
    """Play prompts against a cache.

    Parameters
    ----------
    chunks
        Arrivals of one turn each; a row without segments has a text of its own.
    cache
        Empty at the start.
    block_size
        [tokens]
    partial
        Count a prompt's last block also where the prompt does not fill it, as published figures of traces with 512
        tokens a block do: it equals a block that begins alike.
    compute_last
        Never reuse a prompt's last token, so that there is something to compute: vLLM's rule.
    """
    found = Reuse()
    for t_s, tokens, blocks in prompts(chunks, block_size):
        used = blocks if partial else blocks[: tokens // block_size]
        hits = cache.use(t_s, used)
        if compute_last:
            hits = min(hits, (tokens - 1) // block_size)
        found.prompt_tokens += tokens
        found.hit_tokens += min(hits * block_size, tokens)
        found.num_blocks += len(used)
        found.hit_blocks += hits
    return found


def prompts(chunks: Iterable[Chunk], block_size: int) -> Iterator[tuple[float, int, list[int]]]:
    """Time [s], tokens and blocks of each prompt; the last block may not be full."""
    for rows, segments in chunks:
        for begin in range(0, len(rows), _ROWS):
            part = rows[begin : begin + _ROWS]
            num_segments = int(part["num_segments"].sum())
            blocks, num_blocks = blocks_of(part, segments[:num_segments], block_size)
            segments = segments[num_segments:]
            at = 0
            for t_s, tokens, count in zip(part["t_s"], part["user_tokens"], num_blocks, strict=True):
                yield float(t_s), int(tokens), blocks[at : at + count].tolist()
                at += count


def blocks_of(
    rows: NDArray[np.void], segments: NDArray[np.void], block_size: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Blocks of all rows, one row's after the other's, and how many each row has."""
    keys, tokens, row = _stretches(rows, segments)
    # Where a stretch begins in its prompt.
    start = np.cumsum(tokens) - tokens
    first_of_row = np.searchsorted(row, np.arange(len(rows)))
    start -= start[first_of_row][row]
    # Stretches are cut where blocks end. A piece is known by what it says (key, offset) and where it stands; the sum of
    # such words up to a block's end tells its whole prefix.
    num_pieces = (start + tokens - 1) // block_size - start // block_size + 1
    of = np.repeat(np.arange(len(tokens)), num_pieces)
    block = np.arange(len(of)) - np.repeat(np.cumsum(num_pieces) - num_pieces, num_pieces) + start[of] // block_size
    at = np.maximum(start[of], block * block_size)
    content = draws.mix(keys[of] + (at - start[of]).astype(np.uint64) * draws.GOLDEN)
    words = draws.mix(content + at.astype(np.uint64) * draws.GOLDEN)
    total, piece_row = np.cumsum(words), row[of]
    first_of_row = np.searchsorted(piece_row, np.arange(len(rows)))
    total -= (total[first_of_row] - words[first_of_row])[piece_row]
    last = np.append((np.diff(block) != 0) | (np.diff(piece_row) != 0), True)
    return total[last], np.bincount(piece_row[last])


def _stretches(
    rows: NDArray[np.void], segments: NDArray[np.void]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Key, tokens and row of every stretch of text; one of its own for a row without segments."""
    num = np.maximum(rows["num_segments"], 1)
    row = np.repeat(np.arange(len(rows)), num)
    described = rows["num_segments"][row] > 0
    user, conversation = rows["user"].astype(np.uint64), rows["conversation"].astype(np.uint64)
    keys = draws.bits(draws.key(0, draws.CONTENT), user, conversation, np.uint64(0))[row]
    tokens = rows["user_tokens"][row].astype(np.int64)
    keys[described], tokens[described] = segments["key"], segments["tokens"]
    return keys, tokens, row
