"""A pool's gateway: where tiers queue, so that a replica never has more requests than `max_outstanding`.

1. A place is room for one request at an active replica. A request goes to a replica at once if there is a place for
   its tier and nobody of its tier waits; else it waits in its tier's lane, first come, first served. So nobody waits
   while there is a place for him.
2. Places that are reserved for a tier and not taken by it are no places for others: a tier may start if the free
   places exceed what the others have reserved and do not use.
3. When a place comes free, the lanes' first requests compete, those that may start: `fifo`: the one that waits
   longest; `priority`: of the tier with the least priority number; `fair`: the one with the least start tag.
4. Fair is start-time fair queueing with several requests out at once (SFQ: Goyal, Vin and Cheng, SIGCOMM 1996; SFQ(D):
   Jin, Chase and Kaur, SIGMETRICS 2004). A request's start tag is the finish tag of the one before in its lane, or the
   gateway's virtual time if that is later and the lane was empty; its finish tag is so much later as its work over the
   lane's weight; the virtual time is the greatest start tag let in so far. Its work is predicted: its prompt and the
   output expected of its class, never its true length. When it leaves, what the prediction was wrong by is added to
   the lane's tags, so shares are of work that was done (as the counters of VTC: Sheng et al., OSDI 2024).
5. Whoever would make a lane longer than its `max_queue` is shed. If the gateway is full, the cheapest promise is shed:
   of the tiers that wait (the newcomer's among them) the one with the greatest priority number, then the least weight;
   of its requests the one that came last.
6. Whoever waits longer than the tier's limit ends as timed_out; who is aborted leaves at once.
7. Who comes when there is a place goes where the router sends him, or, if that replica is full, to the idlest. Who
   waited goes to the replica at which the place came free.

Every event costs O(tiers); replicas are looked through only where the router chose a full one.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.deadlines import lift_queue_limit, limit_queue
from sim.plane.drawing import whole_ns
from sim.plane.limits import expected_tokens
from sim.plane.promise_rows import gate_at, lane_at
from sim.plane.promises import FAIR
from sim.plane.tables import (
    ACTIVE,
    CANDIDATE,
    FAR,
    QUEUED,
    class_at,
    extra_at,
    i4_at,
    replica_at,
    request_at,
)

# ------------------------------------------------------------------ places


@jit
def count_room(p, pool):
    """Count the free places at active replicas, and those reserved for each tier: replicas have come or gone."""
    pool.room = 0
    for x in range(pool.num_active):
        r = i4_at(p.active, pool.first_replica + x).v
        pool.room += pool.max_outstanding - i4_at(p.outstanding, r).v
    for x in range(pool.num_lanes):
        lane = lane_at(p.lanes, pool.lane_base + x)
        lane.reserved = np.int64(lane.reserved_frac * (pool.num_active * pool.max_outstanding))


@jit
def kept(lane):
    """Places that are kept free for a tier."""
    return max(0, lane.reserved - lane.in_use)


@jit
def all_kept(p, pool):
    """Places that are kept free for any tier."""
    n = np.int64(0)
    for x in range(pool.num_lanes):
        n += kept(lane_at(p.lanes, pool.lane_base + x))
    return n


@jit
def has_place(p, r, pool):
    """Whether a replica can take one more."""
    return replica_at(p.replicas, r).state == ACTIVE and i4_at(p.outstanding, r).v < pool.max_outstanding


@jit
def lane_of(p, pool, q):
    """A request's lane."""
    return lane_at(p.lanes, pool.lane_base + class_at(p.classes, q.class_id).lane)


@jit
def may_start(p, pool, lane):
    """Whether there is a place for who comes: none of its tier waits."""
    return lane.num_waiting == 0 and pool.room > all_kept(p, pool) - kept(lane)


# ------------------------------------------------------------------ work, and its tags


@jit
def predicted_work(p, q, visit):
    """Tokens that a visit is expected to take."""
    if (visit.generate == 1 and visit.last == 1) or visit.role == CANDIDATE:
        return q.prompt + expected_tokens(p, q, class_at(p.classes, q.class_id))
    return q.prompt + q.output


@jit
def tag_first(pool, lane):
    """Set the start tag of a request that finds its lane empty."""
    if pool.order == FAIR:
        lane.start = max(pool.virtual, lane.finish)


@jit
def count_in(p, pool, lane, q, visit):
    """A lane's first request, or one that need not wait, takes a place."""
    pool.room -= 1
    lane.in_use += 1
    if pool.order == FAIR:
        work = predicted_work(p, q, visit)
        lane.predicted_tokens += work
        pool.virtual = max(pool.virtual, lane.start)
        lane.start += work / lane.weight
        lane.finish = lane.start


@jit
def count_out(p, pool, q, visit):
    """A request leaves its replica: its place is free, if the replica goes on, and its work is known."""
    lane = lane_of(p, pool, q)
    lane.in_use -= 1
    if replica_at(p.replicas, q.replica).state == ACTIVE:
        pool.room += 1
    work = q.prompt + q.emitted
    lane.work_tokens += work
    if pool.order == FAIR:
        wrong = (work - predicted_work(p, q, visit)) / lane.weight
        lane.start += wrong
        lane.finish += wrong


# ------------------------------------------------------------------ lanes


@jit
def gauge_queue(pool, now):
    """Bring the integral of who waits to `now`."""
    pool.queued_s += pool.num_queued * (now - pool.queued_at_s)
    pool.queued_at_s = now


@jit
def join_lane(p, pool, q, slot, now):
    """A request waits at the gateway."""
    lane = lane_of(p, pool, q)
    if lane.num_waiting == 0:
        tag_first(pool, lane)
        lane.head = slot
    else:
        request_at(p.requests, lane.tail).next = slot
    q.prev = lane.tail if lane.num_waiting > 0 else -1
    q.next = -1
    lane.tail = slot
    lane.num_waiting += 1
    lane.num_queued += 1
    q.state = QUEUED
    gate = gate_at(p.gates, slot)
    gate.queued_s = now
    gate.number = pool.num_joined
    pool.num_joined += 1
    gauge_queue(pool, now)
    pool.num_queued += 1
    pool.num_waiting += 1
    if pool.num_waiting > pool.queue_alarm:
        p.wake = 1
    if lane.limit_s < FAR:
        limit_queue(p, slot, max(now, whole_ns(now + lane.limit_s)))


@jit
def leave_lane(p, pool, slot, now):
    """A request waits no longer: it goes to a replica, or ends."""
    q = request_at(p.requests, slot)
    lane = lane_of(p, pool, q)
    if q.prev >= 0:
        request_at(p.requests, q.prev).next = q.next
    else:
        lane.head = q.next
    if q.next >= 0:
        request_at(p.requests, q.next).prev = q.prev
    else:
        lane.tail = q.prev
    lane.num_waiting -= 1
    gauge_queue(pool, now)
    pool.num_queued -= 1
    pool.num_waiting -= 1
    waited_s = now - gate_at(p.gates, slot).queued_s
    lane.waited_s += waited_s
    extra_at(p.extras, slot).gateway_s += waited_s
    if lane.limit_s < FAR:
        lift_queue_limit(p, slot)


@jit
def comes_first(p, pool, lane, other):
    """Whether a lane's first request goes before another's."""
    if pool.order == FAIR and lane.start != other.start:
        return lane.start < other.start
    if lane.priority != other.priority:  # all equal, unless the order is by priority
        return lane.priority < other.priority
    return gate_at(p.gates, lane.head).number < gate_at(p.gates, other.head).number


@jit
def next_in(p, pool):
    """The request that goes next, -1 if none may."""
    best = np.int64(-1)
    if pool.num_queued == 0 or pool.room <= 0:
        return best
    all_places = all_kept(p, pool)
    for x in range(pool.num_lanes):
        lane = lane_at(p.lanes, pool.lane_base + x)
        if (
            lane.num_waiting > 0
            and pool.room > all_places - kept(lane)
            and (best < 0 or comes_first(p, pool, lane, lane_at(p.lanes, best)))
        ):
            best = np.int64(pool.lane_base + x)
    return best if best < 0 else np.int64(lane_at(p.lanes, best).head)


@jit
def shed_for(p, pool, q, slot):
    """Who is shed that a request may join: itself, another (a lane's last), or nobody (-1)."""
    own = lane_of(p, pool, q)
    if own.num_waiting >= own.max_waiting:
        return slot
    if pool.num_queued < pool.max_queue:
        return np.int64(-1)
    victim, rank = np.int64(slot), own.shed_rank
    for x in range(pool.num_lanes):
        lane = lane_at(p.lanes, pool.lane_base + x)
        if lane.num_waiting > 0 and lane.shed_rank < rank:
            victim, rank = np.int64(lane.tail), lane.shed_rank
    return victim
