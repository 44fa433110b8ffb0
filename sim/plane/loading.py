"""Requests that load part of their prompt's KV before they are admitted: vLLM's asynchronous KV connectors.

Pass 2 looks a request up in its replica's cache, then asks how many leading tokens could be had from elsewhere. If they
are more, it takes blocks for both (the whole prompt must fit, as for any admission), stays in its place in line and
loads; pass 2 steps over it. When the transfer has arrived the blocks are published, and the request is admitted like
any other, with what it has computed: all that was loaded, but its last token.

Two rules are ours. At most `max_num_seqs` requests of a replica load or wait with what they loaded. And where nobody
else can give blocks (a running request would have to preempt itself, or nothing runs and the first in line does not
fit), whoever waits with loaded blocks gives them back, the last in line first, and counts as preempted: else requests
that wait could hold all blocks for ever.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.cache import extend, hold_hits, let_find, num_free, release
from sim.plane.compiled import jit
from sim.plane.decoding import gauge_kv
from sim.plane.handover import release_hold
from sim.plane.host_tier import count_admission, look_up, read
from sim.plane.links import post
from sim.plane.log import log_preemption
from sim.plane.queues import next_holder
from sim.plane.sequence import blocks_for
from sim.plane.tables import LOADING, load_at, loader_at, request_at

COMPUTES, LOADS, NO_ROOM = 0, 1, 2
"""What becomes of a request in pass 2: there is nothing to load, it loads, or it does not fit."""
MAX_LOADS = 8
"""A visit loads so often at most; after that its preemptions cost computing, so that they have an end (assumed)."""


@jit
def forget_load(p, slot):
    """A visit begins: nothing can be loaded for it, as far as is known."""
    if p.has_loads == 1:
        x = load_at(p.loads, slot)
        x.available = x.num_loads = x.found = x.slower = x.counted = 0
        x.ahead_s = x.least_frac = 0.0


@jit
def is_loading(p, pool, s):
    """Whether a transfer to a replica is under way."""
    return pool.loads == 1 and loader_at(p.loaders, s.number).num_loading > 0


@jit
def loadable(p, pool, s, slot, tokens, cached, now):
    """Leading tokens that a request would have after a load; no more than are cached where there is none."""
    x = load_at(p.loads, slot)
    if x.num_loads >= MAX_LOADS:
        return cached
    if loader_at(p.loaders, s.number).store >= 0:
        return look_up(p, pool, s, slot, tokens, cached, now)
    return np.int64(x.available)


@jit
def try_load(p, pool, s, slot, tokens, hits, extra, now):
    """Begin to load for the first in line, if there is anything to load and room for it."""
    free = num_free(s)
    if pool.reserve_full == 1 and blocks_for(tokens, pool.block_size) + extra > free:
        s.blocked = np.int64(s.near_live == 0 and s.by_blocks == 0)  # loaded or computed, it does not fit
        return NO_ROOM
    s.blocked = 0
    cached = hits * pool.block_size
    upto = loadable(p, pool, s, slot, tokens, cached, now)
    if upto <= cached:
        return COMPUTES
    loader = loader_at(p.loaders, s.number)
    if blocks_for(upto, pool.block_size) + extra > free or loader.num_holding >= pool.max_seqs:
        return NO_ROOM
    gauge_kv(pool, s, now)
    hold_hits(p, pool, s, slot, hits)
    extend(p, pool, s, slot, upto, 0)
    gauge_kv(pool, s, now)
    loader.num_loading += 1
    loader.num_holding += 1
    x = load_at(p.loads, slot)
    x.upto = upto
    x.num_loads += 1
    if loader.store >= 0:
        read(p, s, slot, cached)
    request_at(p.requests, slot).state = LOADING
    post(p, slot, x.link, (upto - cached) * pool.kv_token_bytes, now)
    return LOADS


@jit
def has_loaded(p, pool, s, slot):
    """What a request loads is there: others may use it too."""
    q, x = request_at(p.requests, slot), load_at(p.loads, slot)
    extend(p, pool, s, slot, x.upto, x.upto)
    q.computed = min(np.int64(x.upto), q.prompt + q.emitted - 1)
    x.available = 0


@jit
def note_admission(p, s, slot, loaded, now):
    """A request is admitted at a replica where requests load; `loaded` blocks were loaded for it."""
    loader = loader_at(p.loaders, s.number)
    if loaded > 0:
        loader.num_holding -= 1
    if loader.store >= 0:
        count_admission(p, s, slot)
    if request_at(p.requests, slot).fetches == 1:
        load_at(p.loads, slot).available = 0
        release_hold(p, slot, now)


@jit
def let_go(p, pool, s, slot, now):
    """A request in line gives back what it loaded. The replica is up to date."""
    gauge_kv(pool, s, now)
    release(p, pool, s, slot)
    gauge_kv(pool, s, now)
    loader_at(p.loaders, s.number).num_holding -= 1
    request_at(p.requests, slot).computed = 0


@jit
def give_way(p, pool, s, but, now):
    """Of those that wait with what they loaded the last but `but` gives it back. Returns whether there is one."""
    victim = np.int64(-1)
    slot = next_holder(p, pool, s, -1)
    while slot >= 0:
        if slot != but and request_at(p.requests, slot).state != LOADING:
            victim = slot
        slot = next_holder(p, pool, s, slot)
    if victim < 0:
        return False
    let_find(p, s, victim)
    let_go(p, pool, s, victim, now)
    q = request_at(p.requests, victim)
    q.num_preemptions += 1
    pool.num_preempted += 1
    s.num_fruitless += 1
    log_preemption(p, s, q, now)
    return True
