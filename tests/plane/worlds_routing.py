"""Routers of random worlds: several of them, each with a view of its own, some of which fail; replicas reserved."""

from dataclasses import replace

from hypothesis import strategies as st

from sim.plane.world import ROUTERS
from sim.plane.world_routing import Routing

RULES = (*ROUTERS, "least_kv", "prefix_affinity", "prefix_affinity")
TIERS = ("red", "blue", "green")


@st.composite
def routings(draw, clock):
    """One router or several, that look always, now and then or hardly ever; an index of a few blocks or of many."""
    return Routing(
        num_routers=draw(st.sampled_from([1, 2, 3])),
        by_conversation=draw(st.booleans()),
        state_interval_s=clock(draw(st.sampled_from([0, 8, 64, 400]))),
        counts_own=draw(st.booleans()),
        index_blocks=draw(st.sampled_from([0, 1, 2, 3, 5, 100])),
        min_match_frac=draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
    )


@st.composite
def reserved(draw, pool):
    """A pool some of whose replicas are one tier's, or two tiers'."""
    most, found = pool.num_replicas, {}
    for tier in draw(st.permutations(TIERS))[: draw(st.integers(0, 2))]:
        if most > 0:
            found[tier] = draw(st.integers(1, most))
            most -= found[tier]
    return replace(pool, reserved=found)


@st.composite
def router_failures(draw, clock, origin_s, num_routers):
    """Routers that go, and mostly come back."""
    found = []
    for _ in range(draw(st.integers(0, 3))):
        t_s, number = origin_s + draw(clock.calendar(0, 500)), draw(st.integers(0, num_routers - 1))
        found.append((t_s, "fail_router", number))
        if draw(st.sampled_from([True, True, False])):
            found.append((t_s + draw(clock.calendar(1, 200)), "restore_router", number))
    return found


def many_replicas(pool, num_replicas, add):
    """A pool with so many replicas that there is something to choose."""
    return replace(pool, num_replicas=num_replicas, max_replicas=num_replicas + add)


@st.composite
def routed(draw, scene, clock):
    """A scene with routers such as these."""
    world = scene.world
    pools = tuple(
        draw(reserved(many_replicas(pool, draw(st.integers(1, 4)), draw(st.integers(0, 2))))) for pool in world.pools
    )
    if draw(st.booleans()):
        pools = tuple(replace(pool, router=draw(st.sampled_from(["", *RULES]))) for pool in pools)
    routing = draw(routings(clock))
    classes = tuple(replace(kind, tier=draw(st.sampled_from(TIERS))) for kind in world.classes)
    world = replace(world, pools=pools, classes=classes, routing=routing, router=draw(st.sampled_from(RULES)))
    drained: dict[int, int] = {}
    kept = []
    for command in scene.commands:
        if command[1] == "drain":
            left = drained.get(command[2], pools[command[2]].num_replicas) - command[3]
            if left < 1:
                continue
            drained[command[2]] = left
        kept.append(command)
    failures = draw(router_failures(clock, world.start_s, routing.num_routers))
    return replace(scene, world=world, commands=tuple(sorted([*kept, *failures], key=lambda command: command[0])))
