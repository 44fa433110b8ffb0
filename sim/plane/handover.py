"""An answer that is split over two pools: what the first keeps until the second has fetched it.

A prefill visit ends with the step that completes the prompt. Its blocks stay where they are, as a *hold* of the
request's row, until the transfer to the decode visit has ended; then they are released in the ordinary way, so that
the pool's prefix cache has them. A hold goes whatever becomes of the request, and nobody decodes in that pool: what a
hold waits for never waits for the hold.
"""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.batch import run_along
from sim.plane.cache import release
from sim.plane.compiled import jit
from sim.plane.decoding import BINS, bin_of, flight_of, gauge_kv
from sim.plane.events import emit
from sim.plane.queues import leave_running
from sim.plane.tables import (
    DRAINING,
    PREFILL_SIDE,
    PREFILLING,
    STEP,
    WAITING,
    hold_at,
    i4_at,
    i8_at,
    load_at,
    pool_at,
    replica_at,
    request_at,
    visit_at,
)


@jit
def goes_elsewhere(p, q):
    """Whether a request whose visit is over has its prompt fetched by another pool."""
    visit = visit_at(p.visits, q.visit)
    return visit.side == PREFILL_SIDE and q.aborted < 0 and (visit.streams == 0 or q.full_output > 1)


@jit
def keep(p, pool, s, slot, now):
    """A request leaves the batch in which its prompt was completed, and its blocks stay.

    Nothing is left of one that was preempted while that step was under way.
    """
    q = request_at(p.requests, slot)
    hold = hold_at(p.holds, slot)
    hold.replica, hold.tokens = -1, 0
    hold.leaf, hold.num_blocks, hold.published = q.leaf, q.num_blocks, q.published
    hold.scheduled_s, hold.cached, hold.prefilled_s = q.scheduled_s, q.cached, now
    hold.chunk_s = flight_of(p, pool, s, s.processed - 1).dt_s
    q.scheduled_s = np.nan
    if q.state == WAITING:
        return
    hold.replica, hold.tokens = q.replica, q.prompt
    i4_at(p.holding, q.replica).v += 1
    if q.state == PREFILLING:
        run_along(p, s, slot)
    leave_running(p, s, slot, now)
    q.leaf = -1
    q.num_blocks = q.published = 0


@jit
def offer(p, q, slot, visit):
    """The second visit begins: what the first keeps can be loaded."""
    hold, load = hold_at(p.holds, slot), load_at(p.loads, slot)
    load.available = hold.tokens
    load.link = visit.first_link + (hold.replica if visit.push == 1 else q.replica)
    load.least_frac = visit.least_frac
    load.ahead_s = hold.chunk_s


@jit
def swap_with_hold(q, hold):
    """Exchange what a request's row says of its blocks with what its hold says."""
    q.leaf, hold.leaf = hold.leaf, q.leaf
    q.published, hold.published = hold.published, q.published
    q.num_blocks, hold.num_blocks = hold.num_blocks, q.num_blocks


@jit
def release_hold(p, slot, now):
    """Release what a request still holds where its prompt was computed, if it does."""
    hold = hold_at(p.holds, slot)
    r = np.int64(hold.replica)
    if r < 0:
        return
    hold.replica = -1
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    q = request_at(p.requests, slot)
    pool.held_block_s += hold.num_blocks * (now - hold.prefilled_s)
    gauge_kv(pool, s, now)
    swap_with_hold(q, hold)
    release(p, pool, s, slot)
    swap_with_hold(q, hold)
    gauge_kv(pool, s, now)
    i4_at(p.holding, r).v -= 1
    if s.pending == 0 and (s.num_waiting > 0 or s.state == DRAINING):  # who waited for the blocks; or it may go now
        s.pending = 1
        emit(p, now, STEP, r, r)


@jit
def count_transfer(p, slot, now):
    """A transfer has ended: count the time since it was posted."""
    pool = replica_at(p.replicas, request_at(p.requests, slot).replica).pool
    i8_at(p.transfer_times, pool * BINS + bin_of(now - load_at(p.loads, slot).posted_s)).v += 1


@jit
def write_handover(p, done, q, slot):
    """Put into a record what the first of two pools did, and how long the way to the second was."""
    hold = hold_at(p.holds, slot)
    done.scheduled_s = hold.scheduled_s
    done.cached_tokens = hold.cached
    if visit_at(p.visits, q.visit).emitted == 0:
        done.transfer_s = q.scheduled_s - hold.prefilled_s
