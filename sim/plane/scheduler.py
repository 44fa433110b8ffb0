"""vLLM's V1 scheduler, synchronous: running requests first, then admissions; preemption by recompute.

The rules and their order are vLLM 0.33's (`vllm/v1/core/sched/scheduler.py`); what is special here is only that the
decoding members of `running` are handled as totals whenever their new blocks fit.
Prefill in progress is at most one request, the tail of `running`.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.blocks import (
    blocks_at,
    blocks_for,
    hits_of,
    idle_hits,
    num_free,
    publish,
    release,
    residue_of,
    share,
    take,
)
from sim.plane.compiled import jit
from sim.plane.decoding import close_run
from sim.plane.queues import (
    find_end,
    join_running,
    join_waiting,
    leave_running,
    leave_waiting,
    remove_end,
    waiting_head,
)
from sim.plane.tables import DECODING, PREFILLING, i4_at, request_at, visit_at

INTEGRAL_STEPS = 1 << 16


@jit
def tokens_so_far(s, q):
    """Prompt and delivered output of a request."""
    if q.state == DECODING:
        return q.prompt + q.output - (q.end_step - s.step)
    return q.prompt + q.emitted


@jit
def decode_share(s, q):
    """What a decoding sequence owes since its marks were set [s]."""
    return (
        (s.per_seq_s - q.seq_mark_s)
        + q.join_offset * (s.per_context_s - q.context_mark_s)
        + (s.per_context_step_s - q.context_step_mark_s)
    )


@jit
def begin_integrals_anew(p, s):
    """Every 2^16 steps, charge all decoding sequences and start the integrals at zero.

    A share is a difference of sums that grow with the step number: begun anew, they keep their digits however long the
    run. Called where no run is open.
    """
    if s.step - s.origin < INTEGRAL_STEPS:
        return
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            q.cost_s += decode_share(s, q)
            q.join_offset = tokens_so_far(s, q)
            q.seq_mark_s = q.context_mark_s = q.context_step_mark_s = 0.0
        slot = q.next
    s.per_seq_s = s.per_context_s = s.per_context_step_s = 0.0
    s.origin = s.step


@jit
def stop_decoding(p, pool, s, q):
    """Take a sequence, already off the heap, out of the batch's totals, and charge it for its part of them."""
    tokens = tokens_so_far(s, q)
    q.emitted = tokens - q.prompt
    q.computed = tokens - 1
    s.context -= tokens
    i4_at(p.residues, s.residue_base + residue_of(pool, q.computed, s.step)).v -= 1
    i4_at(p.counts, s.count_base + q.itl_group).v -= 1
    q.cost_s += decode_share(s, q)
    q.state = PREFILLING


@jit
def drop_from_batch(p, pool, s, slot, now):
    """Take a running request out of batch and `running`, wherever it is in them, and free its blocks."""
    q = request_at(p.requests, slot)
    if q.state == DECODING:
        remove_end(p, s, find_end(p, s, slot))
        s.num_decoding -= 1
        stop_decoding(p, pool, s, q)
        q.last_token_s = now
    if s.partial == slot:
        s.partial = -1
    release(p, s, q, blocks_for(q.computed + q.chunk, pool.block_size))
    leave_running(p, s, slot, now)


@jit
def preempt(p, pool, s, slot, now):
    """Free a running request's blocks and queue it again; its output so far becomes part of what it recomputes."""
    q = request_at(p.requests, slot)
    drop_from_batch(p, pool, s, slot, now)
    q.computed = 0
    q.chunk = 0
    q.num_preemptions += 1
    pool.num_preempted += 1
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


@jit
def run_short_of_blocks(p, pool, s, now):
    """Pass 1 when the new blocks do not all fit: one request after the other, preempting. Returns the budget left."""
    close_run(p, pool, s)
    left = pool.max_tokens
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        tokens = tokens_so_far(s, q)
        computed = tokens - 1 if q.state == DECODING else q.computed
        chunk = min(tokens - computed, left)
        need = blocks_for(computed + chunk, pool.block_size) - blocks_for(computed, pool.block_size)
        after = q.next
        victim = -1
        while need > num_free(s) and victim != slot:
            victim = pick_victim(p, pool, s)
            left += request_at(p.requests, victim).chunk
            preempt(p, pool, s, victim, now)
        if victim == slot:
            if pool.by_priority == 0:
                break
            slot = after
            continue
        take(p, s, need)
        q.chunk = chunk
        left -= chunk
        if q.state == PREFILLING:
            publish(p, pool, s, q, computed + chunk)
        slot = q.next
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            q.chunk = 0
        slot = q.next
    return left


@jit
def run_running(p, pool, s, now):
    """Pass 1: a token for every decoding sequence, then the chunk in progress. Returns (budget left, preempted)."""
    before = pool.num_preempted
    need = blocks_at(p, pool, s, s.step) if s.num_decoding > 0 else 0
    left = pool.max_tokens - s.num_decoding
    chunk = 0
    if s.partial >= 0:
        q = request_at(p.requests, s.partial)
        chunk = min(q.prompt + q.emitted - q.computed, left)
        need += blocks_for(q.computed + chunk, pool.block_size) - blocks_for(q.computed, pool.block_size)
    if need > num_free(s):
        left = run_short_of_blocks(p, pool, s, now)
    else:
        take(p, s, need)
        if s.partial >= 0:
            q = request_at(p.requests, s.partial)
            q.chunk = chunk
            left -= chunk
            publish(p, pool, s, q, q.computed + chunk)
    if s.partial >= 0:
        q = request_at(p.requests, s.partial)
        q.computed += q.chunk
        if q.computed == q.prompt + q.emitted:
            add_prefilled(p, s, s.partial)
            s.partial = -1
    return left, pool.num_preempted > before


@jit
def add_prefilled(p, s, slot):
    """Note that this step's chunk completes a request's prompt: it emits a token at the step's end."""
    i4_at(p.prefilled, s.base + s.num_prefilled).v = slot
    s.num_prefilled += 1


@jit
def admit(p, pool, s, left, now):
    """Pass 2: admit waiting requests in order while budget, sequences and blocks last.

    The first that does not fit blocks all behind it.
    """
    s.blocked = 0
    slot = waiting_head(p, pool, s)
    while slot >= 0:
        if s.num_running >= pool.max_seqs:
            s.blocked = 1
            return
        if left <= 0:
            return
        q = request_at(p.requests, slot)
        tokens = q.prompt + q.emitted
        hits = hits_of(p, pool, s, q)
        cached = hits * pool.block_size
        chunk = tokens - cached
        s.blocked = 1
        if pool.chunked == 0 and chunk > left:
            return
        chunk = min(chunk, left)
        extra = idle_hits(p, s, q.group, hits) - hits + (pool.watermark if s.num_running > 0 else 0)
        if pool.reserve_full == 1 and blocks_for(tokens, pool.block_size) + extra > num_free(s):
            return
        blocks = blocks_for(cached + chunk, pool.block_size)
        if blocks + extra > num_free(s):
            return
        s.blocked = 0
        leave_waiting(p, pool, s, slot, now)
        if hits > 0:
            share(p, s, q.group, 0, hits)
        q.shared = hits
        take(p, s, blocks - hits)
        publish(p, pool, s, q, cached + chunk)
        join_running(p, s, slot, now)
        q.state = PREFILLING
        q.chunk = chunk
        q.computed = cached + chunk
        left -= chunk
        pool.cached_tokens += cached
        if np.isnan(q.scheduled_s) and visit_at(p.visits, q.visit).generate == 1:
            q.scheduled_s = now
            q.cached = cached
        if q.computed < tokens:
            s.partial = slot
        else:
            add_prefilled(p, s, slot)
        slot = waiting_head(p, pool, s)
