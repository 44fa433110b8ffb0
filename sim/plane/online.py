"""Replicas go on line and off line."""

# ruff: noqa: ANN001, ANN201
from sim.plane.cache import forget
from sim.plane.compiled import jit
from sim.plane.decoding import gauge
from sim.plane.host_tier import forget_store
from sim.plane.tables import ACTIVE, DOWN, OFF, health_at, i4_at, replica_at


@jit
def turn_on(p, s, now):
    """A replica serves from now on, with an empty cache. One that was down is so no longer."""
    if s.state == DOWN:
        x = health_at(p.health, s.number)
        x.down_s += now - x.down_at_s
    s.state = ACTIVE
    s.online_at_s = now
    gauge(s, now)
    s.kv_at_s = now
    s.kv_blocks = 0.0


@jit
def turn_off(p, pool, s, now):
    """A replica at which nobody is goes: its cache is dropped, its time on line ends."""
    forget(p, pool, s)
    forget_store(p, pool, s)
    s.online_s += now - s.online_at_s
    s.state = OFF
    if p.has_faults == 1:
        x = health_at(p.health, s.number)
        s.state = x.leaves_to
        x.leaves_to = OFF
        x.num_seized = x.seized = 0
        x.down_at_s = now
    p.wake = 1


@jit
def is_left_alone(p, s):
    """Whether nothing but its own steps will ever change what a replica has: nobody else holds blocks of it."""
    return p.has_faults == 0 or health_at(p.health, s.number).num_seized == 0


@jit
def list_active(p, pool):
    """Write the pool's active replicas in ascending order."""
    n = 0
    for r in range(pool.first_replica, pool.first_replica + pool.max_replicas):
        if replica_at(p.replicas, r).state == ACTIVE:
            i4_at(p.active, pool.first_replica + n).v = r
            n += 1
    pool.num_active = n
