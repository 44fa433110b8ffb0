"""The plane's heart: apply one event, and leave the events that follow in the outbox.

`advance` is the compiled clock; `handle_one` is the same for a clock outside (SimPy). Both play the total order
(time, kind, key): control processes, then arrivals by row, timers by serial, step ends by replica.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import FAILED, IN_FLIGHT
from sim.plane.blocks import blocks_at, blocks_in, take
from sim.plane.compiled import jit
from sim.plane.decoding import close_run, count_run, gauge, gauge_kv, steps_by, used_blocks
from sim.plane.engine import (
    emit_first,
    end_step,
    list_active,
    plan,
    take_ended,
    turn_off,
)
from sim.plane.events import NOT_QUEUED, cancel_timer, file_outbox, next_timer, pop_due, set_slot
from sim.plane.journey import abort, arrive, complete_visit, end_request, leave_pool, ring
from sim.plane.scheduler import drop_from_batch, stop_decoding
from sim.plane.tables import (
    ACTIVE,
    ARRIVE,
    DECODE,
    DECODING,
    DRAINING,
    FAR,
    FREE,
    IDLE,
    MIXED,
    OFF,
    STEP,
    THINKING,
    TIMER,
    arrival_at,
    due_at,
    f8_at,
    i4_at,
    node_at,
    observed_at,
    out_at,
    plane_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
)

REACHED, MORE_ARRIVALS, DRAIN_DONE, FULL, WOKEN = range(5)
"""Why `advance` came back: time reached; next chunk, room for records or more rows needed; a condition is met."""


@jit
def finish(p, r, now):
    """The step of replica r has ended: tokens out, requests out, then those that were aborted."""
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    was_mixed = s.doing == MIXED
    end_step(p, pool, s, now)
    s.doing = IDLE
    ended = take_ended(p, pool, s, now)
    for x in range(ended):
        slot = i4_at(p.ended, x).v
        if request_at(p.requests, slot).aborted >= 0:
            forget_abort(p, s, slot)
        complete_visit(p, slot, now)
    if was_mixed:
        for x in range(s.num_prefilled):
            slot = i4_at(p.prefilled, s.base + x).v
            q = request_at(p.requests, slot)
            if np.isnan(q.first_token_s) and visit_at(p.visits, q.visit).generate == 1:
                q.first_token_s = now
                if q.timer_s != FAR:
                    cancel_timer(p, slot)
            if emit_first(p, pool, s, slot, now):
                if q.aborted >= 0:
                    forget_abort(p, s, slot)
                complete_visit(p, slot, now)
    if s.num_aborts > 0:
        close_run(p, pool, s)
        slot = s.abort_head
        s.num_aborts = 0
        while slot >= 0:
            q = request_at(p.requests, slot)
            after = q.link
            drop_from_batch(p, pool, s, slot, now)
            leave_pool(p, q)
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


@jit
def move_to(p, now):
    """Set the plane's time. `cursor` is the highest replica whose event of this very instant was handled."""
    if now != p.now_s:
        p.now_s = now
        p.cursor = -1


@jit
def handle(p, now, kind, index, key):
    """Apply one event; those that follow are in the outbox."""
    move_to(p, now)
    p.num_events += 1
    if kind == STEP:
        p.cursor = max(p.cursor, index)
        s = replica_at(p.replicas, index)
        if s.doing != IDLE:
            finish(p, index, now)
        else:  # a kick: until now it held nothing
            gauge_kv(pool_at(p.pools, s.pool), s, now)
        plan(p, index, now)
    elif kind == ARRIVE:
        arrive(p, index, now)
    else:
        q = request_at(p.requests, index)
        if q.serial == key and q.timer_s == now:  # else it was cancelled
            ring(p, index, now)


# ------------------------------------------------------------------ the compiled clock


@jit
def advance(address, until):
    """Handle every event before `until`; come back early for a reason above, with no event half done."""
    p = plane_at(address, 0)
    while True:
        if p.wake != 0:
            return WOKEN
        if p.num_done > p.done_room:
            return DRAIN_DONE
        arrival_s = FAR
        if p.next_arrival < p.num_arrivals:
            arrival_s = arrival_at(p.arrivals, p.next_arrival).t_s
        elif p.arrivals_end == 0:
            return MORE_ARRIVALS
        step_s = node_at(p.nodes, 1).t_s
        timer_s = next_timer(p, min(arrival_s, step_s, until))
        if arrival_s <= timer_s and arrival_s <= step_s:
            if arrival_s >= until:
                return REACHED
            if p.num_free == 0:
                return FULL
            p.next_arrival += 1
            handle(p, arrival_s, ARRIVE, p.next_arrival - 1, 0)
            file_outbox(p)
        elif timer_s <= step_s:
            if timer_s >= until:
                return REACHED
            entry = due_at(p.due, 1)
            slot, key = entry.slot, entry.key
            pop_due(p)
            request_at(p.requests, slot).wheel = NOT_QUEUED
            handle(p, timer_s, TIMER, slot, key)
            file_outbox(p)
        else:
            if step_s >= until:
                return REACHED
            r = node_at(p.nodes, 1).id
            handle(p, step_s, STEP, r, r)
            if replica_at(p.replicas, r).pending == 0:
                set_slot(p, r, FAR)
            file_outbox(p)


@jit
def handle_one(address, now, kind, index, key):
    """One event, for a clock outside.

    Returns whether to look after the plane (a condition may be met, or records are to be taken), the number of events
    that follow, and the first of them: time, kind, index, key.
    """
    p = plane_at(address, 0)
    p.num_out = 0
    handle(p, now, kind, index, key)
    first = out_at(p.out, 0)
    look = p.wake != 0 or p.num_done > p.done_room
    return look, p.num_out, first.t_s, np.int64(first.kind), np.int64(first.id), first.key


# ------------------------------------------------------------------ control pace


@jit
def add_replicas(address, pool_id, n, now):
    """Turn on the n lowest-numbered replicas that are off. Returns how many there were."""
    p = plane_at(address, 0)
    p.num_out = 0
    p.wake = 1
    pool = pool_at(p.pools, pool_id)
    added = 0
    for r in range(pool.first_replica, pool.first_replica + pool.max_replicas):
        s = replica_at(p.replicas, r)
        if added < n and s.state == OFF:
            s.state = ACTIVE
            s.online_at_s = now
            gauge(s, now)
            s.kv_at_s = now
            s.kv_blocks = 0.0
            added += 1
    list_active(p, pool)
    return added


@jit
def drain_replicas(address, pool_id, n, now):
    """Send nothing more to the n highest-numbered active replicas; each goes when it is empty. Returns how many."""
    p = plane_at(address, 0)
    p.num_out = 0
    pool = pool_at(p.pools, pool_id)
    drained = 0
    for x in range(pool.num_active - 1, -1, -1):
        if drained < n:
            s = replica_at(p.replicas, i4_at(p.active, pool.first_replica + x).v)
            s.state = DRAINING
            if s.pending == 0:
                turn_off(p, s, now)
            drained += 1
    list_active(p, pool)
    return drained


@jit
def abort_serial(address, serial, now):
    """End the request of that serial as failed, if it is alive. For tests and operators: scans the request rows."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    for slot in range(p.num_requests):
        q = request_at(p.requests, slot)
        if q.serial == serial and q.state not in (FREE, THINKING):
            abort(p, slot, FAILED, now)
            break
    return p.num_out


@jit
def file_events(address):
    """The compiled clock's half of a control action: file what it left in the outbox."""
    file_outbox(plane_at(address, 0))


@jit
def observe(address, pool_id, now, out):
    """Write what a pool holds at `now` and has done by then into row 0 of an OBSERVED table at `out`.

    The low-water mark of the queue starts again; nothing that a later event depends on changes.
    """
    p = plane_at(address, 0)
    move_to(p, now)
    pool = pool_at(p.pools, pool_id)
    o = observed_at(out, 0)
    o.num_replicas = o.num_running = o.num_steps = 0
    o.online_s = o.busy_s = o.running_s = o.waiting_s = o.kv_block_s = o.busy_j = 0.0
    o.num_waiting = pool.num_waiting
    o.min_waiting = pool.min_waiting
    o.num_arrived = pool.num_arrived
    o.num_left = pool.num_left
    o.num_preempted = pool.num_preempted
    o.prompt_tokens = pool.prompt_tokens
    o.cached_tokens = pool.cached_tokens
    o.output_tokens = pool.output_tokens
    for r in range(pool.first_replica, pool.first_replica + pool.max_replicas):
        s = replica_at(p.replicas, r)
        o.online_s += s.online_s
        o.busy_s += s.busy_s
        o.busy_j += s.energy_j
        o.num_steps += s.num_steps
        o.running_s += s.running_s + s.num_running * (now - s.gauge_s)
        o.waiting_s += s.waiting_s + s.num_waiting * (now - s.gauge_s)
        if s.state == OFF:
            o.kv_block_s += s.kv_s
            continue
        o.num_replicas += 1
        o.num_running += s.num_running
        o.online_s += now - s.online_at_s
        used = used_blocks(pool, s)
        if s.doing == DECODE:
            done = steps_by(p, s, r, now) - s.step
            o.num_steps += done
            o.output_tokens += done * s.num_decoding
            used += blocks_in(p, pool, s, s.step + 1, done)
            o.busy_s += now - s.t0_s
            o.busy_j += (now - s.t0_s) * f8_at(p.curves, pool.power_w + s.num_decoding).v
        elif s.doing == MIXED:
            o.busy_s += now - s.began_s
            o.busy_j += (now - s.began_s) * f8_at(p.curves, pool.power_w + s.num_tokens).v
        o.kv_block_s += s.kv_s + 0.5 * (s.kv_blocks + used) * (now - s.kv_at_s)
    pool.min_waiting = pool.num_waiting


@jit
def count_gaps(address, now):
    """Bring the ITL histogram to `now`: count the steps of runs under way that have ended."""
    p = plane_at(address, 0)
    move_to(p, now)
    for r in range(p.num_replicas):
        s = replica_at(p.replicas, r)
        if s.doing == DECODE:
            count_run(p, s, steps_by(p, s, r, now))


@jit
def settle(address, now):
    """The simulation stops at `now`: book the steps that have ended, leave out those under way."""
    p = plane_at(address, 0)
    move_to(p, now)
    for r in range(p.num_replicas):
        s = replica_at(p.replicas, r)
        if s.doing == DECODE:
            pool = pool_at(p.pools, s.pool)
            s.target = steps_by(p, s, r, now)
            if s.target > s.step:
                end_step(p, pool, s, now)
                take(p, s, blocks_at(p, pool, s, s.step))
            close_run(p, pool, s)
            s.doing = IDLE


@jit
def end_all(address, first_slot, now):
    """Record what is still alive as in flight, from a row on. Returns the next row to go on from, or -1 at the end."""
    p = plane_at(address, 0)
    for slot in range(first_slot, p.num_requests):
        if p.num_done > p.done_room:
            return slot
        q = request_at(p.requests, slot)
        if q.state in (FREE, THINKING):
            continue
        if q.state == DECODING:
            s = replica_at(p.replicas, q.replica)
            stop_decoding(p, pool_at(p.pools, s.pool), s, q)
        leave_pool(p, q)
        end_request(p, slot, IN_FLIGHT, np.nan)
    return -1
