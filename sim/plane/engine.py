"""One replica's loop: the next step is formed (`plan`), its time is told and split, a newcomer may end a leap (`cut`).

Decode steps of one batch are a run (`decoding.py`), every other step is single. Synchronous replicas have one step in
flight, asynchronous ones two: while one runs the next is formed, without knowing its tokens.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.batch import begin_integrals_anew
from sim.plane.cache import extend, num_free, take
from sim.plane.compiled import jit, prefetch
from sim.plane.decoding import (
    book,
    close_run,
    copy_counts,
    count_run,
    flight_of,
    gauge_kv,
    open_run,
    piece_of,
    steps_by,
    time_at,
)
from sim.plane.events import emit
from sim.plane.health import is_repaced, slowness, take_pace, times_of
from sim.plane.loading import give_way, is_loading
from sim.plane.log import LOGGED_LEAP, log_end, log_inner, log_step
from sim.plane.marks import next_end_s
from sim.plane.online import is_left_alone, turn_off
from sim.plane.queues import SLOT_MASK, first_end, first_ready
from sim.plane.scheduler import schedule
from sim.plane.sequence import blocks_at, blocks_in, delivered, scheduled, steps_within
from sim.plane.singly import drafts_in, join_pipeline, stage_is_free, stage_s
from sim.plane.tables import (
    DECODE,
    DECODING,
    DRAINING,
    IDLE,
    SINGLE,
    STEP,
    f8_at,
    i4_at,
    i8_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
)

FRUITLESS = 1 << 16
"""So many preemptions without a single token out: the replica is stuck."""


@jit
def plan(p, r, now):
    """Form steps until as many are in flight as may be, and put the end of the oldest in the outbox."""
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    while s.target - s.processed + s.paused <= pool.depth:
        commit(p, pool, s)
        preempted = schedule(p, pool, s, now)
        if s.num_chunks > 0 or s.num_decoding > 0:
            start(p, pool, s, now)
        elif s.target > s.processed or not (preempted or make_way(p, pool, s, now)):
            break
        if s.num_fruitless > FRUITLESS and is_left_alone(p, s):
            p.stuck = r + 1
            p.wake = 1
            break
    if s.target == s.processed and s.paused == 0:
        rest(p, pool, s, r, now)
        return
    s.depth = s.target - s.processed - 1
    if s.anchored == 1 and s.processed >= s.step0:
        s.doing = DECODE
        if s.depth == pool.depth:
            leap(p, pool, s)
        emit(p, next_end_s(p, s), STEP, r, r)
    else:
        s.doing = SINGLE
        emit(p, flight_of(p, pool, s, s.processed).end_s, STEP, r, r)


@jit
def rest(p, pool, s, r, now):
    """Nothing to do, or nothing but to wait for what is being loaded."""
    s.doing = IDLE
    s.pending = 0
    gauge_kv(pool, s, now)
    if is_loading(p, pool, s) or i4_at(p.holding, r).v > 0:
        return
    if s.num_waiting > 0 or s.num_running > 0:
        if is_left_alone(p, s):  # nothing is under way, so nothing will ever change
            p.stuck = r + 1
            p.wake = 1
    elif s.state == DRAINING:
        turn_off(p, pool, s, now)


@jit
def make_way(p, pool, s, now):
    """Nothing is under way, and the first in line does not fit: whether another has given its loaded blocks back."""
    if pool.loads == 0 or is_loading(p, pool, s):
        return False
    return give_way(p, pool, s, first_ready(p, pool, s), now)


@jit
def step_through(p, pool, s):
    """For the log: give the decoding sequences the blocks of a leap's later steps one step after the other."""
    first, processed = s.step, s.processed
    for step in range(first + 1, s.target):
        s.step, s.processed = step, step - pool.depth
        if s.by_blocks == 1:
            extend_decodes(p, pool, s)
        else:
            take(p, pool, s, blocks_at(p, pool, s, step))
        log_inner(p, pool, s)
    s.step, s.processed = first, processed


@jit
def commit(p, pool, s):
    """Bring the totals from the step formed last to the next, over all steps of a leap."""
    steps = s.target - s.step
    if steps > 1:
        if p.logging == 1:
            step_through(p, pool, s)
        elif s.by_blocks == 0:
            take(p, pool, s, blocks_in(p, pool, s, s.step + 1, steps - 1))
    s.step = s.target
    s.context += s.num_decoding * steps
    s.granted = 0


@jit
def start(p, pool, s, now):
    """The step just formed begins: now, or when the one in flight ends, or has left the first stage."""
    begin_s = now
    if s.step > s.processed and pool.singly == 1:
        begin_s = max(now, stage_is_free(p, s))
    elif s.step > s.processed:
        in_run = s.anchored == 1 and s.processed >= s.step0
        begin_s = time_at(s, s.step) if in_run else flight_of(p, pool, s, s.processed).end_s
    if p.has_faults == 1 and is_repaced(p, s):
        close_run(p, pool, s)
        take_pace(p, s)
    log_step(p, pool, s, now, begin_s)
    if s.num_chunks == 0:
        start_decode_step(p, pool, s, now, begin_s)
        end_s = time_at(s, s.step + 1)
    else:
        end_s = start_single(p, pool, s, now, begin_s)
    log_end(p, s, s.step, end_s)
    s.target = s.step + 1 - s.paused


@jit
def start_decode_step(p, pool, s, now, begin_s):
    """Go on with the decode run, or anchor one."""
    if s.anchored == 1 and piece_of(p, times_of(p, pool, s), s.context) != s.piece:
        close_run(p, pool, s)
    if s.anchored == 0:
        begin_integrals_anew(p, s)
        open_run(p, pool, s, now, begin_s)


@jit
def leap(p, pool, s):
    """Form all the steps of a run up to the first after which something can change."""
    if p.leap == 0 or s.num_loose > 0 or (s.num_waiting > 0 and s.blocked == 0):
        return
    if pool.depth > 0 and flight_of(p, pool, s, s.processed).num_outputs > 0:
        return
    steps = first_end(p, s) - s.step
    if steps > 1:
        steps = min(steps, 1 + steps_within(p, pool, s, s.step + 1, num_free(s)))
    times = times_of(p, pool, s)
    if s.piece < times.num_pieces - 1:
        knot = np.int64(np.ceil(f8_at(p.curves, times.knot_tokens + s.piece).v))
        steps = min(steps, max(1, (knot - s.context + s.num_decoding - 1) // s.num_decoding))
    if p.logging == 1:
        steps = min(steps, LOGGED_LEAP)
    s.target = s.step + steps
    prefetch(request_at(p.requests, i8_at(p.ends, s.base).v & SLOT_MASK))


@jit
def is_decode(q, drafts):
    """Whether what a request apart from the totals computes is timed as a decode: one token behind its prompt.

    Or, where its prompt was fetched, the last token of that alone: for the kernels it is one query like any decode's.
    """
    return q.chunk - drafts == 1 and q.computed - drafts > q.prompt - q.fetches


@jit
def num_in_step(s):
    """Decoding sequences that the step just formed carries: all, or none in a pause."""
    return np.int64(0) if s.paused == 1 else np.int64(s.num_decoding)


@jit
def start_single(p, pool, s, now, begin_s):
    """Start a step that is not of a run; its time is split by what causes each part of it. Returns its end [s]."""
    close_run(p, pool, s)
    begin_integrals_anew(p, s)
    times, slow = times_of(p, pool, s), slowness(p, s)
    decodes, context = num_in_step(s), s.context * (1 - s.paused)
    tokens, emitting = decodes, decodes
    pairs = prefills = np.int64(0)
    for x in range(s.num_chunks):
        q = request_at(p.requests, i4_at(p.chunks, s.base + x).v)
        if np.isnan(q.scheduled_s) and visit_at(p.visits, q.visit).generate == 1:
            q.scheduled_s = begin_s
        tokens += q.chunk
        emitting += 1 - q.mid
        drafts = drafts_in(pool, q)
        if is_decode(q, drafts):
            decodes += 1
            context += q.computed - drafts
        else:
            prefills += 1
            pairs += pairs_of(q)
    sample_s = f8_at(p.curves, times.sample_s + emitting).v
    offset_s = s.context_s = 0.0
    if decodes > 0:
        at = decodes * times.num_pieces + piece_of(p, times, context)
        offset_s = f8_at(p.curves, times.decode_offset_s + at).v
        s.context_s = f8_at(p.curves, times.decode_slope_s + at).v
    s.decode_s = offset_s / max(decodes, 1)
    if prefills > 0:
        split_mixed(p, times, s, tokens, decodes + prefills, emitting, sample_s)
        s.dt_s = f8_at(p.curves, times.batch_s + tokens).v + times.prefill_step_s + sample_s + times.pair_s * pairs
        if decodes > 0:
            s.dt_s += offset_s + s.context_s * context
    else:
        even_s = f8_at(p.curves, times.decode_batch_s + decodes).v + sample_s
        s.entry_s = even_s / decodes
        s.token_s = s.emit_s = 0.0
        s.dt_s = even_s + offset_s + s.context_s * context
    if slow != 1.0:
        stretch(s, slow)
    s.num_tokens = tokens
    s.began_s = begin_s
    gauge_kv(pool, s, now)
    flight = flight_of(p, pool, s, s.step)
    flight.dt_s = s.dt_s
    flight.end_s = begin_s + s.dt_s
    flight.num_decodes = num_in_step(s)
    flight.copied = 0
    if pool.depth > 0 and pool.singly == 1:
        occupied_s = stage_s(p, pool, s, tokens, decodes, context, emitting, pairs, prefills)
        flight.end_s, part = join_pipeline(p, pool, s, begin_s, occupied_s, now)
        charge(p, pool, s, times.pair_s * slow * part)
    elif pool.depth > 0:
        copy_counts(p, s, flight, s.step)
        book_single(p, pool, s, s.step)
    return flight.end_s


@jit
def stretch(s, slow):
    """A slow replica's step takes so many times as long, and so does each part of it."""
    s.dt_s *= slow
    s.entry_s *= slow
    s.token_s *= slow
    s.emit_s *= slow
    s.decode_s *= slow
    s.context_s *= slow


@jit
def pairs_of(q):
    """Query x context pairs of a request's chunk."""
    n = np.int64(q.chunk)
    return n * (q.computed - n) + (n * (n + 1)) // 2


@jit
def split_mixed(p, times, s, tokens, entries, emitting, sample_s):
    """Split a step that carries prefill: per entry, per token, per entry that emits."""
    s.entry_s = (times.first_batch_s + times.prefill_step_s) / entries
    s.token_s = (f8_at(p.curves, times.batch_s + tokens).v - times.first_batch_s) / tokens
    s.emit_s = 0.0
    if emitting > 0:
        s.emit_s = sample_s / emitting
    else:
        s.entry_s += sample_s / entries


@jit
def book_single(p, pool, s, step):
    """Book the single step of that number, and charge those apart from the totals for their parts of it.

    A synchronous replica does so when the step has ended, an asynchronous one when it is formed.
    """
    if num_in_step(s) > 0:
        s.per_seq_s += s.entry_s + s.token_s + s.emit_s + s.decode_s
        s.per_context_s += s.context_s
        s.per_context_step_s += s.context_s * (step - s.origin)
    book(p, pool, s, s.num_tokens, 1.0, s.dt_s, s.began_s + s.dt_s)
    charge(p, pool, s, times_of(p, pool, s).pair_s * slowness(p, s))


@jit
def charge(p, pool, s, pair_s):
    """Charge those apart from the totals for their parts of the single step formed last."""
    for x in range(s.num_chunks):
        q = request_at(p.requests, i4_at(p.chunks, s.base + x).v)
        q.cost_s += s.entry_s + q.chunk * s.token_s
        if q.mid == 0:
            q.cost_s += s.emit_s
        drafts = drafts_in(pool, q)
        if is_decode(q, drafts):
            q.cost_s += s.decode_s + s.context_s * (q.computed - drafts)
        else:
            q.cost_s += pair_s * pairs_of(q)
        q.chunk = 0
    s.num_chunks = 0


@jit
def extend_decodes(p, pool, s):
    """By blocks: give every decoding sequence the blocks of the steps formed, and publish what they filled."""
    slot = s.run_head
    while slot >= 0:
        q = request_at(p.requests, slot)
        if q.state == DECODING:
            extend(p, pool, s, slot, scheduled(s, q) - 1 + s.granted, delivered(s, q) - 1 + s.granted)
        slot = q.next


@jit
def end_decode_steps(p, pool, s, processed):
    """Count what the steps of a run gave, as far as they have ended."""
    steps = processed - s.processed
    s.processed = processed
    count_run(p, s, processed)
    if pool.prefill_first == 1 or p.has_faults == 1:
        s.last_decode_s = time_at(s, processed)
    s.num_steps += steps
    pool.output_tokens += s.num_decoding * steps
    s.num_fruitless = 0
    if s.by_blocks == 1:
        extend_decodes(p, pool, s)


@jit
def catch_up(p, pool, s, r, now):
    """End a leap with the step in progress, and bring the replica to it: as if its steps had been played singly."""
    if s.doing != DECODE:
        return
    ended = steps_by(p, s, r, now)
    formed = ended + s.depth
    if formed > s.step:
        s.target = formed
        commit(p, pool, s)
        end_decode_steps(p, pool, s, ended)
        s.granted = 1
        if s.by_blocks == 1:
            extend_decodes(p, pool, s)
        else:
            take(p, pool, s, blocks_at(p, pool, s, formed))
        if p.logging == 1:
            log_inner(p, pool, s)
    s.target = formed + 1


@jit
def end_leap(p, pool, s, r, now):
    """Before anything is done to the blocks of a replica from outside: catch up, and go on from there."""
    target = s.target
    catch_up(p, pool, s, r, now)
    if s.target < target:
        emit(p, next_end_s(p, s), STEP, r, r)


@jit
def wake(p, s, r, now):
    """Somebody in line may be admitted now: an idle replica looks at once, a busy one with its next step."""
    if s.pending == 0:
        s.pending = 1
        emit(p, now, STEP, r, r)
    elif s.num_waiting > 0:
        cut(p, s, r, now)


@jit
def cut(p, s, r, now):
    """End a leap with the step in progress."""
    if s.doing != DECODE or s.target - s.step <= 1:
        return
    target = max(steps_by(p, s, r, now) + 1 + s.depth, s.step + 1)
    if target < s.target:
        s.target = target
        emit(p, next_end_s(p, s), STEP, r, r)
