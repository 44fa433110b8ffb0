"""The prefix cache of a replica, as the scheduler sees it: by extents, or by blocks where `s.by_blocks` says so.

A replica by extents falls back to blocks, exactly and for good, before anything happens that extents cannot tell. The
results are the same either way.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane import blockwise, extents
from sim.plane.compiled import jit
from sim.plane.sequence import held_blocks, live_blocks
from sim.plane.tables import block_at, extent_at, request_at, room_at

NUM_ROOMS = 4


@jit
def cache_is_full(p):
    """Whether the next event could need more rows than are there."""
    if p.num_free_stretches < p.stretch_slack:
        return True
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
    """Take the blocks that a request lacks for `num_tokens` (they fit), and publish those that delivered tokens fill."""
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
        extents.forget(p, s)
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
            n += extents.length_of(p, pool, s, x) - x.length
        slot = np.int64(q.next)
    return n


# ------------------------------------------------------------------ from extents to blocks


@jit
def settle(p, pool, s, e, b):
    """Give an extent, and what is before it, the block rows from `b` on, hash by hash; returns the row after them."""
    while e >= 0 and extent_at(p.extents, e).block < 0:
        top = e
        parent = np.int64(extent_at(p.extents, e).parent)
        while parent >= 0 and extent_at(p.extents, parent).block < 0:
            top = parent
            parent = np.int64(extent_at(p.extents, top).parent)
        x = extent_at(p.extents, top)
        word = blockwise.FIRST_HASH
        if parent >= 0:
            y = extent_at(p.extents, parent)
            word = block_at(p.blocks, np.int64(y.block) + y.length - 1).hash
        extents.set_length(s, x, extents.length_of(p, pool, s, x))
        x.block = b
        content = x.first
        for _ in range(x.length):
            word = blockwise.hash_after(word, content)
            block_at(p.blocks, b).num_users = x.num_users
            blockwise.publish_block(p, pool, s, b, word)
            content = x.last
            b += 1
    return b


@jit
def turn_into_blocks(p, pool, s, slot, b):
    """Give a request a block table in place of its leaf; `b` is the first unused row. Returns the first one then."""
    q = request_at(p.requests, slot)
    if extents.is_live(p, slot):
        num_blocks = held_blocks(p, pool, s, q)
        q.published = live_blocks(p, pool, s, q)
        q.num_blocks = num_blocks
    e = np.int64(q.leaf)
    q.leaf = -1
    entry = np.int64(-1)
    for _ in range(q.num_blocks - q.published):
        block_at(p.blocks, b).num_users = 1
        entry = blockwise.put_below(p, q, entry, b)
        b += 1
    while e >= 0:
        x = extent_at(p.extents, e)
        for i in range(x.length - 1, -1, -1):
            entry = blockwise.put_below(p, q, entry, x.block + i)
        parent = np.int64(x.parent)
        x.num_users -= 1
        if x.num_users == 0:  # all its users are turned, and so are those of what continues it
            extents.drop(p, s, e)
        e = parent
    return b


@jit
def fall_back(p, pool, s, slot):
    """Turn a replica's extents into blocks. Whoever holds blocks is in `running`, or is `slot`."""
    oldest = np.int64(s.lru_head)
    b = blockwise.give_rows(p, pool, s)

    # blocks with a hash: every extent is unused, or the leaf of a request, or before such a one
    e = oldest
    while e >= 0:
        b = settle(p, pool, s, e, b)
        e = np.int64(extent_at(p.extents, e).newer)
    b = settle(p, pool, s, np.int64(request_at(p.requests, slot).leaf), b)
    other = np.int64(s.run_head)
    while other >= 0:
        b = settle(p, pool, s, np.int64(request_at(p.requests, other).leaf), b)
        other = np.int64(request_at(p.requests, other).next)
    num_hashes = b - s.block_base  # no two are equal

    # the free queue
    for _ in range(s.free):
        blockwise.link(p, s, b, np.int64(s.lru_tail))
        b += 1
    e = oldest
    while e >= 0:
        x = extent_at(p.extents, e)
        for i in range(x.length - 1, -1, -1):
            blockwise.link(p, s, x.block + i, np.int64(s.lru_tail))
        newer = np.int64(x.newer)
        extents.drop(p, s, e)
        e = newer

    # block tables
    b = turn_into_blocks(p, pool, s, slot, b)
    other = np.int64(s.run_head)
    while other >= 0:
        if other != slot:
            b = turn_into_blocks(p, pool, s, other, b)
        other = np.int64(request_at(p.requests, other).next)
    s.num_hashes = num_hashes
    s.by_blocks = 1
    p.num_fallbacks += 1
