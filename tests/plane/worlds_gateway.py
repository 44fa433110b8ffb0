"""Random worlds whose tiers are limited, and queue at gateways: those of worlds.py, with promises."""

import math
from dataclasses import replace

from hypothesis import strategies as st
from worlds import MIXED, RETURNING, SHARING, Clock, Scene, scenes

from sim.plane.promises import CHARGES, ORDERS, Bucket, Gateway, Promise, UserLimit
from sim.plane.world import Visit
from sim.traffic.arrivals import NO_LIMIT

TIERS = ("gold", "silver", "tin")
PLACES = (MIXED, MIXED, SHARING, RETURNING)


@st.composite
def buckets(draw, *, least=0):
    """Token buckets that are often empty; rates are powers of two, so that levels are exact on the grid."""
    tokens = draw(st.sampled_from([False, True]))
    return Bucket(
        rate_per_s=draw(st.sampled_from([0.5, 2.0, 8.0])),
        capacity=float(draw(st.integers(1, 3))),
        input_per_s=draw(st.sampled_from([8.0, 64.0, math.inf])) if tokens else math.inf,
        input_capacity=float(draw(st.integers(20 + least, 80))),
        output_per_s=draw(st.sampled_from([8.0, 64.0, math.inf])) if tokens else math.inf,
        output_capacity=float(draw(st.integers(10 + least, 60))),
        charges=draw(st.sampled_from(CHARGES)),
        counts_cached=draw(st.booleans()),
    )


@st.composite
def user_limits(draw, clock, paths):
    return UserLimit(
        bucket=draw(st.one_of(st.just(Bucket()), buckets())),
        messages=draw(st.integers(0, 3)),
        window_s=draw(clock.calendar(16, 600)),
        fall_back=draw(st.sampled_from([None, *paths])),
    )


@st.composite
def promises(draw, clock, paths):
    return Promise(
        weight=draw(st.sampled_from([1.0, 0.5, 3.0])),
        reserved_frac=draw(st.sampled_from([0.0, 0.0, 0.2, 1 / 3])),
        max_queue=draw(st.sampled_from([NO_LIMIT, NO_LIMIT, 0, 1, 3])),
        queue_time_limit_s=draw(st.one_of(st.just(math.inf), clock.calendar(16, 200))),
        user_limit=draw(st.one_of(st.none(), user_limits(clock, paths))),
    )


@st.composite
def gated(draw, *, exact, **what):
    """A scene of worlds.py, its classes in tiers that were promised something, its pools behind gateways."""
    scene = draw(scenes(exact=exact, moods=PLACES, **what))
    world = scene.world
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)), unit=draw(st.sampled_from([1, 16])))
    gateways = st.builds(
        Gateway,
        max_outstanding=st.integers(1, 4),
        order=st.sampled_from(ORDERS),
        max_queue=st.sampled_from([NO_LIMIT, NO_LIMIT, 0, 2, 5]),
    )
    tiers = [draw(st.sampled_from(TIERS)) for _ in world.classes]
    paths = dict(world.paths)
    if not what.get("split"):
        paths["small"] = (Visit(draw(st.integers(0, len(world.pools) - 1))),)
    expected = st.lists(st.integers(1, 25), min_size=1, max_size=4)
    limited = tuple(draw(buckets()) if draw(st.booleans()) else bucket for bucket in world.buckets)
    changed = replace(
        world,
        pools=tuple(
            replace(pool, gateway=draw(st.one_of(st.none(), gateways, gateways, gateways))) for pool in world.pools
        ),
        paths=paths,
        classes=tuple(
            replace(kind, tier=tier, max_output_tokens=draw(st.sampled_from([NO_LIMIT, 20, 5])))
            for kind, tier in zip(world.classes, tiers, strict=True)
        ),
        buckets=limited,
        promises={tier: draw(promises(clock, sorted(paths))) for tier in dict.fromkeys(tiers)},
        expected_output_tokens=tuple(tuple(draw(expected)) for _ in world.classes),
        has_deadlines=True,
        has_extras=True,
    )
    return Scene(changed, scene.rows, scene.segments, scene.commands, scene.until)
