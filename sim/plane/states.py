"""The states of a replica at control pace, and how long it was in each.

OFF -> STARTING (paid; its GPUs come and its model is loaded) -> WARM (ready, paid, takes nothing) -> ACTIVE -> DRAINING
-> OFF. Whoever adds replicas at once leaves the two in the middle out. What starts or is warm may be stopped at once;
what drains goes with its last request (`engine.turn_off`).
"""

# ruff: noqa: ANN001, ANN201
from sim.plane.compiled import jit
from sim.plane.decoding import gauge
from sim.plane.state_rows import stay_at
from sim.plane.tables import ACTIVE, DRAINING, OFF, STARTING, WARM


@jit
def enter(p, s, state, now):
    """A replica goes to another state; the time in its old one is booked."""
    stay = stay_at(p.stays, s.number)
    spent_s = now - stay.since_s
    if s.state == STARTING:
        stay.starting_s += spent_s
    elif s.state == WARM:
        stay.warm_s += spent_s
    elif s.state == DRAINING:
        stay.draining_s += spent_s
    stay.since_s = now
    s.state = state


@jit
def come_on_line(p, s, state, now):
    """A replica that was off is paid from now on, with empty queues and an empty cache."""
    enter(p, s, state, now)
    s.online_at_s = now
    gauge(s, now)
    s.kv_at_s = now
    s.kv_blocks = 0.0


@jit
def go_off_line(p, s, now):
    """A replica that holds nothing is paid no longer; whoever waits for room is told."""
    enter(p, s, OFF, now)
    s.online_s += now - s.online_at_s
    p.wake = 1


@jit
def may_follow(old, new):
    """Whether control processes may bring a replica from one state to another."""
    if old == OFF:
        return new in (STARTING, ACTIVE)
    if old in (STARTING, WARM):
        return new not in (old, DRAINING)
    return old == ACTIVE and new == DRAINING
