"""A request joins a replica, and leaves it for good: what that costs, who comes in its place, how it is taken out."""

# ruff: noqa: ANN001, ANN201
from sim.plane.batch import forget_outputs
from sim.plane.companion_rows import companion_at
from sim.plane.compiled import jit
from sim.plane.engine import cut, end_leap, wake
from sim.plane.events import emit
from sim.plane.gateway import count_in, count_out, has_place, lane_of, leave_lane, next_in
from sim.plane.handover import offer
from sim.plane.loading import let_go
from sim.plane.queues import first_ready, join_waiting, leave_waiting
from sim.plane.routing import be_sent, idlest_of
from sim.plane.tables import (
    CANDIDATE,
    DECODE_SIDE,
    DELAYED,
    DOWN,
    LOADING,
    QUEUED,
    STEP,
    WAITING,
    WITHHELD,
    f8_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
)
from sim.plane.views import count_sent


@jit
def is_nowhere(q):
    """Whether a request that lives is at no replica."""
    return q.state in (DELAYED, QUEUED, WITHHELD)


@jit
def join_replica(p, pool, q, slot, visit, r, now):
    """A request joins the queue of a replica."""
    q.replica = r
    if visit.side == DECODE_SIDE:
        offer(p, q, slot, visit)
    pool.prompt_tokens += q.prompt
    count_sent(p, slot, r, 1)
    s = replica_at(p.replicas, r)
    is_head = join_waiting(p, pool, s, slot, False, now)
    if s.pending == 0:
        s.pending = 1
        emit(p, now, STEP, r, r)
    elif (is_head or pool.adaptive == 1) and s.num_running < pool.max_admitted:  # a longer queue makes chunks shorter
        cut(p, s, r, now)


@jit
def let_in(p, pool, r, now):
    """Let in who waits at a gateway, as long as there is room: at replica `r`, or at the idlest where that has none."""
    slot = next_in(p, pool)
    while slot >= 0:
        q = request_at(p.requests, slot)
        visit = visit_at(p.visits, q.visit)
        to = r if r >= 0 and has_place(p, r, pool) else idlest_of(p, pool)
        leave_lane(p, pool, slot, now)
        count_in(p, pool, lane_of(p, pool, q), q, visit)
        be_sent(p, pool, q, slot, visit, to)
        join_replica(p, pool, q, slot, visit, to, now)
        slot = next_in(p, pool)


@jit
def leave_pool(p, q, slot):
    """A request leaves its replica for good: count it out, turn its share of replica time into money, and book it."""
    visit = visit_at(p.visits, q.visit)
    pool = pool_at(p.pools, visit.pool)
    pool.num_left += 1
    count_sent(p, slot, q.replica, -1)
    if pool.gated == 1:
        count_out(p, pool, q, visit)
    q.cost_usd += q.cost_s * pool.usd_per_s
    if q.arrived_s >= 0.0:  # measured
        f8_at(p.spent, q.class_id * p.num_accounts + visit.account).v += q.cost_s
    if visit.last == 0 and visit.role != CANDIDATE:
        q.guard_s += q.cost_s
        q.cost_s = 0.0


@jit
def depart(p, q, slot, now):
    """A request leaves its replica for good, and who waits for its place may come."""
    leave_pool(p, q, slot)
    pool = pool_at(p.pools, visit_at(p.visits, q.visit).pool)
    if pool.num_queued > 0:
        let_in(p, pool, q.replica, now)


@jit
def leave_line(p, pool, slot, now):
    """A request waits at a gateway no longer, for it ends."""
    leave_lane(p, pool, slot, now)
    pool.min_waiting = min(pool.min_waiting, pool.num_waiting)
    pool.num_left += 1


@jit
def withdraw(p, slot, ending, now):
    """Take a request out from outside. Returns whether it is out; else it ends with the step or transfer under way."""
    q = request_at(p.requests, slot)
    if q.aborted >= 0:  # on its way out
        return False
    if q.state == QUEUED:
        leave_line(p, pool_at(p.pools, visit_at(p.visits, q.visit).pool), slot, now)
        return True
    if is_nowhere(q):
        return True
    s = replica_at(p.replicas, q.replica)
    if q.state == WAITING:
        pool = pool_at(p.pools, s.pool)
        made_way = first_ready(p, pool, s) == slot  # it may have blocked those behind it
        if q.num_blocks > 0:
            end_leap(p, pool, s, q.replica, now)
            let_go(p, pool, s, slot, now)
            made_way = True
        leave_waiting(p, pool, s, slot, now)
        forget_outputs(p, pool, s, slot)
        if made_way and s.state != DOWN:
            wake(p, s, q.replica, now)
        depart(p, q, slot, now)
        return True
    q.aborted = ending
    q.abort_s = now
    if p.has_companions == 1:
        companion_at(p.companions, slot).quits = 1
    if q.state == LOADING:  # its blocks are being written: the end of the transfer ends it
        return False
    q.link = -1
    if s.num_aborts == 0:
        s.abort_head = slot
    else:
        request_at(p.requests, s.abort_tail).link = slot
    s.abort_tail = slot
    s.num_aborts += 1
    cut(p, s, q.replica, now)
    return False
