"""One replica's loop: a step ends (`finish`), the next is formed (`plan`), a newcomer may end a leap early (`cut`)."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.blocks import blocks_for, blocks_in, num_free, release, residue_of, steps_within, take
from sim.plane.compiled import jit
from sim.plane.decoding import (
    BINS,
    add_itl,
    bin_of,
    close_run,
    count_run,
    gauge_kv,
    open_run,
    piece_of,
    steps_by,
    time_at,
)
from sim.plane.events import emit
from sim.plane.queues import first_end, leave_running, pop_ended, push_end
from sim.plane.scheduler import admit, begin_integrals_anew, run_running, stop_decoding
from sim.plane.tables import (
    ACTIVE,
    DECODE,
    DECODING,
    DRAINING,
    IDLE,
    MIXED,
    OFF,
    STEP,
    f8_at,
    group_at,
    i4_at,
    i8_at,
    pool_at,
    replica_at,
    request_at,
)


@jit
def plan(p, r, now):
    """Form the next batch of replica r and put its end in the outbox; idle if there is none."""
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    while True:
        s.num_prefilled = 0
        left, preempted = run_running(p, pool, s, now)
        if not preempted:
            admit(p, pool, s, left, now)
        else:
            s.blocked = 0
        if s.num_prefilled > 0 or s.partial >= 0:
            start_mixed(p, pool, s, r, now)
            return
        if s.num_decoding > 0:
            start_decoding(p, pool, s, r, now)
            return
        if not preempted:
            break
    s.doing = IDLE
    s.pending = 0
    gauge_kv(pool, s, now)
    if s.state == DRAINING:
        turn_off(p, s, now)


@jit
def start_decoding(p, pool, s, r, now):
    """Go on with the decode run, or anchor one; leap to the first step after which something can change."""
    if s.anchored == 1 and piece_of(p, pool, s.context) != s.piece:
        close_run(p, pool, s)
    if s.anchored == 0:
        begin_integrals_anew(p, s)
        open_run(p, pool, s, now)
    s.doing = DECODE
    steps = 1
    if p.leap == 1 and (s.num_waiting == 0 or s.blocked == 1):
        steps = first_end(p, s) - s.step
        if steps > 1:
            steps = min(steps, 1 + steps_within(p, pool, s, s.step + 1, num_free(s)))
        if s.piece < pool.num_pieces - 1:
            knot = np.int64(np.ceil(f8_at(p.curves, pool.knot_tokens + s.piece).v))
            steps = min(steps, max(1, (knot - s.context + s.num_decoding - 1) // s.num_decoding))
    s.target = s.step + steps
    emit(p, time_at(s, s.target), STEP, r, r)


@jit
def start_mixed(p, pool, s, r, now):
    """Start a step that carries prefill; its time is split by what causes each part of it."""
    close_run(p, pool, s)
    begin_integrals_anew(p, s)
    decodes = s.num_decoding
    tokens = decodes
    pairs = np.int64(0)
    for x in range(s.num_prefilled + 1):
        slot = i4_at(p.prefilled, s.base + x).v if x < s.num_prefilled else s.partial
        if slot >= 0:
            q = request_at(p.requests, slot)
            n = np.int64(q.chunk)
            tokens += n
            pairs += n * (q.computed - n) + (n * (n + 1)) // 2
    entries = decodes + s.num_prefilled + (s.partial >= 0)
    emitting = decodes + s.num_prefilled
    batch_s = f8_at(p.curves, pool.batch_s + tokens).v
    sample_s = f8_at(p.curves, pool.sample_s + emitting).v
    dt_s = batch_s + pool.prefill_step_s + sample_s + pool.pair_s * pairs
    s.entry_s = (pool.first_batch_s + pool.prefill_step_s) / entries
    s.token_s = (batch_s - pool.first_batch_s) / tokens
    s.emit_s = 0.0
    if emitting > 0:
        s.emit_s = sample_s / emitting
    else:
        s.entry_s += sample_s / entries
    s.decode_s = 0.0
    s.context_s = 0.0
    if decodes > 0:
        at = decodes * pool.num_pieces + piece_of(p, pool, s.context)
        offset_s = f8_at(p.curves, pool.decode_offset_s + at).v
        s.context_s = f8_at(p.curves, pool.decode_slope_s + at).v
        s.decode_s = offset_s / decodes
        dt_s += offset_s + s.context_s * s.context
    s.doing = MIXED
    s.num_tokens = tokens
    s.began_s = now
    s.dt_s = dt_s
    s.target = s.step + 1
    gauge_kv(pool, s, now)
    emit(p, now + dt_s, STEP, r, r)


@jit
def charge_chunk(p, pool, s, q, emits):
    """A prefill entry's part of the mixed step that ends."""
    n = np.int64(q.chunk)
    pairs = n * (q.computed - n) + (n * (n + 1)) // 2
    q.cost_s += s.entry_s + n * s.token_s + pool.pair_s * pairs
    if emits:
        q.cost_s += s.emit_s
    q.chunk = 0


@jit
def end_step(p, pool, s, now):
    """Book the step, or the run of steps, that ends now; requests are looked at after this."""
    steps = s.target - s.step
    decodes = s.num_decoding
    if s.doing == DECODE:
        count_run(p, s, s.target)
        if steps > 1:
            take(p, s, blocks_in(p, pool, s, s.step + 1, steps - 1))
    else:
        if decodes > 0:
            add_itl(p, s, bin_of(s.dt_s), 1)
            s.per_seq_s += s.entry_s + s.token_s + s.emit_s + s.decode_s
            s.per_context_s += s.context_s
            s.per_context_step_s += s.context_s * (s.step - s.origin)
        s.busy_s += s.dt_s
        s.energy_j += s.dt_s * f8_at(p.curves, pool.power_w + s.num_tokens).v
        if s.partial >= 0:
            charge_chunk(p, pool, s, request_at(p.requests, s.partial), False)
        gauge_kv(pool, s, now)
    s.step = s.target
    s.context += decodes * steps
    s.num_steps += steps
    pool.output_tokens += decodes * steps


@jit
def take_ended(p, pool, s, now):
    """Take the sequences that have just ended out of the batch, into `ended` as admitted. Returns how many."""
    if s.num_decoding == 0 or first_end(p, s) > s.step:
        return 0
    close_run(p, pool, s)
    n = pop_ended(p, s)
    for x in range(n):
        slot = i4_at(p.ended, x).v
        q = request_at(p.requests, slot)
        stop_decoding(p, pool, s, q)
        release(p, s, q, blocks_for(q.computed, pool.block_size))
        leave_running(p, s, slot, now)
    return n


@jit
def emit_first(p, pool, s, slot, now):
    """A request whose prompt is complete emits a token and decodes on. Returns whether that was its last."""
    q = request_at(p.requests, slot)
    charge_chunk(p, pool, s, q, True)
    pool.output_tokens += 1
    if q.emitted > 0:  # resumed after a preemption: the gap spans it
        i8_at(p.itl, q.itl_group * BINS + bin_of(now - q.last_token_s)).v += 1
    q.emitted += 1
    if q.emitted == q.output:
        release(p, s, q, blocks_for(q.computed, pool.block_size))
        leave_running(p, s, slot, now)
        return True
    close_run(p, pool, s)
    q.end_step = s.step + (q.output - q.emitted)
    q.state = DECODING
    push_end(p, s, slot, q.end_step)
    s.num_decoding += 1
    tokens = q.prompt + q.emitted
    s.context += tokens
    i4_at(p.residues, s.residue_base + residue_of(pool, q.computed, s.step)).v += 1
    i4_at(p.counts, s.count_base + q.itl_group).v += 1
    q.join_offset = tokens - (s.step - s.origin)
    q.seq_mark_s = s.per_seq_s
    q.context_mark_s = s.per_context_s
    q.context_step_mark_s = s.per_context_step_s
    return False


@jit
def cut(p, s, r, now):
    """End a leap with the decode step in progress."""
    if s.doing != DECODE or s.target - s.step <= 1:
        return
    step = steps_by(p, s, r, now) + 1
    if step < s.target:
        s.target = step
        emit(p, time_at(s, step), STEP, r, r)


@jit
def turn_off(p, s, now):
    """A drained replica goes: its cache is dropped, its time on line ends."""
    for g in range(p.num_groups):
        group = group_at(p.groups, s.group_base + g)
        s.free += group.cached
        s.evictable -= group.cached
        group.cached = 0
    s.online_s += now - s.online_at_s
    s.state = OFF
    p.wake = 1


@jit
def list_active(p, pool):
    """Write the pool's active replicas in ascending order."""
    n = 0
    for r in range(pool.first_replica, pool.first_replica + pool.max_replicas):
        if replica_at(p.replicas, r).state == ACTIVE:
            i4_at(p.active, pool.first_replica + n).v = r
            n += 1
    pool.num_active = n
