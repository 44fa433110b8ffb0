"""From extents to blocks: what extents cannot tell is told block by block from then on, exactly.

The free queue keeps its order, the index its entries and their order, every request its blocks.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.blockwise import FIRST_HASH, give_rows, hash_after, put_below, put_in_index
from sim.plane.compiled import jit
from sim.plane.extent_rows import COPY, length_of, remove, set_length, unlink, used_by
from sim.plane.extents import is_live
from sim.plane.health import keep_seized
from sim.plane.queues import next_holder
from sim.plane.sequence import held_blocks, live_blocks
from sim.plane.tables import block_at, extent_at, request_at


@jit
def fall_back(p, pool, s, slot):
    """Turn a replica's extents into blocks. Whoever holds blocks is in `running`, or waits with loads, or is `slot`."""
    b = give_rows(p, pool, s)

    # Blocks with a hash. Every extent is in the queue, or the leaf of a request, or before such a one.
    e = np.int64(s.lru_head)
    while e >= 0:
        b = settle(p, pool, s, e, b)
        e = np.int64(extent_at(p.extents, e).newer)
    b = settle(p, pool, s, np.int64(request_at(p.requests, slot).leaf), b)
    other = np.int64(s.run_head)
    while other >= 0:
        b = settle(p, pool, s, np.int64(request_at(p.requests, other).leaf), b)
        other = np.int64(request_at(p.requests, other).next)
    other = next_holder(p, pool, s, -1)
    while other >= 0:
        b = settle(p, pool, s, np.int64(request_at(p.requests, other).leaf), b)
        other = next_holder(p, pool, s, other)
    num_hashes = s.num_hashes

    # The free queue. Extents go in its order, so that what continues one goes before it.
    first, last = b, np.int64(-1)
    for _ in range(s.free):
        last = queue_after(p, last, b)
        b += 1
    while s.lru_head >= 0:
        e = np.int64(s.lru_head)
        x = extent_at(p.extents, e)
        for i in range(x.length - 1, -1, -1):
            if last < 0:
                first = x.block + i
            last = queue_after(p, last, x.block + i)
        unlink(p, s, e)
        remove(p, s, e)

    # Block tables
    b = turn_into_blocks(p, pool, s, slot, b)
    other = np.int64(s.run_head)
    while other >= 0:
        if other != slot:
            b = turn_into_blocks(p, pool, s, other, b)
        other = np.int64(request_at(p.requests, other).next)
    other = next_holder(p, pool, s, -1)
    while other >= 0:
        if other != slot:
            b = turn_into_blocks(p, pool, s, other, b)
        other = next_holder(p, pool, s, other)

    if p.has_faults == 1:
        keep_seized(p, s, b)
    s.lru_head = first if last >= 0 else -1
    s.lru_tail = last
    s.num_hashes = num_hashes
    s.by_blocks = 1
    p.num_fallbacks += 1


@jit
def settle(p, pool, s, e, b):
    """Give block rows from `b` on to an extent, its copies and what is before it; returns the row after them."""
    if e >= 0 and extent_at(p.extents, e).num_children == COPY:
        e = np.int64(extent_at(p.extents, e).parent)
    while e >= 0 and extent_at(p.extents, e).block < 0:
        top = e  # of those without rows the one nearest to the root
        parent = np.int64(extent_at(p.extents, e).parent)
        while parent >= 0 and extent_at(p.extents, parent).block < 0:
            top = parent
            parent = np.int64(extent_at(p.extents, top).parent)
        before = FIRST_HASH
        if parent >= 0:
            y = extent_at(p.extents, parent)
            before = block_at(p.blocks, y.block + y.length - 1).hash
        x = extent_at(p.extents, top)
        set_length(s, x, length_of(p, pool, s, x))
        c = top
        while c >= 0:
            y = extent_at(p.extents, c)
            y.block = b
            word, content = before, x.first
            for _ in range(x.length):
                word = hash_after(word, content)
                content = x.last
                block_at(p.blocks, b).num_users = y.num_users
                put_in_index(p, pool, s, b, word)
                b += 1
            c = np.int64(y.copies)
    return b


@jit
def queue_after(p, last, b):
    """Put a block at the end of the free queue that is being made; returns it, the new end."""
    x = block_at(p.blocks, b)
    x.older, x.newer = last, -1
    if last >= 0:
        block_at(p.blocks, last).newer = b
    return np.int64(b)


@jit
def turn_into_blocks(p, pool, s, slot, b):
    """Give a request a block table in place of its leaf; `b` is the first unused row. Returns the first one then."""
    q = request_at(p.requests, slot)
    if is_live(p, slot):
        num_blocks = held_blocks(p, pool, s, q)
        q.published = live_blocks(p, pool, s, q)
        q.num_blocks = num_blocks
    e = np.int64(q.leaf)
    q.leaf = -1
    entry = np.int64(-1)
    for _ in range(q.num_blocks - q.published):
        block_at(p.blocks, b).num_users = 1
        entry = put_below(p, q, entry, b)
        b += 1
    while e >= 0:
        parent = np.int64(extent_at(p.extents, e).parent)
        c = used_by(p, e, slot)
        x = extent_at(p.extents, c)
        for i in range(x.length - 1, -1, -1):
            entry = put_below(p, q, entry, x.block + i)
        x.num_users -= 1
        if x.num_users == 0:  # all its users are turned, and so are those of what continues it
            remove(p, s, c)
        e = parent
    return b
