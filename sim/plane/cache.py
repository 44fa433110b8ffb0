"""The prefix cache of a replica, as the scheduler sees it: by extents, or by blocks where `s.by_blocks` says so.

A replica by extents falls back to blocks (`fallback.py`), exactly and until it goes off, before anything happens that
extents cannot tell. The results are the same either way.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane import blockwise, extents
from sim.plane.compiled import jit
from sim.plane.extent_rows import length_of
from sim.plane.fallback import fall_back
from sim.plane.tables import extent_at, request_at, room_at

NUM_ROOMS = 4


@jit
def cache_is_full(p):
    """Whether the end of a step could need more rows than are there."""
    for i in range(NUM_ROOMS):
        room = room_at(p.rooms, i)
        if room.rows - room.used + room.spare < room.slack:
            return True
    return False


@jit
def num_free(s):
    """Blocks that can be taken: those without a hash, and cached ones that nobody uses."""
    return s.free + s.evictable


@jit
def find_hits(p, pool, s, slot, num_tokens):
    """Leading cached blocks of a request of `num_tokens`, and how many of them nobody uses. Changes nothing."""
    if pool.caching == 0:
        return np.int64(0), np.int64(0)
    if s.by_blocks == 1:
        return blockwise.find_hits(p, pool, s, slot, num_tokens)
    return extents.find_hits(p, pool, s, slot, num_tokens)


@jit
def hold_hits(p, pool, s, slot, hits):
    """Let a request use the blocks that `find_hits` has just found; it holds no other."""
    if s.by_blocks == 1:
        blockwise.hold_hits(p, pool, s, slot, hits)
    else:
        extents.hold_hits(p, pool, s, slot, hits)


@jit
def extend(p, pool, s, slot, num_tokens, num_delivered):
    """Take the blocks that a request lacks for `num_tokens` (they fit); publish those that delivered tokens fill."""
    if s.by_blocks == 0:
        if extents.extend(p, pool, s, slot, num_tokens, num_delivered):
            return
        fall_back(p, pool, s, slot)
    blockwise.extend(p, pool, s, slot, num_tokens, num_delivered)


@jit
def take(p, pool, s, n):
    """Take n blocks for decoding requests that are handled as totals. By extents only."""
    extents.take(p, s, n)


@jit
def open_stream(p, pool, s, slot):
    """A request begins to decode: from now on its blocks are published as `live_blocks` says. By extents only."""
    if s.by_blocks == 0 and not extents.open_stream(p, pool, s, slot):
        fall_back(p, pool, s, slot)


@jit
def close_stream(p, pool, s, slot, num_blocks, full_blocks):
    """A request stops decoding with `num_blocks` blocks, of which the first `full_blocks` are published."""
    if s.by_blocks == 0:
        extents.close_stream(p, pool, s, slot, num_blocks, full_blocks)


@jit
def let_find(p, s, slot):
    """A request is going to look for its own text, which perhaps nobody could find so far."""
    if s.by_blocks == 0:
        extents.let_find(p, slot)


@jit
def release(p, pool, s, slot):
    """Give back all blocks of a request that does not decode (any more)."""
    if s.by_blocks == 1:
        blockwise.release(p, pool, s, slot)
    else:
        extents.release(p, s, slot)


@jit
def forget(p, pool, s):
    """Empty the cache of a replica at which nobody holds a block."""
    if s.by_blocks == 0:
        extents.forget(p, pool, s)
    elif pool.by_blocks == 1:
        blockwise.begin(p, pool, s)
    else:
        s.free, s.evictable, s.num_hashes = pool.usable, 0, 0
        s.lru_head = s.lru_tail = -1
        s.by_blocks = 0


@jit
def num_indexed(p, pool, s):
    """Distinct hashes in the index, those of live extents included."""
    n = np.int64(s.num_hashes)
    if s.by_blocks == 1 or pool.caching == 0:
        return n
    slot = np.int64(s.run_head)
    while slot >= 0:
        q = request_at(p.requests, slot)
        if extents.is_live(p, slot):
            x = extent_at(p.extents, q.leaf)
            n += length_of(p, pool, s, x) - x.length
        slot = np.int64(q.next)
    return n
