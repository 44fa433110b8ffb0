"""The prefix cache of a replica by extents: what requests do. How extents work is told in `extent_rows.py`.

A decoding request's own leaf is live: its length follows from the step, and nothing is written while it grows. So a
block that a live leaf will publish later must not be published by anybody else, nor a leaf become live whose next block
is there already: before that, the replica goes over to blocks (`fallback.py`).
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import first_stretch, run_at
from sim.plane.extent_rows import (
    UNLISTED,
    add,
    add_copy,
    append,
    drop,
    evict,
    find_child,
    last_copy,
    length_of,
    put_in_bucket,
    set_length,
    split,
    unlink,
    used_by,
)
from sim.plane.sequence import blocks_for
from sim.plane.tables import extent_at, f8_at, request_at


@jit
def root_of(q):
    """Parent of the first extents of a request's replica."""
    return -(np.int64(q.replica) + 2)


@jit
def take(p, s, n):
    """Take n blocks that the caller knows to be free: those without a hash, then the tail of what is oldest."""
    while n > s.free:
        k = evict(p, s, n - s.free)
        s.free += k
        s.evictable -= k
    s.free -= n


@jit
def find_hits(p, pool, s, slot, num_tokens):
    """Leading cached blocks of a request's text but for its last token, and how many of them nobody uses.

    The extent in which they end is noted as the request's leaf.
    """
    q = request_at(p.requests, slot)
    s.near_live = 0
    most = (num_tokens - 1) // pool.block_size
    hits = idle = upto = np.int64(0)
    first = last = np.uint64(0)
    leaf = root_of(q)
    key, start, end, following = first_stretch(p, q)
    while hits < most:
        if hits == upto:
            if q.is_new == 1 and touches_own(q, hits, pool.block_size):
                break
            first, last, upto, key, start, end, following = run_at(
                p, q, pool.block_size, hits, key, start, end, following
            )
        e = find_child(p, leaf, first)
        if e < 0:
            break
        x = extent_at(p.extents, e)
        length = length_of(p, pool, s, x)
        if x.owner >= 0:
            s.near_live = 1
        n = min(length, min(upto, most) - hits)
        if n == 0:  # a live leaf without blocks so far
            break
        hits += n
        leaf = e
        if x.num_users == 0:
            idle += n
        if n < length:
            break
        first = last  # where the run goes on below another extent
    q.leaf = leaf
    return hits, idle


@jit
def hold_hits(p, pool, s, slot, hits):
    """Use the blocks that `find_hits` has just found."""
    q = request_at(p.requests, slot)
    q.num_blocks = q.published = hits
    if hits == 0:
        q.leaf = -1
        return
    x = extent_at(p.extents, q.leaf)
    if x.owner >= 0:
        set_length(s, x, length_of(p, pool, s, x))
        q.leaf = split(p, s, q.leaf, hits - x.start)  # what the owner adds is not ours, even if it is nothing yet
    elif hits < x.start + x.length:
        q.leaf = split(p, s, q.leaf, hits - x.start)
    e = q.leaf
    while e >= 0:
        x = extent_at(p.extents, e)
        if x.num_users == 0:
            unlink(p, s, e)
            s.evictable -= x.length
        x.num_users += 1
        e = x.parent


@jit
def touches_own(q, block, size):
    """Whether a block has tokens of a request's own stream."""
    return (block + 1) * size > q.own_from


@jit
def can_grow(x, first):
    """Whether a request's leaf is its alone, and goes on with that content."""
    return x.num_users == 1 and x.num_children == 0 and x.copies < 0 and x.last == first


@jit
def is_alone_in_own(p, q, size):
    """The same where the leaf has reached the request's own stream, which goes on for ever."""
    if q.published == 0 or q.published * size <= q.own_from:
        return False
    x = extent_at(p.extents, q.leaf)
    return x.num_users == 1 and x.num_children == 0 and x.copies < 0


@jit
def extend(p, pool, s, slot, num_tokens, num_delivered):
    """Hold blocks for `num_tokens`, publish those that delivered tokens fill; false if a live leaf has one of them."""
    q = request_at(p.requests, slot)
    size = pool.block_size
    blocks = blocks_for(num_tokens, size)
    if blocks > q.num_blocks:
        take(p, s, blocks - q.num_blocks)
        q.num_blocks = blocks
    full = min(num_tokens, num_delivered) // size
    if pool.caching == 0 or full <= q.published:
        return True
    if is_alone_in_own(p, q, size):
        x = extent_at(p.extents, q.leaf)
        set_length(s, x, x.length + full - q.published)
        q.published = full
        return True
    key, start, end, following = first_stretch(p, q)
    while q.published < full:
        at = np.int64(q.published)
        first, last, upto, key, start, end, following = run_at(p, q, size, at, key, start, end, following)
        n = min(upto, full) - at
        leaf = root_of(q) if at == 0 else np.int64(q.leaf)
        if leaf >= 0 and can_grow(extent_at(p.extents, leaf), first):
            x = extent_at(p.extents, leaf)
            set_length(s, x, x.length + n)
        else:
            is_new = q.is_new == 1 and touches_own(q, at, size)
            e = np.int64(-1) if is_new else find_child(p, leaf, first)
            if e < 0:
                q.leaf = add(p, s, leaf, first, last, at, n, np.int64(is_new and q.is_private == 1))
            else:
                x = extent_at(p.extents, e)
                if x.owner >= 0:
                    return False
                if n < x.length:
                    e = split(p, s, e, n)
                n = np.int64(extent_at(p.extents, e).length)
                add_copy(p, e, last_copy(p, e), n, 1, slot)
                q.leaf = e
        q.published = at + n
    return True


@jit
def open_stream(p, pool, s, slot):
    """Make the leaf of a request that begins to decode live; false if its next block is there already.

    Its prompt is published as far as it fills blocks, so what comes is all of the own stream.
    """
    q = request_at(p.requests, slot)
    if pool.caching == 0:
        return True
    if is_alone_in_own(p, q, pool.block_size):
        extent_at(p.extents, q.leaf).owner = slot
        return True
    at = np.int64(q.published)
    leaf = root_of(q) if at == 0 else np.int64(q.leaf)
    first, last, _, _, _, _, _ = run_at(p, q, pool.block_size, at, *first_stretch(p, q))
    if leaf < 0 or not can_grow(extent_at(p.extents, leaf), first):
        if q.is_new == 0 and find_child(p, leaf, first) >= 0:
            return False
        q.leaf = add(p, s, leaf, first, last, at, 0, q.is_private)
    extent_at(p.extents, q.leaf).owner = slot
    return True


@jit
def let_find(p, slot):
    """A request is going to look for its own text: let all that it holds be found."""
    q = request_at(p.requests, slot)
    q.is_new = q.is_private = 0
    e = np.int64(q.leaf)
    while e >= 0:
        x = extent_at(p.extents, e)
        if x.chained == UNLISTED:
            put_in_bucket(p, e)
        e = np.int64(x.parent)


@jit
def is_live(p, slot):
    """Whether a request's leaf is live."""
    q = request_at(p.requests, slot)
    return q.leaf >= 0 and extent_at(p.extents, q.leaf).owner == slot


@jit
def close_stream(p, pool, s, slot, num_blocks, full_blocks):
    """Write down what a decoding request holds and has published."""
    q = request_at(p.requests, slot)
    q.num_blocks = num_blocks
    if not is_live(p, slot):  # caching is off
        return
    q.published = full_blocks
    e = np.int64(q.leaf)
    x = extent_at(p.extents, e)
    x.owner = -1
    set_length(s, x, full_blocks - x.start)
    if x.length == 0:
        q.leaf = x.parent
        drop(p, s, e)


@jit
def release(p, s, slot):
    """Give a request's blocks back: plain free those without a hash, to the queue the others, tail first."""
    q = request_at(p.requests, slot)
    s.free += q.num_blocks - q.published
    e = np.int64(q.leaf) if q.published > 0 else np.int64(-1)
    while e >= 0:
        parent = np.int64(extent_at(p.extents, e).parent)
        c = used_by(p, e, slot)
        x = extent_at(p.extents, c)
        x.num_users -= 1
        if c != e:
            x.owner = -1
        if x.num_users == 0:
            append(p, s, c)
        e = parent
    q.num_blocks = q.published = 0
    q.leaf = -1


@jit
def expire(p, s, before_s):
    """Evict what was given back before that time. Returns how many blocks."""
    n = np.int64(0)
    while s.lru_head >= 0 and f8_at(p.extent_times, s.lru_head).v < before_s:
        k = evict(p, s, np.int64(extent_at(p.extents, s.lru_head).length))
        s.free += k
        s.evictable -= k
        n += k
    return n


@jit
def forget(p, pool, s):
    """Drop all extents of a replica at which nobody uses any."""
    take(p, s, s.free + s.evictable)
    s.free = pool.usable
