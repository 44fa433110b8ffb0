"""What control processes do to the plane: replicas come and go, requests are aborted, the door is shut."""

# ruff: noqa: ANN001, ANN201
from sim.metrics.records import FAILED
from sim.plane.active import list_active
from sim.plane.companions import is_companion
from sim.plane.compiled import jit
from sim.plane.events import file_outbox, move_to
from sim.plane.journey import abort
from sim.plane.leaving import let_in
from sim.plane.online import turn_off, turn_on
from sim.plane.prefix_index import forget_sent
from sim.plane.states import come_on_line, enter, go_off_line, may_follow
from sim.plane.tables import ACTIVE, DRAINING, FREE, OFF, THINKING, i4_at, plane_at, pool_at, replica_at, request_at


@jit
def add_replicas(address, pool_id, n, now):
    """Turn on the n lowest-numbered replicas that are off. Returns how many there were."""
    p = plane_at(address, 0)
    move_to(p, now)
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
    let_in(p, pool, -1, now)
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
            send_home(p, pool, replica_at(p.replicas, i4_at(p.active, pool.first_replica + x).v), now)
            drained += 1
    list_active(p, pool)
    return drained


@jit
def send_home(p, pool, s, now):
    """A replica drains: it goes as soon as it is empty."""
    enter(p, s, DRAINING, now)
    if s.pending == 0 and s.num_waiting == 0 and i4_at(p.holding, s.number).v == 0:
        turn_off(p, pool, s, now)


@jit
def change_replica(address, r, state, now):
    """Bring replica r to another state, if it may come there from its own (`states`). Returns whether it did."""
    p = plane_at(address, 0)
    p.num_out = 0
    s = replica_at(p.replicas, r)
    if not may_follow(s.state, state):
        return 0
    move_to(p, now)
    pool = pool_at(p.pools, s.pool)
    if s.state == OFF:
        come_on_line(p, s, state, now)
    elif state == DRAINING:
        send_home(p, pool, s, now)
    elif state == OFF:
        go_off_line(p, s, now)
    else:
        enter(p, s, state, now)
    p.wake = 1
    list_active(p, pool)
    if state == ACTIVE:
        let_in(p, pool, -1, now)
    return 1


@jit
def abort_serial(address, serial, now):
    """End the request of that serial as failed, if it is alive. For tests and operators: scans the request rows."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    for slot in range(p.num_requests):
        q = request_at(p.requests, slot)
        if q.serial == serial and q.state not in (FREE, THINKING) and not is_companion(p, slot):
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
def close_router(address, k, now):
    """Router k takes no requests any more and forgets all; while none is up the door is shut.

    Those that came by it are still there: `sim.fleet.routers` ends them. Returns whether it was up.
    """
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    router = i4_at(p.routers, k)
    if router.v == 0:
        return 0
    router.v = 0
    p.num_up -= 1
    if p.num_up == 0:
        p.num_outages += 1
    if p.index_blocks > 0:
        for r in range(p.num_replicas):
            forget_sent(p, k, r)
    return 1


@jit
def open_router(address, k, now):
    """Router k takes requests again, if it did not."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    router = i4_at(p.routers, k)
    if router.v == 1:
        return 0
    if p.num_up == 0:
        p.num_outages -= 1
    p.num_up += 1
    router.v = 1
    return 1


@jit
def abort_row(address, slot, now):
    """End the request of a row as failed, if there is one."""
    p = plane_at(address, 0)
    move_to(p, now)
    p.num_out = 0
    abort(p, slot, FAILED, now)
    return p.num_out


@jit
def file_events(address):
    """The compiled clock's half of a control action: file what it left in the outbox."""
    file_outbox(plane_at(address, 0))
