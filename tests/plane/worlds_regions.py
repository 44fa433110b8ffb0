"""Random worlds whose replicas and senders are in several regions."""

import math
from dataclasses import replace

from hypothesis import strategies as st
from worlds_routing import RULES, many_replicas, routings

from sim.plane.world_regions import Regions

NAMES = ("east", "west", "north")


@st.composite
def ways(draw, clock, num_rows, num_columns):
    """One way from each row to each column: none, short or long."""
    ticks = st.sampled_from([0, 1, 8, 64])
    return [[clock(draw(ticks)) for _ in range(num_columns)] for _ in range(num_rows)]


@st.composite
def spread(draw, pool, names):
    """A pool with replicas in some of the regions."""
    where = draw(st.lists(st.sampled_from(names), min_size=1, max_size=len(names), unique=True))
    counts = {name: draw(st.integers(1, 2)) for name in where}
    return replace(many_replicas(pool, sum(counts.values()), draw(st.integers(0, 1))), regions=counts)


@st.composite
def in_regions(draw, scene, clock):
    """A scene in regions."""
    n, places = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    names = NAMES[:n]
    between = draw(ways(clock, n, n))
    regions = Regions(
        names=names,
        user_frac=[1.0 / places] * places,
        to_users_s=draw(ways(clock, places, n)),
        between_s=[[0.0 if x == y else way for y, way in enumerate(row)] for x, row in enumerate(between)],
        spill_at=draw(st.sampled_from([0.5, 1.0, 2.0, 3.0, math.inf])),
    )
    world = scene.world
    pools = tuple(draw(spread(pool, names)) for pool in world.pools)
    left = [pool.num_replicas for pool in pools]
    kept = []
    for command in scene.commands:
        if command[1] == "drain":
            if left[command[2]] - command[3] < 1:
                continue
            left[command[2]] -= command[3]
        kept.append(command)
    world = replace(
        world, pools=pools, regions=regions, routing=draw(routings(clock)), router=draw(st.sampled_from(RULES)),
        has_deadlines=True, has_extras=True,
    )  # fmt: skip
    return replace(scene, world=world, commands=tuple(kept))
