"""A second tier of the prefix cache, in host memory: what requests computed is written there, and can be loaded again.

A store is a replica without an engine, in a pool of its own to which nothing is routed: its cache is the replicas'
own code, so what is evicted is what vLLM's free queue says. A lookup is `find_hits` with the store's row; a write
holds what is there, extends it by the rest, and gives all back at once. Both go by a spare row of the request table
that carries the same text and holds nothing between events.

A request's full blocks are written when it lets go of them: when it finishes, is preempted or aborted. The copy to the
host runs beside computing, on the other direction of the link, and delays nobody. (vLLM's OffloadingConnector writes
blocks as they are filled; here another request finds them as late as the one that computed them ends.)

It is loaded or computed, whichever is faster by estimate: load = wait for the link + bytes / bandwidth + latency;
compute = the prefill of just these tokens in steps of their own, as large as the budget allows.

With a time to live (`ttl_s`) entries are refreshed on use, never evicted before they expire and never kept after it;
what finds no room is refused; and only prompts are written, as APIs that sell caching do. Age `ttl_s` to the second is
still alive.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane import blockwise, extents
from sim.plane.cache import extend, find_hits, forget, hold_hits, num_free, release
from sim.plane.compiled import jit
from sim.plane.links import carry_s, wait_s
from sim.plane.tables import f8_at, load_at, loader_at, pool_at, replica_at, request_at, tier_at


@jit
def store_of(p, s):
    """The store of a replica: a row of the replica table."""
    return replica_at(p.replicas, loader_at(p.loaders, s.number).store)


@jit
def as_reader(p, store, slot):
    """The spare request row, as one with a request's text at a store."""
    q, reader = request_at(p.requests, slot), request_at(p.requests, p.num_requests)
    reader.replica = store.number
    reader.group, reader.prefix, reader.segments = q.group, q.prefix, q.segments
    reader.own_from, reader.stream = q.own_from, q.stream
    reader.is_new, reader.is_private = q.is_new, q.is_private
    reader.num_blocks = reader.published = 0
    reader.leaf = -1
    return np.int64(p.num_requests)


@jit
def expire(p, tier, pool, store, now):
    """Drop what nobody has used for longer than its time to live."""
    if p.keeps_times == 0:
        return
    if store.by_blocks == 1:
        n = blockwise.expire(p, pool, store, now - tier.ttl_s)
    else:
        n = extents.expire(p, store, now - tier.ttl_s)
    tier.expired_tokens += n * pool.block_size


@jit
def compute_s(p, pool, cached, upto):
    """How long it takes to compute the tokens from `cached` up to `upto` in steps that carry nothing else [s]."""
    n = upto - cached
    steps, rest = n // pool.max_tokens, n % pool.max_tokens
    each_s = pool.prefill_step_s + f8_at(p.curves, pool.sample_s).v
    time_s = steps * (f8_at(p.curves, pool.batch_s + pool.max_tokens).v + each_s)
    if rest > 0:
        time_s += f8_at(p.curves, pool.batch_s + rest).v + each_s
    return time_s + pool.pair_s * (n * cached + (n * (n + 1)) // 2)


@jit
def look_up(p, pool, s, slot, tokens, cached, now):
    """Leading tokens that a request had better load; no more than are cached where computing is faster."""
    x, q, tier = load_at(p.loads, slot), request_at(p.requests, slot), tier_at(p.tiers, s.pool)
    x.found = x.slower = 0
    if q.prompt < tier.min_tokens:
        return cached
    store = store_of(p, s)
    stores = pool_at(p.pools, store.pool)
    expire(p, tier, stores, store, now)
    hits, _ = find_hits(p, stores, store, as_reader(p, store, slot), tokens + 1)
    upto = hits * pool.block_size
    x.found = upto
    if upto <= cached:
        return cached
    x.link = loader_at(p.loaders, s.number).link
    load_s = wait_s(p, x.link, now) + carry_s(p, x.link, (upto - cached) * pool.kv_token_bytes)
    if load_s < compute_s(p, pool, cached, upto):
        return upto
    x.slower = upto - cached
    return cached


@jit
def read(p, s, slot, upto):
    """A request begins to load its leading tokens: they are used, so they are the last to go."""
    x, tier = load_at(p.loads, slot), tier_at(p.tiers, s.pool)
    tier.loaded_tokens += x.upto - upto
    store = store_of(p, s)
    stores = pool_at(p.pools, store.pool)
    reader = as_reader(p, store, slot)
    hits, _ = find_hits(p, stores, store, reader, x.found + 1)
    hold_hits(p, stores, store, reader, hits)
    release(p, stores, store, reader)


@jit
def count_admission(p, s, slot):
    """Count what a request that is admitted found, once a visit; and each time what it had better compute."""
    x, q, tier = load_at(p.loads, slot), request_at(p.requests, slot), tier_at(p.tiers, s.pool)
    tier.slower_tokens += x.slower
    if x.counted == 0:
        x.counted = 1
        tier.prompt_tokens += q.prompt
        tier.found_tokens += min(np.int64(x.found), np.int64(q.prompt))
    x.slower = 0


@jit
def write(p, pool, s, slot, now):
    """Copy the full blocks of what a request has computed to the store: it is about to let go of them."""
    q, tier = request_at(p.requests, slot), tier_at(p.tiers, s.pool)
    known = min(q.computed, q.prompt + q.emitted)
    if tier.ttl_s < np.inf:
        known = min(known, np.int64(q.prompt))
    size = np.int64(pool.block_size)
    full = known // size
    if full == 0 or q.prompt < tier.min_tokens:
        return
    store = store_of(p, s)
    stores = pool_at(p.pools, store.pool)
    expire(p, tier, stores, store, now)
    reader = as_reader(p, store, slot)
    hits, _ = find_hits(p, stores, store, reader, full * size + 1)
    hold_hits(p, stores, store, reader, hits)
    room = np.int64(store.free) if tier.ttl_s < np.inf else num_free(store)
    n = min(full - hits, room)
    tier.written_tokens += n * size
    tier.refused_tokens += (full - hits - n) * size
    tier.evicted_tokens += max(np.int64(0), n - store.free) * size
    extend(p, stores, store, reader, (hits + n) * size, (hits + n) * size)
    release(p, stores, store, reader)


@jit
def forget_store(p, pool, s):
    """A replica goes: what its own host keeps is lost."""
    if pool.loads == 1:
        loader = loader_at(p.loaders, s.number)
        if loader.store >= 0 and tier_at(p.tiers, s.pool).shared == 0:
            store = store_of(p, s)
            forget(p, pool_at(p.pools, store.pool), store)
