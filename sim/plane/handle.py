"""The plane's heart: apply one event, and leave the events that follow in the outbox.

`advance` is the compiled clock; `handle_one` is the same for a clock outside (SimPy). Both play the total order
(time, kind, key): control processes, then arrivals by row, timers by serial, transfers by link, step ends by replica.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.cache import cache_is_full
from sim.plane.compiled import jit, prefetch
from sim.plane.decoding import gauge_kv
from sim.plane.engine import plan
from sim.plane.events import NOT_QUEUED, file_outbox, move_to, next_timer, pop_due, set_slot
from sim.plane.journey import arrive, ring
from sim.plane.log import log_done
from sim.plane.outputs import finish
from sim.plane.tables import (
    ARRIVE,
    FAR,
    IDLE,
    STEP,
    TIMER,
    TRANSFER,
    arrival_at,
    due_at,
    extent_at,
    i8_at,
    link_at,
    node_at,
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
def is_full(p):
    """Whether a request that comes might need a row that is not there, of requests, stretches of text or meters."""
    return p.num_free == 0 or p.num_free_stretches < p.stretch_slack or p.num_meters > p.meter_room


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
