"""What a trace's prompts could reuse of earlier prompts.

A prompt is cut into blocks, and a block is known by all the text up to its end, so it can be reused only where the
whole prefix is the same. The hit of a prompt is its leading blocks that the cache holds when it comes; at once the
cache holds all of its blocks. Outputs are not held (a trace's next prompt repeats them), and nothing waits for an
engine: in a fleet, hits come out a little different.
"""

from collections import OrderedDict
from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws


class Unlimited:
    """Holds every block for ever."""

    def __init__(self) -> None:
        self._held: set[int] = set()

    def use(self, blocks: Sequence[int]) -> int:
        """How many leading blocks are held; then all of them are."""
        hits = _leading(blocks, self._held)
        self._held.update(blocks)
        return hits


class LeastRecentlyUsed:
    """Holds the `num_blocks` blocks that were used last; a prompt's last block is the first of its blocks to go."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks
        self._held: OrderedDict[int, None] = OrderedDict()

    def use(self, blocks: Sequence[int]) -> int:
        """How many leading blocks are held; then all of them are, as far as there is room."""
        held = self._held
        hits = _leading(blocks, held)
        for block in reversed(blocks):
            held[block] = None
            held.move_to_end(block)
        while len(held) > self._num_blocks:
            held.popitem(last=False)
        return hits


def _leading(blocks: Sequence[int], held: Container[int]) -> int:
    return next((n for n, block in enumerate(blocks) if block not in held), len(blocks))


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
