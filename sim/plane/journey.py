"""A request comes: arrival, limits, its first visit; its timer goes off; it is aborted."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import ABANDONED, FAILED, RATE_LIMITED, REFUSED
from sim.plane.companions import engage, first_to_time_out, is_companion
from sim.plane.compiled import jit
from sim.plane.deadlines import GO_ON, TIME_OUT, be_patient, what_is_due
from sim.plane.drawing import draw, lookup, lookup_tokens, whole_ns
from sim.plane.drifts import scale_turn
from sim.plane.endings import end_request
from sim.plane.extras import begin_extras
from sim.plane.leaving import withdraw
from sim.plane.limits import is_let_in
from sim.plane.regions import set_out
from sim.plane.routing import forget_homes
from sim.plane.sequence import blocks_for
from sim.plane.singly import reach
from sim.plane.tables import (
    FAR,
    FREE,
    PAUSE,
    THINKING,
    arrival_at,
    class_at,
    f8_at,
    pool_at,
    request_at,
    visit_at,
)
from sim.plane.text import begin_text, go_on_with_text
from sim.plane.views import come_by_router
from sim.plane.visits import enter_pool, go_on, lengths, most_read, start_visit, time_out
from sim.plane.work import GOES_ON, after_visit, begin_work, is_made, refusal_tokens, visit_lengths


@jit
def arrive(p, row, now):
    """A conversation begins."""
    a = arrival_at(p.arrivals, row)
    slot = p.free_slot
    q = request_at(p.requests, slot)
    p.free_slot = q.next
    p.num_free -= 1
    q.user = a.user
    q.conversation = a.conversation
    q.turn = q.attempt = 0
    q.num_turns = a.num_turns
    q.class_id = a.class_id
    q.language = a.language
    q.bucket = a.bucket
    q.history = 0
    q.user_tokens = a.user_tokens
    kind = class_at(p.classes, q.class_id)
    q.full_output = min(a.output_tokens, kind.max_output)
    begin_text(p, q, kind, a.num_segments)
    forget_homes(p, slot)
    issue(p, slot, now)


@jit
def issue(p, slot, now):
    """A turn is asked, or asked again: the door and limits first, then the first visit of its path."""
    q = request_at(p.requests, slot)
    kind = class_at(p.classes, q.class_id)
    q.serial = p.next_serial
    p.next_serial += 1
    q.arrived_s = now
    q.classified_s = q.scheduled_s = q.first_token_s = q.last_token_s = q.abort_s = np.nan
    q.timer_s = FAR
    q.aborted = -1
    begin_extras(p, slot)
    q.cost_usd = q.guard_s = q.cost_s = 0.0
    q.cached = q.num_preemptions = q.chunk = q.emitted = q.computed = 0
    q.replica = -1
    q.level = kind.level
    q.itl_group = kind.itl_group
    q.visit = kind.first_visit
    if kind.scaled == 1 and q.attempt == 0:
        scale_turn(q, kind)
    prompt = kind.prefix_tokens + q.history + q.user_tokens
    fitting = prompt
    answer = np.int64(q.full_output)
    if kind.special == 1:
        answer += begin_work(p, q, slot, kind)
    if prompt + answer > kind.max_context and kind.refuses_long == 0:
        fitting = max(kind.prefix_tokens + q.user_tokens, kind.max_context - answer)
    q.full_prompt = fitting
    if q.attempt == 0:
        go_on_with_text(p, q, slot, kind, fitting < prompt)
    if p.num_outages > 0:
        end_request(p, slot, FAILED, now)
        return
    if p.num_regions > 0:
        set_out(p, q, slot)
    if p.watches == 1:
        come_by_router(p, q, slot, now)
    if (q.bucket >= 0 or kind.user_limit >= 0) and not is_let_in(p, q, slot, kind, now):
        end_request(p, slot, RATE_LIMITED, now)
        return
    if not fits(p, q, kind, answer):
        end_request(p, slot, REFUSED, now)
        return
    if kind.patience_s >= 0:
        u = draw(p.patience_key, q, q.turn)
        be_patient(p, slot, max(now, whole_ns(now + lookup(p, kind.patience_s, u))))
    if p.has_companions == 1:
        engage(p, slot, q)
    if kind.special == 0:
        start_visit(p, slot, now)
    else:
        q.visit -= 1
        go_on(p, slot, GOES_ON, now)


@jit
def fits(p, q, kind, answer):
    """Whether the class lets a request in, and every pool of its path can ever hold it."""
    if kind.refuses_long == 1 and q.full_prompt + answer > kind.max_context:
        return False
    check = np.int64(visit_at(p.visits, q.visit).check)
    if check >= 0:
        visit = visit_at(p.visits, check)
        if not can_hold(pool_at(p.pools, visit.pool), visit.template_tokens + most_read(q, visit), 1):
            return False
    if kind.special == 1:
        return fits_everywhere(p, q)
    for v in range(q.visit, visit_at(p.visits, q.visit).path_end + 1):
        visit = visit_at(p.visits, v)
        prompt, output = lengths(q, visit)
        if not can_hold(pool_at(p.pools, visit.pool), prompt, output):
            return False
    return True


@jit
def can_hold(pool, prompt, output):
    """Whether a replica of a pool that is empty could serve so many tokens."""
    longest = prompt + output - 1
    if prompt + output > pool.max_model_len:
        return False
    if blocks_for(reach(pool, longest + pool.drafts), pool.block_size) > pool.usable:
        return False
    return pool.chunked == 1 or (prompt if pool.reserves == 1 else longest) <= pool.max_tokens


@jit
def fits_everywhere(p, q):
    """Whether every pool could serve the visits that a request would make if nothing ended it before the last."""
    end = np.int64(visit_at(p.visits, q.visit).path_end)
    last = visit_at(p.visits, end)
    added = answered = np.int64(0)
    for v in range(q.visit, end + 1):
        visit = visit_at(p.visits, v)
        if not is_made(p, q, visit, answered):
            continue
        if visit.role != PAUSE:
            prompt, output = visit_lengths(p, q, visit, added, answered)
            if not can_hold(pool_at(p.pools, visit.pool), prompt, output):
                return False
        added, answered = after_visit(p, q, visit, added, answered)
        refusal = refusal_tokens(p, q, visit)
        if refusal > 0:
            prompt = visit_lengths(p, q, last, added, answered)[0]
            if not can_hold(pool_at(p.pools, last.pool), prompt, refusal):
                return False
    return True


@jit
def ring(p, slot, now):
    """A request's timer goes off: the next turn or attempt is due, a delay, a queue's limit or patience ends."""
    q = request_at(p.requests, slot)
    q.timer_s = FAR
    if q.state != THINKING:
        if p.has_companions == 1:
            slot = first_to_time_out(p, slot, now)
        due = what_is_due(p, slot, now)
        if due == GO_ON:
            enter_pool(p, slot, now)
        elif due == TIME_OUT:
            time_out(p, slot, now)
        else:
            abort(p, slot, ABANDONED, now)
        return
    if q.attempt > 0:
        p.num_retries += 1
        issue(p, slot, now)
        return
    kind = class_at(p.classes, q.class_id)
    factor = 1.0 if kind.factors < 0 else f8_at(p.curves, kind.factors + q.language).v
    q.turn += 1
    q.user_tokens = lookup_tokens(p, kind.user_tokens, draw(p.user_tokens_key, q, q.turn), factor)
    answer = lookup_tokens(p, kind.output_tokens, draw(p.output_tokens_key, q, q.turn), factor)
    q.full_output = min(answer, kind.max_output)
    issue(p, slot, now)


@jit
def abort(p, slot, ending, now):
    """End a request from outside: at once if it waits, else at the end of the step or transfer in progress."""
    q = request_at(p.requests, slot)
    if q.state in (FREE, THINKING) or q.aborted >= 0 or is_companion(p, slot):  # a companion goes with its request
        return
    if withdraw(p, slot, ending, now):
        end_request(p, slot, ending, now)
