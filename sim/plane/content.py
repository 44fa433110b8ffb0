"""What a request's blocks say: two blocks are equal if and only if their content ids, and all before them, are.

A text is a row of stretches: the shared prefix, older stretches (an arrival's segments, or what a conversation said
before its last new beginning), and the request's own stream, which has no end. The token at position x of a stretch
with key K that begins at S is (K, x - S). So a block at a given place is told by the (K, S) of the stretches that
touch it, and all blocks that lie wholly in one stretch have one id.

A walk over the stretches is four numbers: key, start and end of the present one, and the older stretch that follows it
(-1: the own stream).
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.tables import stretch_at, u8_at
from sim.traffic import draws

ENDLESS = 1 << 40
"""End of the own stream [tokens]."""
NOTHING = np.uint64(0)
GOLDEN = draws.GOLDEN

mix = jit(draws.mix)


@jit
def first_stretch(p, q):
    """The walk at the beginning of a request's text."""
    if q.prefix > 0:
        return u8_at(p.group_keys, q.group).v, np.int64(0), np.int64(q.prefix), np.int64(q.segments)
    return next_stretch(p, q, 0, q.segments)


@jit
def next_stretch(p, q, end, following):
    """The walk one stretch on from one that ends at `end`."""
    if following >= 0:
        x = stretch_at(p.stretches, following)
        return x.key, np.int64(end), np.int64(x.end), np.int64(x.next)
    return q.stream, np.int64(q.own_from), np.int64(ENDLESS), np.int64(-1)


@jit
def fold(word, key, start):
    """The content id that goes on from `word` with one more stretch."""
    word = mix(np.add(word, key))
    return mix(np.add(word, np.multiply(np.uint64(start), GOLDEN)))


@jit
def run_at(p, q, size, block, key, start, end, following):
    """Blocks from `block` on that one stretch ends: (id of the first, id of the rest, number of the block after them).

    With them the walk, moved to that stretch. Only the first of the blocks may be touched by several stretches.
    """
    while end <= block * size:
        key, start, end, following = next_stretch(p, q, end, following)
    first = fold(NOTHING, key, start)
    last = first
    while end < (block + 1) * size:
        key, start, end, following = next_stretch(p, q, end, following)
        if end > start:  # an empty stretch touches nothing
            first = fold(first, key, start)
            last = fold(NOTHING, key, start)
    return first, last, end // size, key, start, end, following
