"""The prefix cache of a replica by extents: runs of consecutive blocks of one chain that have the same users.

The cached chains are a tree. An extent knows the extent of the block before it (or the root of its replica), the
content id of its first block, and the id that all its other blocks have, which a block after it would have too if it
went on with the same stretch of text. A child is found by (parent, id of its first block) in one hash table.

Why runs are enough, exactly:

* Whoever uses a block uses all before it, so users never rise along a chain, and a release brings a suffix to no
  users. It is appended to the free queue tail first, which is what vLLM does block by block: the blocks of an extent
  that nobody uses are neighbours in the queue, and a list of extents is the queue.
* Free blocks without a hash are always before those with one, and no two of them differ: a count is enough.
* What nobody uses was released after whatever continues it, so eviction takes the tail of the oldest extent, and that
  has no children.

A decoding request's own leaf is live: its length follows from the step, and nothing is written while it grows. Two
equal blocks at once are what extents cannot tell apart: before a second one is published, the replica goes over to
blocks (`cache.py`). It does so already when a block is published that somebody's live leaf would publish later.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import GOLDEN, first_stretch, run_at
from sim.plane.sequence import blocks_for, live_blocks
from sim.plane.tables import EXTENTS, extent_at, i4_at, request_at, room_at

ROOTS = np.int64(1 << 32)
"""Makes every parent, roots too, a positive number."""
SHIFT = np.uint64(32)

# ------------------------------------------------------------------ rows, and the table that finds them


@jit
def root_of(q):
    """Parent of the first extents of a request's replica."""
    return -(np.int64(q.replica) + 2)


@jit
def bucket_of(p, parent, first):
    """The list of the hash table in which (parent, id of the first block) is found; lists hold row + 1."""
    word = np.add(first, np.multiply(np.uint64(parent + ROOTS), GOLDEN))
    return i4_at(p.extent_buckets, np.int64(word >> SHIFT) & (room_at(p.rooms, EXTENTS).rows - 1))


@jit
def find_child(p, parent, first):
    """The extent that follows `parent` with that content, or -1."""
    e = np.int64(bucket_of(p, parent, first).v) - 1
    while e >= 0:
        x = extent_at(p.extents, e)
        if x.first == first and x.parent == parent:
            return e
        e = np.int64(x.chained) - 1
    return e


@jit
def put_in_bucket(p, e):
    """Let an extent be found."""
    x = extent_at(p.extents, e)
    head = bucket_of(p, x.parent, x.first)
    x.chained = head.v
    head.v = e + 1


@jit
def take_from_bucket(p, e):
    """Let an extent no longer be found."""
    x = extent_at(p.extents, e)
    head = bucket_of(p, x.parent, x.first)
    if head.v == e + 1:
        head.v = x.chained
        return
    y = extent_at(p.extents, np.int64(head.v) - 1)
    while y.chained != e + 1:
        y = extent_at(p.extents, np.int64(y.chained) - 1)
    y.chained = x.chained


@jit
def new_row(p):
    """A row for an extent; `cache_is_full` has seen to it that there is one."""
    room = room_at(p.rooms, EXTENTS)
    e = room.first
    if e >= 0:
        room.first = extent_at(p.extents, e).chained
        room.spare -= 1
    else:
        e = room.used
        room.used += 1
    return e


@jit
def free_row(p, e):
    """Give a row back."""
    room = room_at(p.rooms, EXTENTS)
    extent_at(p.extents, e).chained = room.first
    room.first = e
    room.spare += 1


@jit
def fill(p, e, parent, first, last, start, length, num_users):
    """Write an extent, and let it be found."""
    x = extent_at(p.extents, e)
    x.parent, x.first, x.last, x.start, x.length, x.num_users = parent, first, last, start, length, num_users
    x.owner, x.num_children, x.block = -1, 0, -1
    put_in_bucket(p, e)


@jit
def add(p, s, parent, first, last, start, length):
    """A new extent below `parent`, with one user."""
    e = new_row(p)
    fill(p, e, parent, first, last, start, length, 1)
    if parent >= 0:
        extent_at(p.extents, parent).num_children += 1
    s.num_hashes += length
    return e


@jit
def drop(p, s, e):
    """Forget an extent that has no children and is in no list."""
    x = extent_at(p.extents, e)
    take_from_bucket(p, e)
    if x.parent >= 0:
        extent_at(p.extents, x.parent).num_children -= 1
    s.num_hashes -= x.length
    free_row(p, e)


@jit
def length_of(p, pool, s, x):
    """Blocks of an extent at this instant; `x.length` is behind while it is live."""
    if x.owner < 0:
        return np.int64(x.length)
    return np.int64(live_blocks(p, pool, s, request_at(p.requests, x.owner)) - x.start)


@jit
def set_length(s, x, length):
    """Write an extent's length; `s.num_hashes` counts written lengths."""
    s.num_hashes += length - x.length
    x.length = length


# ------------------------------------------------------------------ the queue of what nobody uses


@jit
def link(p, s, e, before):
    """Put an extent into the queue right after `before` (-1: at its head)."""
    x = extent_at(p.extents, e)
    x.older = before
    if before >= 0:
        x.newer = extent_at(p.extents, before).newer
        extent_at(p.extents, before).newer = e
    else:
        x.newer = s.lru_head
        s.lru_head = e
    if x.newer >= 0:
        extent_at(p.extents, x.newer).older = e
    else:
        s.lru_tail = e


@jit
def unlink(p, s, e):
    """Take an extent out of the queue."""
    x = extent_at(p.extents, e)
    if x.older >= 0:
        extent_at(p.extents, x.older).newer = x.newer
    else:
        s.lru_head = x.newer
    if x.newer >= 0:
        extent_at(p.extents, x.newer).older = x.older
    else:
        s.lru_tail = x.older


@jit
def take(p, s, n):
    """Take n blocks that the caller knows to be free: those without a hash, then the tail of what is oldest."""
    while n > s.free:
        e = s.lru_head
        x = extent_at(p.extents, e)
        k = min(n - s.free, np.int64(x.length))
        s.free += k
        s.evictable -= k
        set_length(s, x, x.length - k)
        if x.length == 0:
            unlink(p, s, e)
            drop(p, s, e)
    s.free -= n


# ------------------------------------------------------------------ cutting and joining


@jit
def split(p, s, e, n):
    """Give the first n blocks of an extent a row of their own, and return it; the rest keeps row, users and children.

    So those whose leaf it is, or whose leaf lies below it, need not be told.
    """
    x = extent_at(p.extents, e)
    take_from_bucket(p, e)
    head = new_row(p)
    fill(p, head, x.parent, x.first, x.last, x.start, n, x.num_users)
    extent_at(p.extents, head).num_children = 1
    x.parent, x.first, x.start, x.length = head, x.last, x.start + n, x.length - n
    put_in_bucket(p, e)
    if x.num_users == 0:
        link(p, s, head, e)  # the tail is evicted first
    return head


@jit
def append(p, s, e):
    """Put an extent that lost its last user at the end of the queue, joined with its tail there if it can be."""
    x = extent_at(p.extents, e)
    s.evictable += x.length
    t = s.lru_tail
    if t >= 0:
        tail = extent_at(p.extents, t)
        if tail.parent == e and tail.first == x.last and x.num_children == 1:
            take_from_bucket(p, e)
            take_from_bucket(p, t)
            tail.parent, tail.first, tail.start, tail.length = x.parent, x.first, x.start, tail.length + x.length
            put_in_bucket(p, t)  # the tail's row stays, for its children
            free_row(p, e)
            return
    link(p, s, e, t)


# ------------------------------------------------------------------ requests


@jit
def find_hits(p, pool, s, slot, num_tokens):
    """Leading cached blocks of a request's text but for its last token, and how many of them nobody uses.

    The extent in which they end is noted as the request's leaf.
    """
    q = request_at(p.requests, slot)
    most = (num_tokens - 1) // pool.block_size
    hits = idle = upto = np.int64(0)
    first = last = np.uint64(0)
    leaf = root_of(q)
    key, start, end, following = first_stretch(p, q)
    while hits < most:
        if hits == upto:
            first, last, upto, key, start, end, following = run_at(
                p, q, pool.block_size, hits, key, start, end, following
            )
        e = find_child(p, leaf, first)
        if e < 0:
            break
        x = extent_at(p.extents, e)
        length = length_of(p, pool, s, x)
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
def can_grow(x, first):
    """Whether a request's leaf is its alone, and goes on with that content."""
    return x.num_users == 1 and x.num_children == 0 and x.last == first


@jit
def extend(p, pool, s, slot, num_tokens, num_delivered):
    """Hold blocks for `num_tokens`, publish those that delivered tokens fill; false if one of them is there already."""
    q = request_at(p.requests, slot)
    size = pool.block_size
    blocks = blocks_for(num_tokens, size)
    if blocks > q.num_blocks:
        take(p, s, blocks - q.num_blocks)
        q.num_blocks = blocks
    full = min(num_tokens, num_delivered) // size
    if pool.caching == 0 or full <= q.published:
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
        elif find_child(p, leaf, first) >= 0:
            return False
        else:
            q.leaf = add(p, s, leaf, first, last, at, n)
        q.published = at + n
    return True


@jit
def open_stream(p, pool, s, slot):
    """Make the leaf of a request that begins to decode live; false if its next block is there already."""
    q = request_at(p.requests, slot)
    if pool.caching == 0:
        return True
    at = np.int64(q.published)
    leaf = root_of(q) if at == 0 else np.int64(q.leaf)
    first, last, _, _, _, _, _ = run_at(p, q, pool.block_size, at, *first_stretch(p, q))
    if leaf < 0 or not can_grow(extent_at(p.extents, leaf), first):
        if find_child(p, leaf, first) >= 0:
            return False
        q.leaf = add(p, s, leaf, first, last, at, 0)
    extent_at(p.extents, q.leaf).owner = slot
    return True


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
        x = extent_at(p.extents, e)
        before = np.int64(x.parent)
        x.num_users -= 1
        if x.num_users == 0:
            append(p, s, e)
        e = before
    q.num_blocks = q.published = 0
    q.leaf = -1


@jit
def forget(p, s):
    """Drop all extents of a replica at which nobody uses any."""
    while s.lru_head >= 0:
        e = s.lru_head
        s.free += extent_at(p.extents, e).length
        unlink(p, s, e)
        drop(p, s, e)
    s.evictable = 0
