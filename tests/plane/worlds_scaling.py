"""Random worlds in which replicas start, are warm, serve and go, one by one."""

from dataclasses import replace

from hypothesis import strategies as st
from slow_replica import ACTIVE, DRAINING, OFF
from slow_states import STARTING, WARM

WAYS = (
    (STARTING, ACTIVE), (STARTING, WARM, ACTIVE), (STARTING, OFF, STARTING, ACTIVE), (STARTING, WARM, STARTING, ACTIVE),
    (STARTING, ACTIVE, DRAINING, STARTING, ACTIVE), (WARM, DRAINING, STARTING, WARM, OFF), (ACTIVE, DRAINING),
)  # fmt: skip
"""States one after the other; some that cannot follow, which change nothing."""


@st.composite
def scaled(draw, scene, clock):
    """A scene with more replicas than serve at first, some of which come and go."""
    pools = tuple(replace(pool, max_replicas=most(pool) + draw(st.integers(0, 2))) for pool in scene.world.pools)
    found, first = [], 0
    for pool in pools:
        for number in range(first + pool.num_replicas, first + most(pool)):
            t_s = scene.world.start_s
            for state in draw(st.sampled_from(WAYS)):
                t_s += draw(clock.calendar(0, 200))
                found.append((t_s, "change", number, state))
        first += most(pool)
    commands = sorted([*scene.commands, *found], key=lambda command: command[0])
    return replace(scene, world=replace(scene.world, pools=pools), commands=tuple(commands))


def most(pool):
    """Replicas that a pool has rows for."""
    return max(pool.max_replicas, pool.num_replicas)
