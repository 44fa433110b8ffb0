"""What control processes do to the plane: replicas come and go, requests are aborted, the door is shut."""

# ruff: noqa: ANN001, ANN201
from sim.metrics.records import FAILED
from sim.plane.compiled import jit
from sim.plane.events import file_outbox, move_to
from sim.plane.journey import abort
from sim.plane.online import list_active, turn_off, turn_on
from sim.plane.tables import DRAINING, FREE, OFF, THINKING, i4_at, plane_at, pool_at, replica_at, request_at


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
            turn_on(p, s, now)
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
