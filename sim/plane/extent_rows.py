"""Extents, runs of consecutive cached blocks of one chain that have the same users: rows, and what is done to them.

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

Equal blocks, published twice, are copies. An extent's own row is the copy published first, which is the one that is
hit; the others are rows in a list that begins at it, in order of publishing, each with users and a place in the queue
of its own. Such a row is in no hash table; its parent is the extent that it copies, its owner the request that
published it, which uses that copy and no other (-1 once it has given it back). When the first copy is evicted the next
takes its row, so that children need not be told.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import GOLDEN
from sim.plane.sequence import live_blocks
from sim.plane.tables import EXTENTS, extent_at, f8_at, i4_at, request_at, room_at

COPY = -1
"""`num_children` of a row that is a copy."""
UNLISTED = -2
"""`chained` of an extent that is in no hash table: nobody will ask for its text (see `text.py`)."""

ROWS_PER_BUCKET = 4
"""Most rows are never used, and fewer buckets stay nearer to the processor."""
ROOTS = np.int64(1 << 32)
"""Makes every parent, roots too, a positive number."""
SHIFT = np.uint64(32)

# ------------------------------------------------------------------ rows, and the table that finds them


@jit
def bucket_of(p, parent, first):
    """The list of the hash table in which (parent, id of the first block) is found; lists hold row + 1."""
    word = np.add(first, np.multiply(np.uint64(parent + ROOTS), GOLDEN))
    return i4_at(p.extent_buckets, np.int64(word >> SHIFT) & (room_at(p.rooms, EXTENTS).rows // ROWS_PER_BUCKET - 1))


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
    if x.chained == UNLISTED:
        return
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
    """Write an extent."""
    x = extent_at(p.extents, e)
    x.parent, x.first, x.last, x.start, x.length, x.num_users = parent, first, last, start, length, num_users
    x.owner, x.num_children, x.copies, x.block, x.chained = -1, 0, -1, -1, UNLISTED


@jit
def add(p, s, parent, first, last, start, length, is_private):
    """A new extent below `parent`, with one user; a private one is not to be found."""
    e = new_row(p)
    fill(p, e, parent, first, last, start, length, 1)
    if is_private == 0:
        put_in_bucket(p, e)
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


# ------------------------------------------------------------------ copies


@jit
def add_copy(p, e, before, length, num_users, owner):
    """A copy of an extent, listed after `before`: the extent itself, or its last copy so far."""
    c = new_row(p)
    y = extent_at(p.extents, c)
    y.parent, y.length, y.num_users, y.owner = e, length, num_users, owner
    y.num_children, y.copies, y.block = COPY, -1, -1
    extent_at(p.extents, before).copies = c
    return c


@jit
def last_copy(p, e):
    """The row after which a new copy is listed."""
    while extent_at(p.extents, e).copies >= 0:
        e = np.int64(extent_at(p.extents, e).copies)
    return e


@jit
def used_by(p, e, slot):
    """The copy of an extent that a request uses: the one it published, or the first."""
    c = np.int64(extent_at(p.extents, e).copies)
    while c >= 0:
        y = extent_at(p.extents, c)
        if y.owner == slot:
            return c
        c = np.int64(y.copies)
    return e


@jit
def remove(p, s, e):
    """Remove one copy, which nobody uses and which is in the queue no more; with the last of them the extent."""
    x = extent_at(p.extents, e)
    if x.num_children == COPY:
        before = extent_at(p.extents, x.parent)
        while before.copies != e:
            before = extent_at(p.extents, before.copies)
        before.copies = x.copies
        free_row(p, e)
    elif x.copies < 0:
        drop(p, s, e)
    else:  # the next copy takes the row
        c = np.int64(x.copies)
        y = extent_at(p.extents, c)
        x.copies, x.num_users, x.block = y.copies, y.num_users, y.block
        if y.num_users == 0:
            link(p, s, e, c)
            unlink(p, s, c)
        free_row(p, c)


@jit
def evict(p, s, n):
    """Take the hashes from the n blocks given back first, or from fewer: those of one row. Returns how many."""
    e = np.int64(s.lru_head)
    x = extent_at(p.extents, e)
    k = min(n, np.int64(x.length))
    if k < x.length:
        original = np.int64(x.parent) if x.num_children == COPY else e
        if extent_at(p.extents, original).copies < 0:
            set_length(s, x, x.length - k)
            return k
        split(p, s, original, x.length - k)  # its rest is evicted alone: not that of the copies
    unlink(p, s, e)
    remove(p, s, e)
    return k


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
    put_in_bucket(p, head)
    extent_at(p.extents, head).num_children = 1
    x.parent, x.first, x.start, x.length = head, x.last, x.start + n, x.length - n
    put_in_bucket(p, e)
    if x.num_users == 0:
        link(p, s, head, e)  # the tail is evicted first
    before, c = head, np.int64(x.copies)
    while c >= 0:  # whoever uses a copy goes on to use both its parts
        y = extent_at(p.extents, c)
        before = add_copy(p, head, before, n, y.num_users, y.owner)
        y.length = x.length
        if y.num_users == 0:
            link(p, s, before, c)
        c = np.int64(y.copies)
    return head


@jit
def append(p, s, e):
    """Put an extent that lost its last user at the end of the queue, joined with its tail there if it can be."""
    x = extent_at(p.extents, e)
    s.evictable += x.length
    t = s.lru_tail
    if t >= 0:
        tail = extent_at(p.extents, t)
        alone = x.num_children == 1 and x.copies < 0 and tail.num_children != COPY and tail.copies < 0
        alone = alone and tail.chained != UNLISTED
        if p.keeps_times == 1:
            alone = alone and f8_at(p.extent_times, t).v == p.now_s
        if alone and tail.parent == e and tail.first == x.last:
            take_from_bucket(p, e)
            take_from_bucket(p, t)
            tail.parent, tail.first, tail.start, tail.length = x.parent, x.first, x.start, tail.length + x.length
            put_in_bucket(p, t)  # the tail's row stays, for its children
            free_row(p, e)
            return
    if p.keeps_times == 1:  # of copies they are not kept: a store has none
        f8_at(p.extent_times, e).v = p.now_s
    link(p, s, e, t)
