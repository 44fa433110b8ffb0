"""The visits of a request's path: it is sent to a pool, leaves it, and goes on."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import BLOCKED, COMPLETED, SHED, TIMED_OUT
from sim.plane.companion_rows import companion_at
from sim.plane.compiled import jit
from sim.plane.deadlines import delay
from sim.plane.drawing import draw, whole_ns
from sim.plane.drifts import open_busted_text
from sim.plane.endings import end_request
from sim.plane.gateway import count_in, has_place, join_lane, lane_of, may_start, shed_for, tag_first
from sim.plane.leaving import depart, join_replica, leave_line, let_in
from sim.plane.loading import forget_load
from sim.plane.regions import travels
from sim.plane.routing import be_sent, idlest_of, route
from sim.plane.routing_rows import place_at
from sim.plane.tables import (
    DECODE_SIDE,
    DRAFT,
    WITHHELD,
    class_at,
    pool_at,
    request_at,
    visit_at,
    work_at,
)
from sim.plane.text import EXCHANGE, open_text
from sim.plane.work import conclude, end_wait, next_stop, open_work
from sim.plane.world import MAX_VISITS


@jit
def lengths(q, visit):
    """Prompt and output of a visit [tokens]."""
    if visit.generate == 1:
        return q.full_prompt, (q.full_output if visit.last == 1 else 1)
    return visit.template_tokens + (q.full_prompt if visit.reads_full == 1 else q.user_tokens), 1


@jit
def most_read(q, visit):
    """The most of an answer, and of what was asked, that a check reads at once [tokens]."""
    if visit.reads == EXCHANGE:
        return q.user_tokens + q.full_output
    return min(q.full_output, visit.chunk_tokens + visit.carry_tokens)


@jit
def start_visit(p, slot, now):
    """Send a request to its present visit; if that is a gate, its companion, and the request to the visit after it."""
    q = request_at(p.requests, slot)
    if visit_at(p.visits, q.visit).gates == 1:
        if not open_gate(p, slot, now):
            return
        q.visit += 1
    begin_visit(p, slot, now)


@jit
def open_gate(p, slot, now):
    """A request's companion makes the visit of its gate. False if there is no place for it: both have ended.

    Where there are regions it begins when the request has come to that of the visit after it.
    """
    request_at(p.requests, slot).state = WITHHELD
    c = companion_at(p.companions, slot)
    if p.num_regions > 0:
        c.awaited = 1
        return True
    c.busy = 1
    begin_visit(p, c.other, now)
    return c.other >= 0


@jit
def begin_visit(p, slot, now):
    """Send a request or a companion to the pool of its present visit."""
    open_visit(p, slot)
    enter_pool(p, slot, now)


@jit
def open_visit(p, slot):
    """A request turns to its present visit: what it reads and emits there."""
    q = request_at(p.requests, slot)
    kind = class_at(p.classes, q.class_id)
    visit = visit_at(p.visits, q.visit)
    if visit.special == 1:
        q.prompt, q.output = open_work(p, q, slot, kind, visit)
    else:
        q.prompt, q.output = lengths(q, visit)
    open_text(p, q, slot, kind, visit)
    if kind.busted == 1 and (visit.generate == 1 or visit.role == DRAFT):
        open_busted_text(p, q, visit)
    forget_load(p, slot)
    q.emitted = visit.emitted
    q.fetches = np.int64(visit.side == DECODE_SIDE)
    q.computed = q.pending = q.mid = q.in_flight = 0
    q.cost_s = 0.0
    q.replica = -1


@jit
def enter_pool(p, slot, now):
    """A request comes to the pool of its present visit; on the way to another region it is not there yet."""
    q = request_at(p.requests, slot)
    visit = visit_at(p.visits, q.visit)
    if visit.special == 1:
        end_wait(p, slot)
    if visit.first == 1 and np.isnan(q.classified_s):  # not when it comes from another region
        q.classified_s = now
    if p.num_regions == 0 or is_there(p, q, slot, visit, now):
        line_up(p, slot, now)


@jit
def is_there(p, q, slot, visit, now):
    """Whether a request is in the region of its visit. A companion is where its request is, and does not travel."""
    if p.has_companions == 0:
        return not travels(p, q, slot, visit.pool, now)
    c = companion_at(p.companions, slot)
    if c.is_companion == 1:
        place_at(p.places, slot).at = place_at(p.places, c.other).at
        return True
    if travels(p, q, slot, visit.pool, now):
        return False
    if c.other >= 0 and c.awaited == 1:
        c.awaited = 0
        c.busy = 1
        place_at(p.places, c.other).at = place_at(p.places, slot).at
        open_visit(p, c.other)
        line_up(p, c.other, now)
        return c.other >= 0
    return True


@jit
def line_up(p, slot, now):
    """A request is at the pool of its present visit: a replica is chosen, and it joins the queue there."""
    q = request_at(p.requests, slot)
    visit = visit_at(p.visits, q.visit)
    pool = pool_at(p.pools, visit.pool)
    if pool.gated == 1 and not passes(p, pool, q, slot, now):
        return
    r = route(p, pool, q, slot, visit)
    if r < 0:
        end_request(p, slot, SHED, now)
        return
    if pool.gated == 1:
        if not has_place(p, r, pool):
            r = idlest_of(p, pool)
            be_sent(p, pool, q, slot, visit, r)
        lane = lane_of(p, pool, q)
        tag_first(pool, lane)
        count_in(p, pool, lane, q, visit)
    pool.num_arrived += 1
    join_replica(p, pool, q, slot, visit, r, now)


@jit
def passes(p, pool, q, slot, now):
    """Whether a request need not wait at a gateway; else it waits there, or is shed, or another is."""
    lane = lane_of(p, pool, q)
    lane.num_arrived += 1
    if may_start(p, pool, lane):
        return True
    if pool.num_active == 0:
        lane.num_shed += 1
        return True
    pool.num_arrived += 1
    victim = shed_for(p, pool, q, slot)
    if victim != slot:
        if victim >= 0:
            lane_of(p, pool, request_at(p.requests, victim)).num_shed += 1
            leave_gateway(p, pool, victim, SHED, now)
        join_lane(p, pool, q, slot, now)
        if victim >= 0 and p.has_companions == 1:  # its companion, or its request, may have left a place
            let_in(p, pool, -1, now)
        return False
    lane.num_shed += 1
    pool.num_left += 1
    end_request(p, slot, SHED, now)
    return False


@jit
def leave_gateway(p, pool, slot, ending, now):
    """A request ends while it waits at a gateway."""
    leave_line(p, pool, slot, now)
    end_request(p, slot, ending, now)


@jit
def time_out(p, slot, now):
    """A request, or a companion, has waited too long at a gateway."""
    q = request_at(p.requests, slot)
    pool = pool_at(p.pools, visit_at(p.visits, q.visit).pool)
    lane_of(p, pool, q).num_timed_out += 1
    leave_gateway(p, pool, slot, TIMED_OUT, now)


@jit
def complete_visit(p, slot, now):
    """A visit's last token is out, and its replica has let go: go on along the path."""
    q = request_at(p.requests, slot)
    depart(p, q, slot, now)
    visit = visit_at(p.visits, q.visit)
    if visit.special == 1:
        go_on(p, slot, conclude(p, q, slot, visit, now), now)
    elif visit.last == 1 or (visit.streams == 1 and q.full_output == 1):
        end_request(p, slot, COMPLETED, now)
    elif q.aborted >= 0:
        q.emitted *= visit.streams
        end_request(p, slot, q.aborted, q.abort_s)
    elif visit.block_frac > 0.0 and draw(p.block_key, q, MAX_VISITS * q.turn + visit.ordinal) < visit.block_frac:
        end_request(p, slot, BLOCKED, now)
    else:
        q.visit += 1
        start_visit(p, slot, now)


@jit
def go_on(p, slot, ending, now):
    """A request ends, or goes to the next visit that it makes; it may take time on the way."""
    q = request_at(p.requests, slot)
    if ending >= 0:
        end_request(p, slot, ending, q.abort_s if ending == q.aborted else now)
        return
    w = work_at(p.works, slot)
    if w.refusal > 0:  # it is told so where it would have been answered
        q.visit = visit_at(p.visits, q.visit).path_end - 1
    wait_s = next_stop(p, q, slot)
    if visit_at(p.visits, q.visit).gates == 1:  # no delay comes before it
        if not open_gate(p, slot, now):
            return
        wait_s = next_stop(p, q, slot)
    due_s = max(now, whole_ns(now + wait_s)) if wait_s > 0.0 else now  # a rounding is no delay
    open_visit(p, slot)
    if due_s > now:
        w.wait_s = due_s - now
        delay(p, slot, due_s)
    else:
        enter_pool(p, slot, now)
