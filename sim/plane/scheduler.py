"""vLLM's V1 scheduler: running requests first, then admissions; preemption by recompute.

The rules and their order are vLLM 0.33's (`vllm/v1/core/sched/scheduler.py`); what is special here is only that the
decoding members of `running` are handled as totals whenever budget and blocks suffice for all of them.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.batch import drop, join_underway, owe_output, run_apart, stall, take_ended
from sim.plane.cache import extend, find_hits, hold_hits, let_find, num_free, take
from sim.plane.compiled import jit
from sim.plane.loading import LOADS, NO_ROOM, give_way, note_admission, try_load
from sim.plane.log import log_admission, log_preemption
from sim.plane.queues import first_ready, join_running, join_waiting, leave_waiting
from sim.plane.sequence import blocks_at, blocks_for, delivered, scheduled
from sim.plane.singly import drafts_for, reach
from sim.plane.tables import APPEND, CARRIED, DECODING, LEAVING, OWN_GAP, PREFILLING, i4_at, request_at, visit_at

NO_LIMIT = 1 << 40


# ------------------------------------------------------------------ preemption


@jit
def preempt(p, pool, s, slot, now):
    """Free a running request's blocks and queue it again; its output so far becomes part of what it recomputes."""
    q = request_at(p.requests, slot)
    let_find(p, s, slot)
    drop(p, pool, s, slot, now)
    q.computed = q.chunk = q.pending = q.mid = 0
    q.num_preemptions += 1
    pool.num_preempted += 1
    s.num_fruitless += 1
    log_preemption(p, s, q, now)
    join_waiting(p, pool, s, slot, True, now)


@jit
def pick_victim(p, pool, s):
    """Whom to preempt: the last admitted, or under priority the worst by (priority, arrival), first of equals."""
    if pool.by_priority == 0:
        return s.run_tail
    victim = s.run_head
    slot = request_at(p.requests, victim).next
    while slot >= 0:
        q, worst = request_at(p.requests, slot), request_at(p.requests, victim)
        if q.level > worst.level or (q.level == worst.level and q.arrived_s > worst.arrived_s):
            victim = slot
        slot = q.next
    return victim


# ------------------------------------------------------------------ limits of a step


@jit
def chunk_limit(pool, s):
    """Most tokens of one request in this step; nothing limits a request that is alone."""
    num_there = s.num_running + s.num_waiting
    if pool.threshold == 0 or num_there <= 1:
        return NO_LIMIT
    if pool.adaptive == 1:
        return max(pool.threshold, pool.max_tokens // num_there)
    return pool.threshold


@jit
def on_hold(p, pool, s):
    """Whether prefill pauses (prefill_schedule_interval): it ran lately, keeps up with demand, and somebody decodes."""
    if pool.interval <= 1 or s.saturated == 1 or s.step + 1 - s.last_prefill >= pool.interval:
        return False
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state != PREFILLING or q.mid == 0:
            return True
        slot = q.next
    return False


# ------------------------------------------------------------------ pass 1


@jit
def to_compute(q):
    """What a request apart from the totals lacks [tokens]."""
    return q.prompt + q.emitted + q.pending - q.computed


@jit
def run_together(p, pool, s, limit, hold):
    """Pass 1 in one go: a token for every decoding sequence, then the chunk of the one request behind them.

    Returns the budget that is left, or -1 if it takes a closer look: blocks may not suffice, or order matters.
    """
    if pool.singly == 1 or pool.by_blocks == 1 or s.by_blocks == 1:
        return -1
    if s.num_loose > 1 or (s.num_loose == 1 and s.loose != s.run_tail):
        return -1
    left = pool.max_tokens - s.num_decoding
    if left < 0:
        return -1
    need = blocks_at(p, pool, s, s.step) if s.num_decoding > 0 else 0
    if s.num_loose == 0 or left == 0 or (hold and request_at(p.requests, s.loose).mid == 1):
        if need > num_free(s):
            return -1
        take(p, pool, s, need)
        s.granted = 1
        return left
    q = request_at(p.requests, s.loose)
    chunk = min(to_compute(q), limit, left)
    if need + max(0, blocks_for(q.computed + chunk, pool.block_size) - q.num_blocks) > num_free(s):
        return -1
    take(p, pool, s, need)
    s.granted = 1
    grant(p, pool, s, s.loose, q, chunk)
    list_chunk(p, pool, s, s.loose)
    return left - chunk


@jit
def grant(p, pool, s, slot, q, chunk):
    """A request apart from the totals computes `chunk` tokens in this step; its blocks are known to fit."""
    if q.mid == 1:
        s.last_prefill = s.step + 1
    tokens = q.computed + chunk
    extend(p, pool, s, slot, reach(pool, tokens), min(tokens, q.prompt + q.emitted))
    q.chunk = chunk


@jit
def run_one_by_one(p, pool, s, limit, hold, now):
    """Pass 1, request by request, preempting where blocks do not suffice. Returns the budget that is left."""
    left = pool.max_tokens
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        after = q.next
        if left == 0:
            if q.state == DECODING:
                stall(p, pool, s, slot, now)
            slot = after
            continue
        if q.state == LEAVING or (hold and q.state == PREFILLING and q.mid == 1):
            slot = after
            continue
        decodes = q.state == DECODING
        computed = scheduled(s, q) - 1 if decodes else q.computed
        chunk = 1 if decodes else min(to_compute(q) + drafts_for(pool, q), limit, left)
        chunk = min(chunk, pool.max_model_len - 1 - computed)
        if chunk == 0:
            slot = after
            continue
        victim = -1
        lacking = blocks_for(reach(pool, computed + chunk), pool.block_size) - held(pool, q, computed)
        while lacking > num_free(s) and victim != slot:
            victim = pick_victim(p, pool, s)
            if victim == slot and pool.loads == 1 and give_way(p, pool, s, -1, now):
                victim = -1
                continue
            if victim == after:
                after = request_at(p.requests, victim).next
            left += request_at(p.requests, victim).chunk
            preempt(p, pool, s, victim, now)
        if victim == slot:
            if pool.by_priority == 0:
                break
            slot = after
            continue
        if decodes and s.by_blocks == 0:
            take(p, pool, s, blocks_for(computed + 1, pool.block_size) - blocks_for(computed, pool.block_size))
            q.chunk = 1
        elif decodes:
            extend(p, pool, s, slot, computed + 1, delivered(s, q))
            q.chunk = 1
        else:
            grant(p, pool, s, slot, q, chunk)
        left -= chunk
        slot = q.next
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            q.chunk = 0
        elif q.chunk > 0:
            list_chunk(p, pool, s, slot)
        slot = q.next
    s.granted = 1
    return left


@jit
def held(pool, q, computed):
    """Blocks of a request that pass 1 has not served yet."""
    return blocks_for(computed, pool.block_size) if q.state == DECODING else q.num_blocks


# ------------------------------------------------------------------ pass 2


@jit
def admit(p, pool, s, left, limit, hold, now):
    """Pass 2: admit waiting requests in order while budget, sequences and blocks last.

    The first that does not fit blocks all behind it.
    """
    if pool.static == 1 and s.num_running > 0:
        s.blocked = 1
        return
    slot = first_ready(p, pool, s)
    while slot >= 0:
        if s.num_running >= pool.max_admitted:
            s.blocked = 1
            return
        if left <= 0:
            return
        q = request_at(p.requests, slot)
        tokens = q.prompt + q.emitted
        loaded = np.int64(q.num_blocks)  # of a request that waits: what was loaded for it
        hits = idle = np.int64(0)
        if loaded == 0:
            hits, idle = find_hits(p, pool, s, slot, tokens)
        cached = q.computed + hits * pool.block_size
        extra = idle - hits - loaded + (pool.watermark if s.num_running > 0 else 0)
        if pool.loads == 1 and loaded == 0:
            outcome = try_load(p, pool, s, slot, tokens, hits, extra, now)
            if outcome == NO_ROOM:
                return
            if outcome == LOADS:
                slot = first_ready(p, pool, s)
                continue
        prefills = cached < tokens - 1
        if hold and prefills:
            return
        chunk = min(tokens - cached, limit)
        if loaded > 0:
            s.blocked = 1
        elif pool.loads == 0:  # else waiting may become worth while, or not any more
            s.blocked = np.int64(s.near_live == 0 and s.by_blocks == 0)  # it may hit what decode steps are to publish
        if pool.chunked == 0 and chunk > left:
            return
        chunk = min(chunk, left)
        most = blocks_for(q.prompt + q.output - 1, pool.block_size)
        if pool.reserves == 1 and most + extra > s.unpromised:
            return
        if pool.reserve_full == 1 and blocks_for(tokens, pool.block_size) + extra > num_free(s):
            return
        if blocks_for(reach(pool, cached + chunk), pool.block_size) + extra > num_free(s):
            return
        s.blocked = 0
        if pool.reserves == 1:
            s.unpromised -= most + idle - hits
        if prefills:
            s.last_prefill = s.step + 1
        leave_waiting(p, pool, s, slot, now)
        join_running(p, s, slot, now)
        q.state = PREFILLING
        run_apart(s, slot)
        if loaded == 0:
            hold_hits(p, pool, s, slot, hits)
        if pool.loads == 1:
            note_admission(p, s, slot, loaded, now)
        extend(p, pool, s, slot, reach(pool, cached + chunk), min(cached + chunk, tokens))
        q.computed = cached
        q.chunk = chunk
        list_chunk(p, pool, s, slot)
        left -= chunk
        pool.cached_tokens += cached
        log_admission(p, s, q, cached, now)
        if np.isnan(q.scheduled_s) and visit_at(p.visits, q.visit).generate == 1:
            q.cached = cached
        slot = first_ready(p, pool, s)
    s.blocked = 1  # nobody is left but who loads


# ------------------------------------------------------------------ a step


@jit
def prefill(p, pool, s, now):
    """Batch policy prefill_first: the chunk in progress, then admissions, as far as they fit."""
    left = pool.max_tokens
    if s.num_loose > 0:
        q = request_at(p.requests, s.loose)
        chunk = min(to_compute(q), left)
        if blocks_for(q.computed + chunk, pool.block_size) - q.num_blocks > num_free(s):
            return
        grant(p, pool, s, s.loose, q, chunk)
        list_chunk(p, pool, s, s.loose)
        left -= chunk
    admit(p, pool, s, left, NO_LIMIT, False, now)
    s.paused = np.int64(s.num_chunks > 0)


@jit
def list_chunk(p, pool, s, slot):
    """Write down that a request computes something apart from the totals in this step, and what the step owes it."""
    q = request_at(p.requests, slot)
    i4_at(p.chunks, s.base + s.num_chunks).v = slot
    s.num_chunks += 1
    q.computed += q.chunk
    q.mid = np.int64(to_compute(q) > 0)
    if pool.singly == 1:
        q.in_flight += 1
        owe_output(p, pool, s, s.step, slot, CARRIED if q.mid == 1 else CARRIED | APPEND)
    elif q.mid == 0:
        q.pending = 1
        owe_output(p, pool, s, s.step, slot, OWN_GAP | APPEND)


@jit
def schedule(p, pool, s, now):
    """Form step `s.step`: returns whether pass 1 preempted somebody. What was formed: the totals and `chunks`."""
    s.granted = s.blocked = s.num_chunks = 0
    if s.step > s.processed and pool.singly == 0:
        join_underway(p, pool, s)
        take_ended(p, pool, s, APPEND)
    limit = chunk_limit(pool, s)
    hold = on_hold(p, pool, s)
    if pool.prefill_first == 1:
        prefill(p, pool, s, now)
        if s.paused == 1:
            return False
        hold = True  # pass 1 is for those that decode, and there is no pass 2
    before = pool.num_preempted
    left = run_together(p, pool, s, limit, hold)
    if left < 0:
        left = run_one_by_one(p, pool, s, limit, hold, now)
    preempted = pool.num_preempted > before
    if preempted:
        s.blocked = 0
    elif pool.prefill_first == 0:
        admit(p, pool, s, left, limit, hold, now)
        if pool.interval > 1 and not hold:
            s.saturated = np.int64(s.num_waiting > 0)
    return preempted
