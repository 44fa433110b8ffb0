"""Replicas go on line and off line."""

# ruff: noqa: ANN001, ANN201
from sim.plane.cache import forget
from sim.plane.compiled import jit
from sim.plane.health_rows import health_at
from sim.plane.host_tier import forget_store
from sim.plane.prefix_index import forget_replica
from sim.plane.states import come_on_line, go_off_line
from sim.plane.tables import ACTIVE, DOWN, OFF


@jit
def turn_on(p, s, now):
    """A replica serves from now on, with an empty cache. One that was down is so no longer."""
    if s.state == DOWN:
        x = health_at(p.health, s.number)
        x.down_s += now - x.down_at_s
    come_on_line(p, s, ACTIVE, now)


@jit
def turn_off(p, pool, s, now):
    """A replica at which nobody is goes: its cache is dropped, its time on line ends. It may be one that is down."""
    forget(p, pool, s)
    forget_store(p, pool, s)
    forget_replica(p, s.number)
    go_off_line(p, s, now)
    if p.has_faults == 1:
        x = health_at(p.health, s.number)
        s.state = x.leaves_to
        x.leaves_to = OFF
        x.num_seized = x.seized = 0
        s.unpromised = pool.usable
        x.down_at_s = now


@jit
def is_left_alone(p, s):
    """Whether nothing but its own steps will ever change what a replica has: nobody else holds blocks of it."""
    return p.has_faults == 0 or health_at(p.health, s.number).num_seized == 0
