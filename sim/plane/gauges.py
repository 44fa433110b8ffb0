"""What the engines of a pool show of themselves at one instant, as a scrape of their metrics would."""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.decoding import steps_by, used_blocks
from sim.plane.events import move_to
from sim.plane.sequence import blocks_in
from sim.plane.state_rows import shown_at
from sim.plane.tables import DECODE, SINGLE, plane_at, pool_at, replica_at


@jit
def blocks_used(p, pool, s, r, now):
    """KV blocks in use at a replica: in the midst of a leap those of the steps formed by now."""
    used = used_blocks(pool, s)
    if s.doing == DECODE:
        used += blocks_in(p, pool, s, s.step + 1, steps_by(p, s, r, now) + s.depth - s.step)
    return used


@jit
def busy_until(pool, s, now):
    """Time that a replica has had a step under way, up to now [s]."""
    busy_s = s.busy_s
    if s.doing == SINGLE and pool.depth == 0:
        busy_s += now - s.began_s
    if s.anchored == 1 and s.t0_s < now:
        busy_s += now - s.t0_s
    if s.booked_s > now:  # booked when it was formed, and still running
        busy_s -= s.booked_s - now
    return busy_s


@jit
def show_gauges(address, pool_id, now, out):
    """Write each replica of a pool, on line or not, into a row of a SHOWN table at `out`. Nothing changes."""
    p = plane_at(address, 0)
    move_to(p, now)
    pool = pool_at(p.pools, pool_id)
    for n in range(pool.max_replicas):
        r = pool.first_replica + n
        s = replica_at(p.replicas, r)
        shown = shown_at(out, n)
        shown.state = s.state
        shown.num_running = s.num_running
        shown.num_waiting = s.num_waiting
        shown.used_blocks = blocks_used(p, pool, s, r, now)
        shown.busy_s = busy_until(pool, s, now)
