"""A transfer arrives: whoever it was for goes on in line, or ends if it was aborted meanwhile."""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.endings import end_request
from sim.plane.engine import end_leap, wake
from sim.plane.handover import count_transfer, release_hold
from sim.plane.links import take_arrived
from sim.plane.loading import has_loaded, let_go
from sim.plane.queues import leave_waiting
from sim.plane.tables import WAITING, loader_at, pool_at, replica_at, request_at
from sim.plane.visits import leave_pool


@jit
def transfer_ended(p, link, now):
    """The first transfer of a link has arrived."""
    slot = take_arrived(p, link)
    q = request_at(p.requests, slot)
    if q.fetches == 1:
        release_hold(p, slot, now)
        count_transfer(p, slot, now)
    r = q.replica
    s = replica_at(p.replicas, r)
    pool = pool_at(p.pools, s.pool)
    end_leap(p, pool, s, r, now)
    loader_at(p.loaders, r).num_loading -= 1
    q.state = WAITING
    if q.aborted < 0:
        has_loaded(p, pool, s, slot)
    else:
        let_go(p, pool, s, slot, now)
        leave_waiting(p, pool, s, slot, now)
        leave_pool(p, q, slot)
        end_request(p, slot, q.aborted, q.abort_s)
    wake(p, s, r, now)
