"""What happens to a request between engines: arrival, limits, visits, its ending, the next turn."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import (
    ABANDONED,
    BLOCKED,
    COMPLETED,
    FAILED,
    IN_FLIGHT,
    RATE_LIMITED,
    REFUSED,
    SHED,
)
from sim.plane.batch import forget_outputs
from sim.plane.compiled import jit
from sim.plane.drawing import draw, lookup, lookup_tokens, whole_ns
from sim.plane.engine import cut, end_leap, wake
from sim.plane.events import cancel_timer, emit
from sim.plane.handover import offer, release_hold, write_handover
from sim.plane.loading import forget_load, let_go
from sim.plane.queues import first_ready, join_waiting, leave_waiting
from sim.plane.reactions import GOES_ON, LEAVES, TRIES_AGAIN, asked_s, react, set_timer
from sim.plane.routing import forget_homes, route
from sim.plane.sequence import blocks_for
from sim.plane.singly import reach
from sim.plane.tables import (
    DECODE_SIDE,
    FAR,
    FREE,
    LOADING,
    STEP,
    THINKING,
    WAITING,
    arrival_at,
    bucket_at,
    class_at,
    done_at,
    f8_at,
    i4_at,
    pool_at,
    replica_at,
    request_at,
    retry_at,
    visit_at,
)
from sim.plane.text import begin_text, forget_stretches, go_on_with_text, open_text
from sim.plane.world import MAX_VISITS

# ------------------------------------------------------------------ visits


@jit
def lengths(q, visit):
    """Prompt and output of a visit [tokens]."""
    if visit.generate == 1:
        return q.full_prompt, (q.full_output if visit.last == 1 else 1)
    return visit.template_tokens + (q.full_prompt if visit.reads_full == 1 else q.user_tokens), 1


@jit
def start_visit(p, slot, now):
    """Send a request to the pool of its present visit."""
    q = request_at(p.requests, slot)
    visit = visit_at(p.visits, q.visit)
    pool = pool_at(p.pools, visit.pool)
    q.prompt, q.output = lengths(q, visit)
    if visit.first == 1:
        q.classified_s = now
    open_text(p, q, class_at(p.classes, q.class_id), visit)
    forget_load(p, slot)
    q.emitted = visit.emitted
    q.fetches = np.int64(visit.side == DECODE_SIDE)
    q.computed = q.pending = q.mid = q.in_flight = 0
    q.cost_s = 0.0
    q.replica = -1
    r = route(p, pool, q, slot, visit)
    if r < 0:
        end_request(p, slot, SHED, now)
        return
    q.replica = r
    if visit.side == DECODE_SIDE:
        offer(p, q, slot, visit)
    pool.num_arrived += 1
    pool.prompt_tokens += q.prompt
    i4_at(p.outstanding, r).v += 1
    s = replica_at(p.replicas, r)
    is_head = join_waiting(p, pool, s, slot, False, now)
    if s.pending == 0:
        s.pending = 1
        emit(p, now, STEP, r, r)
    elif (is_head or pool.adaptive == 1) and s.num_running < pool.max_admitted:  # a longer queue makes chunks shorter
        cut(p, s, r, now)


@jit
def leave_pool(p, q):
    """A request leaves its replica for good: count it out and turn its share of replica time into money."""
    visit = visit_at(p.visits, q.visit)
    pool = pool_at(p.pools, visit.pool)
    pool.num_left += 1
    i4_at(p.outstanding, q.replica).v -= 1
    q.cost_usd += q.cost_s * pool.usd_per_s
    if visit.last == 0:
        q.guard_s += q.cost_s
        q.cost_s = 0.0


@jit
def complete_visit(p, slot, now):
    """A visit's last token is out, and its replica has let go: go on along the path."""
    q = request_at(p.requests, slot)
    leave_pool(p, q)
    visit = visit_at(p.visits, q.visit)
    if visit.last == 1 or (visit.streams == 1 and q.full_output == 1):
        end_request(p, slot, COMPLETED, now)
    elif q.aborted >= 0:
        q.emitted *= visit.streams
        end_request(p, slot, q.aborted, q.abort_s)
    elif visit.block_frac > 0.0 and draw(p.block_key, q, MAX_VISITS * q.turn + visit.ordinal) < visit.block_frac:
        end_request(p, slot, BLOCKED, now)
    else:
        q.visit += 1
        start_visit(p, slot, now)


# ------------------------------------------------------------------ endings and the next turn


@jit
def end_request(p, slot, ending, now):
    """Write the record of a request that ends, and plan what its sender does next: `reactions.py` says, if anything.

    Else people and programs go on whatever became of a turn; only an answer enters the conversation's history.
    """
    q = request_at(p.requests, slot)
    kind = class_at(p.classes, q.class_id)
    visit = visit_at(p.visits, q.visit)
    if visit.side == DECODE_SIDE and ending != IN_FLIGHT:
        release_hold(p, slot, now)
    answering = visit_at(p.visits, kind.last_visit).pool
    frontend_s = pool_at(p.pools, answering).frontend_s
    reached = not np.isnan(q.classified_s)
    end_s = now + frontend_s if ending == COMPLETED else now
    done = done_at(p.done, p.num_done)
    p.num_done += 1
    done.user = q.user
    done.arrived_s = q.arrived_s
    done.classified_s = q.classified_s
    done.scheduled_s = q.scheduled_s
    done.first_token_s = q.first_token_s + frontend_s
    done.end_s = end_s
    done.cost_usd = q.cost_usd
    done.busy_s = q.cost_s if reached else 0.0
    done.conversation = q.conversation
    done.turn = q.turn
    done.prompt_tokens = q.full_prompt
    done.cached_tokens = q.cached
    done.output_tokens = q.emitted if reached else 0
    done.requested_tokens = q.full_output
    done.class_id = q.class_id
    done.language = q.language
    done.ending = ending
    done.pool = visit.pool if reached and q.replica >= 0 else -1
    done.replica = q.replica if reached else -1
    done.num_preemptions = q.num_preemptions
    done.serial = q.serial
    done.guard_s = q.guard_s
    done.transfer_s = 0.0
    done.attempt = q.attempt
    done.retry_of = -1 if q.attempt == 0 else retry_at(p.retries, slot).retry_of
    done.left = 0
    if visit.side == DECODE_SIDE:
        write_handover(p, done, q, slot)
    if q.timer_s != FAR:
        cancel_timer(p, slot)
    if ending != IN_FLIGHT:
        does = GOES_ON
        if kind.reacts == 1:
            does = react(p, q, slot, kind, ending, done.first_token_s, end_s)
        has_more = q.turn + 1 < q.num_turns
        if does == TRIES_AGAIN or (does == GOES_ON and has_more and plan_turn(p, q, slot, kind, ending, end_s)):
            return
        done.left = np.int64(does == LEAVES and has_more)
    forget_stretches(p, q)
    q.state = FREE
    q.next = p.free_slot
    p.free_slot = slot
    p.num_free += 1


@jit
def plan_turn(p, q, slot, kind, ending, end_s):
    """Set the timer of a conversation's next turn; false if the horizon comes first."""
    due_s = asked_s(p, q, slot) + lookup(p, kind.gap_s, draw(p.gap_key, q, q.turn + 1))
    due_s = max(due_s, end_s + kind.min_think_s)
    if kind.spaced == 1:
        due_s = kind.sent_s = whole_ns(max(due_s, kind.sent_s) + kind.interval_s)
    due_s = whole_ns(due_s)
    if due_s >= p.horizon_s:
        return False
    q.state = THINKING
    q.attempt = 0
    if ending == COMPLETED and kind.keep_history == 1:
        q.history = q.full_prompt - kind.prefix_tokens + q.full_output
        q.goes_on = 1
    set_timer(p, slot, max(due_s, p.now_s))
    return True


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
    q.cost_usd = q.guard_s = q.cost_s = 0.0
    q.cached = q.num_preemptions = q.chunk = q.emitted = q.computed = 0
    q.replica = -1
    q.level = kind.level
    q.itl_group = kind.itl_group
    q.visit = kind.first_visit
    prompt = kind.prefix_tokens + q.history + q.user_tokens
    fitting = prompt
    if prompt + q.full_output > kind.max_context and kind.refuses_long == 0:
        fitting = max(kind.prefix_tokens + q.user_tokens, kind.max_context - q.full_output)
    q.full_prompt = fitting
    if q.attempt == 0:
        go_on_with_text(p, q, kind, fitting < prompt)
    if p.num_outages > 0:
        end_request(p, slot, FAILED, now)
        return
    if q.bucket >= 0:
        bucket = bucket_at(p.buckets, q.bucket)
        bucket.level = min(bucket.capacity, bucket.level + (now - bucket.at_s) * bucket.rate_per_s)
        bucket.at_s = now
        if bucket.level < 1.0:
            end_request(p, slot, RATE_LIMITED, now)
            return
        bucket.level -= 1.0
    if not fits(p, q, kind):
        end_request(p, slot, REFUSED, now)
        return
    if kind.patience_s >= 0:
        u = draw(p.patience_key, q, q.turn)
        set_timer(p, slot, max(now, whole_ns(now + lookup(p, kind.patience_s, u))))
    start_visit(p, slot, now)


@jit
def fits(p, q, kind):
    """Whether the class lets a request in, and every pool of its path can ever hold it."""
    if kind.refuses_long == 1 and q.full_prompt + q.full_output > kind.max_context:
        return False
    for v in range(kind.first_visit, kind.last_visit + 1):
        visit = visit_at(p.visits, v)
        pool = pool_at(p.pools, visit.pool)
        prompt, output = lengths(q, visit)
        longest = prompt + output - 1
        if prompt + output > pool.max_model_len:
            return False
        if blocks_for(reach(pool, longest + pool.drafts), pool.block_size) > pool.usable:
            return False
        if pool.chunked == 0 and (prompt if pool.reserves == 1 else longest) > pool.max_tokens:
            return False
    return True


# ------------------------------------------------------------------ events


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
    q.full_output = a.output_tokens
    begin_text(p, q, class_at(p.classes, q.class_id), a.num_segments)
    forget_homes(p, slot)
    issue(p, slot, now)


@jit
def ring(p, slot, now):
    """A request's timer goes off: the next turn or attempt is due, or patience is at an end."""
    q = request_at(p.requests, slot)
    q.timer_s = FAR
    if q.state != THINKING:
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
    q.full_output = lookup_tokens(p, kind.output_tokens, draw(p.output_tokens_key, q, q.turn), factor)
    issue(p, slot, now)


@jit
def abort(p, slot, ending, now):
    """End a request from outside: at once if it waits, else at the end of the step or transfer in progress."""
    q = request_at(p.requests, slot)
    if q.state in (FREE, THINKING) or q.aborted >= 0:
        return
    s = replica_at(p.replicas, q.replica)
    if q.state == LOADING:  # its blocks are being written: the end of the transfer ends it
        q.aborted = ending
        q.abort_s = now
        return
    if q.state == WAITING:
        pool = pool_at(p.pools, s.pool)
        made_way = first_ready(p, pool, s) == slot  # it may have blocked those behind it
        if q.num_blocks > 0:
            end_leap(p, pool, s, q.replica, now)
            let_go(p, pool, s, slot, now)
            made_way = True
        leave_waiting(p, pool, s, slot, now)
        forget_outputs(p, pool, s, slot)
        if made_way:
            wake(p, s, q.replica, now)
        leave_pool(p, q)
        end_request(p, slot, ending, now)
        return
    q.aborted = ending
    q.abort_s = now
    q.link = -1
    if s.num_aborts == 0:
        s.abort_head = slot
    else:
        request_at(p.requests, s.abort_tail).link = slot
    s.abort_tail = slot
    s.num_aborts += 1
    cut(p, s, q.replica, now)
