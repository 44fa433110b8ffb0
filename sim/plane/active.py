"""Which replicas of a pool are active; whatever changes that lists them anew."""

# ruff: noqa: ANN001, ANN201
import numpy as np

from sim.plane.compiled import jit
from sim.plane.gateway import count_room
from sim.plane.routing_rows import part_at
from sim.plane.tables import ACTIVE, i4_at, replica_at


@jit
def list_active(p, pool):
    """Write the pool's active replicas in ascending order, and how many of them are of each part."""
    n = 0
    for r in range(pool.first_replica, pool.first_replica + pool.max_replicas):
        if replica_at(p.replicas, r).state == ACTIVE:
            i4_at(p.active, pool.first_replica + n).v = r
            n += 1
    pool.num_active = n
    p.num_listings += 1
    for x in range(pool.first_part, pool.first_part + pool.num_parts):
        count_part(p, pool, part_at(p.parts, x))
    if pool.gated == 1:
        count_room(p, pool)


@jit
def count_part(p, pool, part):
    """Find a part's replicas among the active ones of its pool."""
    part.first_active = pool.first_replica
    part.num_active = 0
    for x in range(pool.first_replica, pool.first_replica + pool.num_active):
        r = i4_at(p.active, x).v
        part.first_active += np.int64(r < part.first)
        part.num_active += np.int64(part.first <= r < part.end)
