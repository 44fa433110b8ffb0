"""A step ends (`finish`): its tokens go out, in the order of its schedule; then those that were aborted."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.batch import drop, forget_outputs, outputs_base, start_decoding, take_ended
from sim.plane.cache import extend
from sim.plane.companions import has_companion, withhold
from sim.plane.compiled import jit
from sim.plane.deadlines import end_patience
from sim.plane.decoding import add_gap, add_itl, bin_of, flight_counts_base, flight_of, gauge_kv
from sim.plane.endings import end_request
from sim.plane.engine import book_single, commit, end_decode_steps
from sim.plane.handover import goes_elsewhere, keep
from sim.plane.leaving import depart
from sim.plane.log import log_finish
from sim.plane.marks import note_tokens, reach_marks
from sim.plane.queues import leave_waiting
from sim.plane.singly import new_tokens, spread_gap
from sim.plane.tables import (
    APPEND,
    CANDIDATE,
    DECODE,
    DECODING,
    IDLE,
    OWN_GAP,
    WAITING,
    i4_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
)
from sim.plane.verdicts import complete_beside, read_along
from sim.plane.visits import complete_visit
from sim.plane.work import note_candidate


@jit
def finish(p, r, now):
    """The oldest step in flight of replica r has ended, or the steps of a leap."""
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    commit(p, pool, s)
    if s.doing == DECODE:
        end_decode_steps(p, pool, s, s.step - s.depth)
    else:
        end_single(p, pool, s, now)
    s.doing = IDLE
    if pool.depth == 0:
        take_ended(p, pool, s, 0)
    deliver_outputs(p, pool, s, s.processed - 1 + s.paused, now)
    s.paused = 0
    if pool.streams == 1:
        reach_marks(p, s, s.processed)
        read_along(p, now)
    while s.num_aborts > 0:
        carry_out_aborts(p, pool, s, now)


@jit
def end_single(p, pool, s, now):
    """Count what a single step gave."""
    flight = flight_of(p, pool, s, s.processed)
    if flight.num_decodes > 0:
        s.num_fruitless = 0
        pool.output_tokens += flight.num_decodes
        if flight.copied == 1:
            base = flight_counts_base(p, s, s.processed)
            add_itl(p, p.flight_counts, base, bin_of(flight.dt_s), 1)
        else:
            add_itl(p, p.counts, s.count_base, bin_of(flight.dt_s), 1)
    if pool.depth == 0:
        book_single(p, pool, s, s.processed)
        gauge_kv(pool, s, now)
    if p.has_faults == 1 and s.paused == 0:
        s.last_decode_s = now
    flight.num_decodes = 0
    s.processed += 1 - s.paused
    s.num_steps += 1
    if s.paused == 1:
        s.num_pauses += 1
        s.resumed = 1


# ------------------------------------------------------------------ outputs of their own


@jit
def sort_outputs(p, base, n):
    """Bring a step's outputs into the order of its schedule, which is that of admission."""
    for x in range(1, n):
        item = i4_at(p.outputs, base + x).v
        admitted = request_at(p.requests, item >> 2).admitted
        y = x
        while y > 0 and request_at(p.requests, i4_at(p.outputs, base + y - 1).v >> 2).admitted > admitted:
            i4_at(p.outputs, base + y).v = i4_at(p.outputs, base + y - 1).v
            y -= 1
        i4_at(p.outputs, base + y).v = item


@jit
def deliver_outputs(p, pool, s, step, now):
    """Hand out what a step owes to single requests."""
    flight = flight_of(p, pool, s, step)
    n = flight.num_outputs
    flight.num_outputs = 0
    base = outputs_base(p, pool, s, step)
    sort_outputs(p, base, n)
    for x in range(n):
        item = i4_at(p.outputs, base + x).v
        if pool.singly == 1:
            deliver_singly(p, pool, s, item >> 2, item & 3, now)
        else:
            deliver(p, pool, s, item >> 2, item & 3, now)


@jit
def deliver(p, pool, s, slot, marks, now):
    """A request gets a token of its own: the first, one after a pause, or the last."""
    q = request_at(p.requests, slot)
    if marks & APPEND:
        q.emitted += 1
        q.pending = 0
    if marks & OWN_GAP:
        s.num_fruitless = 0
        pool.output_tokens += 1
        if q.emitted > 1:
            add_gap(p, q, now - q.last_token_s)
        note_first_token(p, q, slot, now)
    q.last_token_s = now
    if pool.streams == 1 and q.state != DECODING:
        note_tokens(p, slot, q)
    finished = q.emitted == q.output and q.state != DECODING
    if q.state == WAITING:  # preempted while the token was under way
        if finished:
            leave_waiting(p, pool, s, slot, now)
            if goes_elsewhere(p, q):
                keep(p, pool, s, slot, now)
    elif q.state != DECODING:
        if pool.depth > 0:
            extend(p, pool, s, slot, q.computed, q.computed)
        if finished and goes_elsewhere(p, q):
            keep(p, pool, s, slot, now)
        elif finished:
            drop(p, pool, s, slot, now)
        elif pool.depth == 0:
            start_decoding(p, pool, s, slot)
    if finished:
        finish_visit(p, s, q, slot, now)


@jit
def deliver_singly(p, pool, s, slot, marks, now):
    """In a pool that goes step by step: a step that carried a request has ended; it gets the tokens there are."""
    q = request_at(p.requests, slot)
    q.in_flight -= 1
    if marks & APPEND == 0:
        return
    tokens = new_tokens(p, pool, q)
    s.num_fruitless = 0
    pool.output_tokens += tokens
    if q.emitted > 0:
        add_gap(p, q, now - q.last_token_s)
        if tokens > 1:
            spread_gap(p, q, now - q.last_token_s, tokens)
    q.emitted += tokens
    q.last_token_s = now
    note_first_token(p, q, slot, now)
    if pool.streams == 1:
        note_tokens(p, slot, q)
    finished = q.emitted == q.output
    if q.state != WAITING:
        q.computed = q.prompt + q.emitted - 1  # without the drafts that were rejected
        if finished:
            drop(p, pool, s, slot, now)
    elif finished:  # preempted while the token was under way
        leave_waiting(p, pool, s, slot, now)
    if finished:
        finish_visit(p, s, q, slot, now)


@jit
def note_first_token(p, q, slot, now):
    """A request has a token: if it is the client's first, patience is not tried any more."""
    if np.isnan(q.first_token_s):
        visit = visit_at(p.visits, q.visit)
        if visit.streams == 1:
            if not withhold(p, slot, now):
                q.first_token_s = now
                end_patience(p, slot)
        elif visit.role == CANDIDATE:
            note_candidate(p, slot, now)


@jit
def finish_visit(p, s, q, slot, now):
    """A request has its last token, and its replica has let go."""
    log_finish(p, s, q, now)
    if q.aborted >= 0:
        forget_abort(p, s, slot)
    if has_companion(p, slot):
        complete_beside(p, slot, now)
    else:
        complete_visit(p, slot, now)


# ------------------------------------------------------------------ aborts


@jit
def carry_out_aborts(p, pool, s, now):
    """End the running requests that were aborted; what they have in a later step is ignored when that ends."""
    slot = s.abort_head
    s.num_aborts = 0
    while slot >= 0:
        q = request_at(p.requests, slot)
        after = q.link
        drop(p, pool, s, slot, now)
        forget_outputs(p, pool, s, slot)
        depart(p, q, slot, now)
        end_request(p, slot, q.aborted, q.abort_s)
        slot = after


@jit
def forget_abort(p, s, slot):
    """Take a request that finished in the very step out of its replica's list of aborts."""
    s.num_aborts -= 1
    after = request_at(p.requests, slot).link
    if s.abort_head == slot:
        s.abort_head = after
        return
    before = s.abort_head
    while request_at(p.requests, before).link != slot:
        before = request_at(p.requests, before).link
    request_at(p.requests, before).link = after
    if s.abort_tail == slot:
        s.abort_tail = before
