"""The prefix cache of a replica block by block, as vLLM keeps it: `cache: blocks`, and what extents fall back to.

One row a block, in a stretch of the table that a replica is given when it first needs it. The free queue is a list
through the rows that nobody uses, the next to be taken at its head. The index is a hash table of lists in which of
several blocks of one hash the one published first comes first. A request's block table is a list of HELD entries from
its last block (`q.leaf`) down.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import GOLDEN, first_stretch, mix, run_at
from sim.plane.sequence import blocks_for
from sim.plane.tables import BLOCK_BUCKETS, BLOCKS, HELD_ENTRIES, block_at, f8_at, held_at, i4_at, request_at, room_at

ONE = np.uint64(1)
NO_HASH = np.uint64(0)
FIRST_HASH = np.uint64(1)
"""What the hash of a chain's first block goes on from."""

# ------------------------------------------------------------------ the index


@jit
def hash_after(before, content):
    """Hash of a block: of all content ids up to its own. It is never `NO_HASH`."""
    return mix(np.add(np.multiply(before, GOLDEN), content)) | ONE


@jit
def bucket_of(p, pool, s, word):
    """The list in which a hash is found; lists hold row + 1."""
    return i4_at(p.block_buckets, s.bucket_base + (np.int64(word >> ONE) & (pool.num_buckets - 1)))


@jit
def find(p, pool, s, word):
    """Of the blocks with that hash the one published first, or -1."""
    b = np.int64(bucket_of(p, pool, s, word).v) - 1
    while b >= 0 and block_at(p.blocks, b).hash != word:
        b = np.int64(block_at(p.blocks, b).chained) - 1
    return b


@jit
def put_in_index(p, pool, s, b, word):
    """Give a block its hash; equal ones that are there stay before it."""
    x = block_at(p.blocks, b)
    x.hash = word
    x.chained = 0
    head = bucket_of(p, pool, s, word)
    if head.v == 0:
        head.v = b + 1
        return
    y = block_at(p.blocks, np.int64(head.v) - 1)
    while y.chained != 0:
        y = block_at(p.blocks, np.int64(y.chained) - 1)
    y.chained = b + 1


@jit
def publish_block(p, pool, s, b, word):
    """Put a block into the index."""
    if find(p, pool, s, word) < 0:
        s.num_hashes += 1
    put_in_index(p, pool, s, b, word)


@jit
def evict_block(p, pool, s, b):
    """Take a block's hash away."""
    x = block_at(p.blocks, b)
    word = x.hash
    head = bucket_of(p, pool, s, word)
    if head.v == b + 1:
        head.v = x.chained
    else:
        y = block_at(p.blocks, np.int64(head.v) - 1)
        while y.chained != b + 1:
            y = block_at(p.blocks, np.int64(y.chained) - 1)
        y.chained = x.chained
    x.hash = NO_HASH
    if find(p, pool, s, word) < 0:
        s.num_hashes -= 1


# ------------------------------------------------------------------ the free queue


@jit
def link(p, s, b, before):
    """Put a block that nobody uses into the queue right after `before` (-1: at its head)."""
    x = block_at(p.blocks, b)
    x.older = before
    if before >= 0:
        x.newer = block_at(p.blocks, before).newer
        block_at(p.blocks, before).newer = b
    else:
        x.newer = s.lru_head
        s.lru_head = b
    if x.newer >= 0:
        block_at(p.blocks, x.newer).older = b
    else:
        s.lru_tail = b


@jit
def unlink(p, s, b):
    """Take a block out of the queue, and out of the free ones."""
    x = block_at(p.blocks, b)
    if x.older >= 0:
        block_at(p.blocks, x.older).newer = x.newer
    else:
        s.lru_head = x.newer
    if x.newer >= 0:
        block_at(p.blocks, x.newer).older = x.older
    else:
        s.lru_tail = x.older
    if x.hash == NO_HASH:
        s.free -= 1
    else:
        s.evictable -= 1


@jit
def take_block(p, pool, s):
    """The first block of the queue; if it is cached, it no longer is."""
    b = np.int64(s.lru_head)
    unlink(p, s, b)
    x = block_at(p.blocks, b)
    if x.hash != NO_HASH:
        evict_block(p, pool, s, b)
    x.num_users = 1
    return b


# ------------------------------------------------------------------ block tables


@jit
def new_entry(p, b, below, above):
    """An entry of a block table."""
    room = room_at(p.rooms, HELD_ENTRIES)
    entry = np.int64(room.first)
    if entry >= 0:
        room.first = held_at(p.held, entry).below
        room.spare -= 1
    else:
        entry = np.int64(room.used)
        room.used += 1
    x = held_at(p.held, entry)
    x.block, x.below, x.above = b, below, above
    return entry


@jit
def push(p, q, b):
    """Put a block on top of a request's table."""
    entry = new_entry(p, b, q.leaf, -1)
    if q.leaf >= 0:
        held_at(p.held, q.leaf).above = entry
    q.leaf = entry


@jit
def put_below(p, q, entry, b):
    """Put a block below the lowest entry of a request's table (-1: it is empty); returns the lowest now."""
    lowest = new_entry(p, b, -1, entry)
    if entry >= 0:
        held_at(p.held, entry).below = lowest
    else:
        q.leaf = lowest
    return lowest


@jit
def pop(p, q):
    """Take the last block off a request's table."""
    room = room_at(p.rooms, HELD_ENTRIES)
    entry = np.int64(q.leaf)
    top = held_at(p.held, entry)
    q.leaf = top.below
    top.below = room.first
    room.first = entry
    room.spare += 1
    return np.int64(top.block)


# ------------------------------------------------------------------ requests


@jit
def find_hits(p, pool, s, slot, num_tokens):
    """Leading cached blocks of a request's text but for its last token, and how many of them nobody uses."""
    q = request_at(p.requests, slot)
    most = (num_tokens - 1) // pool.block_size
    hits = idle = upto = np.int64(0)
    first = last = np.uint64(0)
    word = FIRST_HASH
    key, start, end, following = first_stretch(p, q)
    while hits < most:
        if hits == upto:
            first, last, upto, key, start, end, following = run_at(
                p, q, pool.block_size, hits, key, start, end, following
            )
        word = hash_after(word, first)
        b = find(p, pool, s, word)
        if b < 0:
            break
        if block_at(p.blocks, b).num_users == 0:
            idle += 1
        hits += 1
        first = last
    return hits, idle


@jit
def hold_hits(p, pool, s, slot, hits):
    """Use the blocks that `find_hits` has just found."""
    q = request_at(p.requests, slot)
    q.num_blocks = q.published = hits
    q.leaf = -1
    at = upto = np.int64(0)
    first = last = np.uint64(0)
    word = FIRST_HASH
    key, start, end, following = first_stretch(p, q)
    while at < hits:
        if at == upto:
            first, last, upto, key, start, end, following = run_at(
                p, q, pool.block_size, at, key, start, end, following
            )
        word = hash_after(word, first)
        b = find(p, pool, s, word)
        x = block_at(p.blocks, b)
        if x.num_users == 0:
            unlink(p, s, b)
        x.num_users += 1
        push(p, q, b)
        at += 1
        first = last


@jit
def extend(p, pool, s, slot, num_tokens, num_delivered):
    """Hold blocks for `num_tokens`, publish those that delivered tokens fill."""
    q = request_at(p.requests, slot)
    size = pool.block_size
    blocks = blocks_for(num_tokens, size)
    while q.num_blocks < blocks:
        push(p, q, take_block(p, pool, s))
        q.num_blocks += 1
    full = min(num_tokens, num_delivered) // size
    if pool.caching == 0 or full <= q.published:
        return
    entry = np.int64(q.leaf)
    for _ in range(q.num_blocks - 1 - q.published):
        entry = np.int64(held_at(p.held, entry).below)
    at = upto = np.int64(q.published)
    first = last = np.uint64(0)
    word = FIRST_HASH
    if at > 0:
        word = block_at(p.blocks, held_at(p.held, held_at(p.held, entry).below).block).hash
    key, start, end, following = first_stretch(p, q)
    while at < full:
        if at == upto:
            first, last, upto, key, start, end, following = run_at(p, q, size, at, key, start, end, following)
        word = hash_after(word, first)
        x = held_at(p.held, entry)
        publish_block(p, pool, s, np.int64(x.block), word)
        entry = np.int64(x.above)
        at += 1
        first = last
    q.published = full


@jit
def release(p, pool, s, slot):
    """Give a request's blocks back, from the last to the first: those without a hash to the queue's head."""
    q = request_at(p.requests, slot)
    while q.num_blocks > 0:
        q.num_blocks -= 1
        b = pop(p, q)
        x = block_at(p.blocks, b)
        x.num_users -= 1
        if x.num_users > 0:
            continue
        if x.hash == NO_HASH:
            s.free += 1
            link(p, s, b, -1)  # in any order: they are all alike
        else:
            s.evictable += 1
            if p.keeps_times == 1:
                f8_at(p.block_times, b).v = p.now_s
            link(p, s, b, np.int64(s.lru_tail))
    q.published = 0
    q.leaf = -1


@jit
def expire(p, pool, s, before_s):
    """Take the hashes from blocks that were given back before that time. Returns how many."""
    n = np.int64(0)
    b = np.int64(s.lru_head)
    while b >= 0:
        x = block_at(p.blocks, b)
        if x.hash != NO_HASH:
            if f8_at(p.block_times, b).v >= before_s:
                break
            evict_block(p, pool, s, b)  # it stays in its place, which is right behind those without a hash
            s.evictable -= 1
            s.free += 1
            n += 1
        b = np.int64(x.newer)
    return n


# ------------------------------------------------------------------ replicas


@jit
def give_rows(p, pool, s):
    """The first row of a replica's blocks, all without a hash and unused, with an empty index."""
    if s.block_base < 0:
        blocks, buckets = room_at(p.rooms, BLOCKS), room_at(p.rooms, BLOCK_BUCKETS)
        s.block_base, s.bucket_base = blocks.used, buckets.used
        blocks.used += pool.usable
        buckets.used += pool.num_buckets
    for b in range(s.block_base, s.block_base + pool.usable):
        x = block_at(p.blocks, b)
        x.hash = NO_HASH
        x.num_users = 0
    for i in range(s.bucket_base, s.bucket_base + pool.num_buckets):
        i4_at(p.block_buckets, i).v = 0
    return np.int64(s.block_base)


@jit
def begin(p, pool, s):
    """Put all blocks of a replica into its free queue, in order."""
    base = give_rows(p, pool, s)
    s.lru_head = s.lru_tail = -1
    for b in range(base, base + pool.usable):
        link(p, s, b, np.int64(s.lru_tail))
    s.free, s.evictable, s.num_hashes = pool.usable, 0, 0
    s.by_blocks = 1
