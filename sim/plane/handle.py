"""The plane's heart: apply one event, and leave the events that follow in the outbox.

`advance` is the compiled clock; `handle_one` is the same for a clock outside (SimPy). Both play the total order
(time, kind, key): control processes, then arrivals by row, timers by serial, transfers by link, step ends by replica.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import FAILED, IN_FLIGHT
from sim.plane.batch import leave_totals
from sim.plane.cache import cache_is_full
from sim.plane.compiled import jit, prefetch
from sim.plane.decoding import close_run, count_run, gauge, gauge_kv, num_steps_in, spent_j, steps_by, used_blocks
from sim.plane.engine import catch_up, list_active, plan, turn_off
from sim.plane.events import NOT_QUEUED, file_outbox, next_timer, pop_due, set_slot
from sim.plane.journey import abort, arrive, end_request, leave_pool, ring
from sim.plane.log import log_done
from sim.plane.outputs import finish
from sim.plane.sequence import blocks_in
from sim.plane.tables import (
    ACTIVE,
    ARRIVE,
    DECODE,
    DECODING,
    DRAINING,
    FAR,
    FREE,
    IDLE,
    OFF,
    SINGLE,
    STEP,
    THINKING,
    TIMER,
    TRANSFER,
    arrival_at,
    due_at,
    extent_at,
    i4_at,
    i8_at,
    link_at,
    node_at,
    observed_at,
    out_at,
    plane_at,
    pool_at,
    replica_at,
    request_at,
)
from sim.plane.transfers import transfer_ended

REACHED, MORE_ARRIVALS, DRAIN_DONE, FULL, WOKEN, LOG_FULL = range(6)
"""Why `advance` came back: time reached; next chunk, room for records or more rows needed; a condition is met, or a
replica is stuck; room for the log needed."""


@jit
def move_to(p, now):
    """Set the plane's time. `cursor` is the highest replica whose event of this very instant was handled."""
    if now != p.now_s:
        p.now_s = now
        p.cursor = -1


@jit
def is_full(p):
    """Whether a request that comes might need a row that is not there, of requests or stretches of text."""
    return p.num_free == 0 or p.num_free_stretches < p.stretch_slack


@jit
def fetch_early(p, s):
    """Have what the end of a step is going to need fetched: others' events have pushed it out of the caches."""
    prefetch(i8_at(p.ends, s.base))
    if s.lru_head >= 0 and s.by_blocks == 0:
        prefetch(extent_at(p.extents, s.lru_head))


@jit
def step_ended(p, r, now):
    """The oldest step in flight of replica r has ended, or a request came to an idle one."""
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    fetch_early(p, s)
    if s.doing == IDLE:  # until now it computed nothing
        gauge_kv(pool, s, now)
        plan(p, r, now)
        return
    finish(p, r, now)
    log_done(p, s, s.processed - 1, now)
    plan(p, r, now)


@jit
def handle(p, now, kind, index, key):
    """Apply one event; those that follow are in the outbox."""
    move_to(p, now)
    p.num_events += 1
    if kind == STEP:
        p.cursor = max(p.cursor, index)
        step_ended(p, index, now)
    elif kind == ARRIVE:
        arrive(p, index, now)
    elif kind == TRANSFER:
        transfer_ended(p, index, now)
    else:
        ring(p, index, now)


# ------------------------------------------------------------------ the compiled clock


@jit
def advance(address, until):
    """Handle every event before `until`; come back early for a reason above, with no event half done."""
    p = plane_at(address, 0)
    while True:
        if p.wake != 0:
            return WOKEN
        if p.num_log > p.log_room:
            return LOG_FULL
        if is_full(p):
            return FULL
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
            p.next_arrival += 1
            handle(p, arrival_s, ARRIVE, p.next_arrival - 1, 0)
            file_outbox(p)
        elif timer_s <= step_s:
            if timer_s >= until:
                return REACHED
            entry = due_at(p.due, 1)
            slot, key = entry.slot, entry.key
            pop_due(p)
            if p.num_due > 0:
                prefetch(request_at(p.requests, due_at(p.due, 1).slot))
            request_at(p.requests, slot).wheel = NOT_QUEUED
            handle(p, timer_s, TIMER, slot, key)
            file_outbox(p)
        else:
            if step_s >= until:
                return REACHED
            r = node_at(p.nodes, 1).id - p.num_links
            if r >= 0:
                handle(p, step_s, STEP, r, r)
                if replica_at(p.replicas, r).pending == 0:
                    set_slot(p, p.num_links + r, FAR)
            else:
                link = r + p.num_links
                handle(p, step_s, TRANSFER, link, link)
                if link_at(p.links, link).head < 0:
                    set_slot(p, link, FAR)
            file_outbox(p)
            if cache_is_full(p):
                return FULL


@jit
def handle_one(address, now, kind, index, key):
    """One event, for a clock outside.

    Returns whether to look after the plane (a condition may be met, or records are to be taken), the number of events
    that follow, and the first of them: time, kind, index, key.
    """
    p = plane_at(address, 0)
    p.num_out = 0
    q = request_at(p.requests, index if kind == TIMER else 0)
    if kind != TIMER or (q.serial == key and q.timer_s == now):  # else it was cancelled: nothing happens
        handle(p, now, kind, index, key)
    first = out_at(p.out, 0)
    look = p.wake != 0 or p.num_done > p.done_room or p.num_log > p.log_room or is_full(p) or cache_is_full(p)
    return look, p.num_out, first.t_s, np.int64(first.kind), np.int64(first.id), first.key


@jit
def needs_rows(address):
    """Whether any event might need a row that is not there; for a clock outside."""
    p = plane_at(address, 0)
    return is_full(p) or cache_is_full(p)


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
            if s.pending == 0 and s.num_waiting == 0 and i4_at(p.holding, s.number).v == 0:
                turn_off(p, pool, s, now)
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
def count_outages(address, change, now):
    """An outage of the door begins (1) or ends (-1): while there is one, every request that arrives fails at once."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    p.num_outages += change
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
    o.num_drafts = pool.num_drafts
    o.draft_tokens = pool.draft_tokens
    o.accepted_tokens = pool.accepted_tokens
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
            ended = steps_by(p, s, r, now)
            o.num_steps += ended - s.processed
            o.output_tokens += (ended - s.processed) * s.num_decoding
            used += blocks_in(p, pool, s, s.step + 1, ended + s.depth - s.step)
        elif s.doing == SINGLE and pool.depth == 0:
            o.busy_s += now - s.began_s
            done = (now - s.began_s) / s.dt_s if s.dt_s > 0.0 else 0.0
            o.busy_j += spent_j(p, pool, s.num_tokens, done, now - s.began_s)
        if s.anchored == 1 and s.t0_s < now:
            o.busy_s += now - s.t0_s
            o.busy_j += spent_j(p, pool, s.num_decoding, num_steps_in(s, now - s.t0_s), now - s.t0_s)
        if s.booked_s > now:  # booked when it was formed, and still running
            o.busy_s -= s.booked_s - now
            o.busy_j -= (s.booked_s - now) * s.booked_w
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
    """The simulation stops at `now`: count the steps that have ended.

    Steps under way are left out of busy time and cost; what an asynchronous replica has in flight is in both.
    """
    p = plane_at(address, 0)
    move_to(p, now)
    for r in range(p.num_replicas):
        s = replica_at(p.replicas, r)
        pool = pool_at(p.pools, s.pool)
        catch_up(p, pool, s, r, now)
        if s.doing != IDLE:
            formed = s.step
            if pool.depth > 0:
                s.step = s.target
            close_run(p, pool, s)
            s.step = formed
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
            leave_totals(p, pool_at(p.pools, s.pool), s, slot)
        leave_pool(p, q)
        end_request(p, slot, IN_FLIGHT, np.nan)
    return -1
