"""Replicas that fail, come back, are slow, run another version, or lose memory: what faults and deploys do.

A failure comes in two commands at one instant, so that those of a whole zone go together: `take_down` for each replica,
which nobody is sent to any more, and `evacuate` until nobody is left at any of them. What was in flight is lost: a step
in progress gives no token. It is not charged to anybody, but where it was booked when it was formed (asynchronous
scheduling, pipelines), as at the end of a run. Blocks and cache are gone.

Whoever was there ends as `failed`, or goes to another replica of the pool at once, into the queue as anybody who comes:
anew (`RETRY`), as if the visit had just begun, or where it was (`RESUME`), with the tokens that it was given as part of
what has to be computed, as after a preemption. Where prompts are not chunked and all that is too long for one step it
begins anew. Where no replica of the pool is left it ends as `failed`.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import FAILED, MOVED
from sim.plane.active import list_active
from sim.plane.batch import leave_totals
from sim.plane.blockwise import link, take_block
from sim.plane.cache import num_free, release, take
from sim.plane.companion_rows import reader_at
from sim.plane.companions import forget_first, told_by
from sim.plane.compiled import jit
from sim.plane.decoding import close_run, flight_of, gauge_kv
from sim.plane.endings import end_request
from sim.plane.engine import catch_up, cut, end_leap, wake
from sim.plane.events import emit, move_to
from sim.plane.health_rows import health_at, move_at
from sim.plane.leaving import leave_pool, let_in
from sim.plane.online import turn_off, turn_on
from sim.plane.queues import leave_running, leave_waiting
from sim.plane.states import enter
from sim.plane.tables import (
    ACTIVE,
    CANDIDATE,
    DECODING,
    DOWN,
    DRAINING,
    FAR,
    IDLE,
    OFF,
    STEP,
    WAITING,
    block_at,
    extra_at,
    f8_at,
    i4_at,
    plane_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
    wait_at,
    work_at,
)
from sim.plane.visits import enter_pool

FAIL, RETRY, RESUME = range(3)
"""What becomes of requests whose replica fails."""
PART = 16
"""Requests that one call of `evacuate` moves: each leaves a few events in the outbox, which has 64 rows and more."""


# ------------------------------------------------------------------ down and up


@jit
def take_down(address, r, then, now):
    """A replica fails, if it is on line; afterwards it is DOWN (paid for, and idle) or OFF. Returns whether it was.

    One that drains will be what it drained for. `evacuate` must follow before any event.
    """
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    if s.state not in (ACTIVE, DRAINING):
        return 0
    pool = pool_at(p.pools, s.pool)
    stop(p, pool, s, r, now)
    x = health_at(p.health, r)
    if s.state == ACTIVE:
        x.leaves_to = then
    x.failing = 1
    enter(p, s, DOWN, now)
    list_active(p, pool)
    return 1


@jit
def stop(p, pool, s, r, now):
    """What a replica does ends this instant: steps that have ended are counted, those in flight are lost."""
    catch_up(p, pool, s, r, now)
    if s.doing != IDLE:
        formed = s.step
        if pool.depth > 0:  # its steps in flight are charged to those in them, so they are booked too
            s.step = s.target
        close_run(p, pool, s)
        s.step = formed
    gauge_kv(pool, s, now)
    s.doing = IDLE
    s.pending = 0
    emit(p, FAR, STEP, r, r)


@jit
def evacuate(address, on_failure, now):
    """Send requests away from replicas that were taken down. Returns how many; 0: nobody is left, and all are off."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    moved = 0
    for r in range(p.num_replicas):
        s = replica_at(p.replicas, r)
        if health_at(p.health, r).failing == 0:
            continue
        pool = pool_at(p.pools, s.pool)
        while moved < PART and s.num_running > 0:
            send_away(p, pool, s, np.int64(s.run_head), on_failure, now)
            moved += 1
        level = 0
        while moved < PART and s.num_waiting > 0:
            slot = np.int64(wait_at(p.waits, s.wait_base + level).head)
            if slot < 0:
                level += 1
                continue
            send_away(p, pool, s, slot, on_failure, now)
            moved += 1
        if s.num_running > 0 or s.num_waiting > 0:
            return moved
        clear(p, pool, s, r, now)
        moved += 1
    return moved


@jit
def send_away(p, pool, s, slot, on_failure, now):
    """A request leaves a replica that has failed, and ends or goes to another."""
    q = request_at(p.requests, slot)
    if q.state == WAITING:
        leave_waiting(p, pool, s, slot, now)
    else:
        if q.state == DECODING:
            if q.pending == 0:  # else the token that completes its prompt is under way
                q.last_token_s = max(q.last_token_s, s.last_decode_s)
            leave_totals(p, pool, s, slot)
            s.num_decoding -= 1
        release(p, pool, s, slot)
        leave_running(p, s, slot, now)
    q.computed = q.chunk = q.pending = q.mid = q.in_flight = 0
    leave_pool(p, q, slot)
    move_at(p.moves, slot).lost_s += q.cost_s  # of a visit before the last it is in guard_s, and now zero
    q.cost_s = 0.0
    if q.aborted >= 0:
        end_request(p, slot, q.aborted, q.abort_s)
    elif on_failure == FAIL or pool.num_active == 0:
        end_request(p, slot, FAILED, now)
    else:
        if p.has_extras == 1:
            extra_at(p.extras, told_by(p, slot)).flags |= MOVED
        if on_failure == RETRY or (pool.chunked == 0 and q.prompt + q.emitted > pool.max_tokens):
            begin_anew(p, q, slot)
        enter_pool(p, slot, now)


@jit
def begin_anew(p, q, slot):
    """What a visit has given so far is void. The time at which the request first reached the answering pool stays.

    The answer will be the same text, so a check goes on where it was.
    """
    visit = visit_at(p.visits, q.visit)
    q.emitted = visit.emitted
    if visit.generate == 1:
        q.scheduled_s = np.nan
        q.cached = 0
    if visit.streams == 1:
        q.first_token_s = np.nan
        forget_first(p, slot)
    elif visit.role == CANDIDATE:
        work_at(p.works, slot).first_s = np.nan


@jit
def clear(p, pool, s, r, now):
    """A replica that has failed, and at which nobody is left, goes; what it had in flight is forgotten."""
    for step in range(p.ring + 1):
        flight = flight_of(p, pool, s, step)
        flight.num_outputs = flight.num_decodes = flight.copied = 0
    s.step = s.processed = s.target
    s.depth = s.anchored = s.granted = s.paused = s.resumed = 0
    s.num_chunks = s.num_loose = s.num_aborts = s.num_fruitless = 0
    s.loose = -1
    s.booked_s = f8_at(p.stage_free, r).v = now
    s.booked_w = 0.0
    if p.has_marks == 1:
        reader_at(p.readers, r).num_marks = 0
    gauge_kv(pool, s, now)
    health_at(p.health, r).failing = 0
    turn_off(p, pool, s, now)
    let_in(p, pool, -1, now)  # with fewer replicas fewer places are kept for others


@jit
def bring_up(address, r, now):
    """A replica that is down, or off, serves again, with an empty cache. Returns whether it was."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    if s.state not in (DOWN, OFF):
        return 0
    turn_on(p, s, now)
    pool = pool_at(p.pools, s.pool)
    list_active(p, pool)
    let_in(p, pool, -1, now)
    p.wake = 1
    return 1


@jit
def drain_replica(address, r, then, now):
    """Send nothing more to one replica; when it is empty it is OFF, or DOWN. Returns whether it was active."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    if s.state != ACTIVE:
        return 0
    pool = pool_at(p.pools, s.pool)
    enter(p, s, DRAINING, now)
    health_at(p.health, r).leaves_to = then
    if s.pending == 0 and s.num_waiting == 0 and i4_at(p.holding, r).v == 0:
        turn_off(p, pool, s, now)
    list_active(p, pool)
    return 1


# ------------------------------------------------------------------ slow, changed, short of memory


@jit
def set_pace(address, r, slowness, version, now):
    """The steps that a replica forms from now on are those of a version (0: its pool's own), so many times as long."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    x = health_at(p.health, r)
    x.next_slowness = slowness
    x.next_times = s.pool if version == 0 else pool_at(p.pools, s.pool).first_version + version - 1
    cut(p, s, r, now)
    return p.num_out


@jit
def seize_blocks(address, r, n, now):
    """Somebody else takes n of a replica's KV blocks, or as many as are free. Returns how many."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    if s.state not in (ACTIVE, DRAINING):
        return np.int64(0)
    pool = pool_at(p.pools, s.pool)
    x = health_at(p.health, r)
    end_leap(p, pool, s, r, now)
    gauge_kv(pool, s, now)
    n = min(np.int64(n), np.int64(num_free(s)))
    if s.by_blocks == 0:
        take(p, pool, s, n)
    else:
        for _ in range(n):
            b = take_block(p, pool, s)
            block_at(p.blocks, b).newer = x.seized - 1
            x.seized = b + 1
    x.num_seized += n
    s.unpromised -= n
    gauge_kv(pool, s, now)
    return n


@jit
def give_back_blocks(address, r, now):
    """A replica has all its KV blocks again. Returns how many somebody else held."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    x = health_at(p.health, r)
    n = np.int64(x.num_seized)
    if n == 0:
        return n
    pool = pool_at(p.pools, s.pool)
    end_leap(p, pool, s, r, now)
    gauge_kv(pool, s, now)
    s.free += n
    s.unpromised += n
    while x.seized > 0:
        b = np.int64(x.seized - 1)
        x.seized = block_at(p.blocks, b).newer + 1
        block_at(p.blocks, b).num_users = 0
        link(p, s, b, -1)
    x.num_seized = 0
    gauge_kv(pool, s, now)
    if s.num_waiting > 0 or s.num_running > 0:
        wake(p, s, r, now)
    return n
