"""A router's own index of which texts it sent where, bounded, for prefix affinity.

An entry says that a replica was sent the first tokens of a stretch of text, and all the stretches before it (see
`content.py`). What a prompt and an entry have in common ends with the deepest stretch that both have, so a lookup goes
from stretch to stretch as long as somebody has it. Of each replica a router remembers so many blocks of text, those
used last. The stretches of a prompt are used from the last to the first: so whoever has a stretch has all before it.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.content import first_stretch, fold, next_stretch
from sim.plane.routing_rows import holder_at, shelf_at
from sim.plane.tables import ACTIVE, i4_at, replica_at
from sim.plane.views import load, router_of

BLOCK_TOKENS = 16
"""Tokens of a block in which the index is measured. The Gateway API inference extension's DefaultBlockSizeTokens."""
MAX_STRETCHES = 256
"""Stretches of a prompt that are looked at: its DefaultMaxPrefixBlocks, of stretches instead of blocks."""


@jit
def first_word(p, slot, pool_id):
    """The word that those of a router's texts for a pool begin with."""
    return np.uint64(1 + router_of(p, slot) * p.num_pools + pool_id)


@jit
def bucket_of(p, word):
    """Where the list of a word's entries begins."""
    return i4_at(p.holder_buckets, np.int64(word & np.uint64(p.holder_mask)))


@jit
def num_blocks(tokens):
    """How much of the index a text takes up."""
    return (tokens + BLOCK_TOKENS - 1) // BLOCK_TOKENS


@jit
def best_holder(p, word, view, first_replica, end_replica, extent):
    """Of the active replicas that have a text: (that with the most of it, tokens); -1 if none has.

    Of equal ones the less busy, then the first.
    """
    best, most = np.int64(-1), np.int64(0)
    x = bucket_of(p, word).v
    while x >= 0:
        h = holder_at(p.holders, x)
        x = h.next
        r = h.replica
        if h.word != word or r < first_replica or r >= end_replica or replica_at(p.replicas, r).state != ACTIVE:
            continue
        tokens = min(np.int64(h.tokens), extent)
        more = best < 0 or tokens > most
        if not more and tokens == most:
            more = load(view, r) < load(view, best) or (load(view, r) == load(view, best) and r < best)
        if more:
            best, most = np.int64(r), tokens
    return best, most


@jit
def longest_match(p, q, slot, pool_id, view, first_replica, end_replica):
    """The replica that was sent most of a prompt's beginning, and how much of it [tokens]; -1 if none was."""
    best, matched = np.int64(-1), np.int64(0)
    word = first_word(p, slot, pool_id)
    key, start, end, following = first_stretch(p, q)
    for _ in range(MAX_STRETCHES):
        stop = min(end, np.int64(q.prompt))
        if stop > start:
            word = fold(word, key, start)
            r, tokens = best_holder(p, word, view, first_replica, end_replica, stop - start)
            if r < 0:
                break
            best, matched = r, start + tokens
        if end >= q.prompt:
            break
        key, start, end, following = next_stretch(p, q, end, following)
    return best, matched


# ------------------------------------------------------------------ what was sent


@jit
def find(p, word, r):
    """The entry of a text at a replica, or -1."""
    x = bucket_of(p, word).v
    while x >= 0:
        h = holder_at(p.holders, x)
        if h.word == word and h.replica == r:
            break
        x = h.next
    return np.int64(x)


@jit
def unlink(p, shelf, x):
    """Take an entry out of its replica's order of use."""
    h = holder_at(p.holders, x)
    if h.older >= 0:
        holder_at(p.holders, h.older).newer = h.newer
    else:
        shelf.oldest = h.newer
    if h.newer >= 0:
        holder_at(p.holders, h.newer).older = h.older
    else:
        shelf.newest = h.older


@jit
def link(p, shelf, x, newer):
    """Put an entry right behind `newer` in its replica's order of use (-1: at the newest end)."""
    h = holder_at(p.holders, x)
    h.newer = newer
    h.older = shelf.newest if newer < 0 else holder_at(p.holders, newer).older
    if newer < 0:
        shelf.newest = x
    else:
        holder_at(p.holders, newer).older = x
    if h.older >= 0:
        holder_at(p.holders, h.older).newer = x
    else:
        shelf.oldest = x


@jit
def add_holder(p, word, r):
    """A new entry, in its bucket."""
    x = p.free_holder
    if x >= 0:
        p.free_holder = holder_at(p.holders, x).next
    else:
        x = p.num_holders
        p.num_holders += 1
    h = holder_at(p.holders, x)
    h.word = word
    h.replica = r
    h.tokens = 0
    bucket = bucket_of(p, word)
    h.next = bucket.v
    bucket.v = x
    return np.int64(x)


@jit
def drop_oldest(p, shelf):
    """Forget what was used longest ago at a replica."""
    x = np.int64(shelf.oldest)
    h = holder_at(p.holders, x)
    unlink(p, shelf, x)
    shelf.num_blocks -= num_blocks(h.tokens)
    bucket = bucket_of(p, h.word)
    if bucket.v == x:
        bucket.v = h.next
    else:
        before = holder_at(p.holders, bucket.v)
        while before.next != x:
            before = holder_at(p.holders, before.next)
        before.next = h.next
    h.next = p.free_holder
    p.free_holder = x


@jit
def remember(p, q, slot, pool_id, r):
    """A prompt was sent to a replica."""
    shelf = shelf_at(p.shelves, router_of(p, slot) * p.num_replicas + r)
    word = first_word(p, slot, pool_id)
    newer = np.int64(-1)
    key, start, end, following = first_stretch(p, q)
    for _ in range(MAX_STRETCHES):
        stop = min(end, np.int64(q.prompt))
        if stop > start:
            word = fold(word, key, start)
            x = find(p, word, r)
            if x >= 0:
                unlink(p, shelf, x)
            else:
                x = add_holder(p, word, r)
            h = holder_at(p.holders, x)
            shelf.num_blocks -= num_blocks(h.tokens)
            h.tokens = max(np.int64(h.tokens), stop - start)
            shelf.num_blocks += num_blocks(h.tokens)
            link(p, shelf, x, newer)
            newer = x
        if end >= q.prompt:
            break
        key, start, end, following = next_stretch(p, q, end, following)
    while shelf.num_blocks > p.index_blocks:
        drop_oldest(p, shelf)


@jit
def forget_sent(p, k, r):
    """Router k remembers nothing any more of what it sent to a replica."""
    shelf = shelf_at(p.shelves, k * p.num_replicas + r)
    while shelf.oldest >= 0:
        drop_oldest(p, shelf)


@jit
def forget_replica(p, r):
    """A replica is gone, and its cache with it: no router sends it anything for that any more."""
    if p.index_blocks > 0:
        for k in range(p.num_routers):
            forget_sent(p, k, r)
