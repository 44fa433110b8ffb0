"""The plane seen from outside: what a pool holds and has done; and the end of a run."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.metrics.records import IN_FLIGHT
from sim.plane.batch import leave_totals
from sim.plane.companions import is_companion
from sim.plane.compiled import jit
from sim.plane.decoding import close_run, count_run, num_steps_in, spent_j, steps_by, used_blocks
from sim.plane.endings import end_request
from sim.plane.engine import catch_up
from sim.plane.events import move_to
from sim.plane.health_rows import health_at
from sim.plane.leaving import is_nowhere, leave_pool
from sim.plane.sequence import blocks_in
from sim.plane.tables import (
    DECODE,
    DECODING,
    DOWN,
    FREE,
    IDLE,
    OFF,
    SINGLE,
    THINKING,
    i4_at,
    observed_at,
    plane_at,
    pool_at,
    replica_at,
    request_at,
)


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
    o.online_s = o.busy_s = o.running_s = o.waiting_s = o.kv_block_s = o.busy_j = o.down_s = 0.0
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
        add_replica(p, pool, r, now, o)
    o.waiting_s += pool.queued_s + pool.num_queued * (now - pool.queued_at_s) if pool.gated == 1 else 0.0
    pool.min_waiting = pool.num_waiting


@jit
def add_replica(p, pool, r, now, o):
    """Add what a replica holds and has done."""
    s = replica_at(p.replicas, r)
    o.online_s += s.online_s
    o.busy_s += s.busy_s
    o.busy_j += s.energy_j
    o.num_steps += s.num_steps
    o.running_s += s.running_s + s.num_running * (now - s.gauge_s)
    o.waiting_s += s.waiting_s + s.num_waiting * (now - s.gauge_s)
    if p.has_faults == 1:
        x = health_at(p.health, r)
        o.down_s += x.down_s + (now - x.down_at_s if s.state == DOWN else 0.0)
    if s.state in (OFF, DOWN):
        o.kv_block_s += s.kv_s
        return
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
        o.busy_j += spent_j(p, pool, s, s.num_tokens, done, now - s.began_s)
    if s.anchored == 1 and s.t0_s < now:
        o.busy_s += now - s.t0_s
        o.busy_j += spent_j(p, pool, s, s.num_decoding, num_steps_in(s, now - s.t0_s), now - s.t0_s)
    if s.booked_s > now:  # booked when it was formed, and still running
        o.busy_s -= s.booked_s - now
        o.busy_j -= (s.booked_s - now) * s.booked_w
    o.kv_block_s += s.kv_s + 0.5 * (s.kv_blocks + used) * (now - s.kv_at_s)


@jit
def observe_replica(address, r, now, out):
    """Write what one replica holds at `now` and has done by then into row 0 of an OBSERVED table at `out`.

    What is counted by pool alone is zero in it.
    """
    p = plane_at(address, 0)
    move_to(p, now)
    o = observed_at(out, 0)
    o.num_replicas = o.num_running = o.num_steps = o.output_tokens = 0
    o.online_s = o.busy_s = o.running_s = o.waiting_s = o.kv_block_s = o.busy_j = o.down_s = 0.0
    add_replica(p, pool_at(p.pools, replica_at(p.replicas, r).pool), r, now, o)


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
def end_all(address, slots, first, num, now):
    """Record what is still alive as in flight, of `num` rows listed at `slots` (I4) from place `first` on.

    Returns the place to go on from, or -1 at the end.
    """
    p = plane_at(address, 0)
    for x in range(first, num):
        if p.num_done > p.done_room:
            return x
        slot = np.int64(i4_at(slots, x).v)
        q = request_at(p.requests, slot)
        if q.state in (FREE, THINKING) or is_companion(p, slot):
            continue
        if q.state == DECODING:
            s = replica_at(p.replicas, q.replica)
            leave_totals(p, pool_at(p.pools, s.pool), s, slot)
        if not is_nowhere(q):
            leave_pool(p, q, slot)
        end_request(p, slot, IN_FLIGHT, np.nan)
    return -1
