"""Random scenes in which replicas fail, come back, are slow, run other versions and lose memory."""

from dataclasses import replace

from hypothesis import strategies as st
from slow_replica import DOWN, OFF
from worlds import Clock, Scene, scenes, step_times

from sim.plane.transfer_tables import max_replicas

STATES = {"off": OFF, "down": DOWN}


@st.composite
def versions(draw, clock, pool):
    """A pool with up to two other versions; a pipeline has none."""
    if pool.stage_times is not None:
        return pool
    most_seqs = max(pool.max_num_seqs, pool.max_num_active_seqs)
    some = st.lists(step_times(clock, pool.max_num_batched_tokens, most_seqs), max_size=2)
    return replace(pool, versions=tuple(draw(some)))


@st.composite
def faults(draw, clock, origin_s, pools):
    """Commands in no order."""
    found = []
    owners = [number for number, pool in enumerate(pools) for _ in range(max_replicas(pool))]
    times_s = clock.calendar(0, draw(st.sampled_from([60, 250, 1_000])))
    one = st.integers(0, len(owners) - 1)
    for _ in range(draw(st.integers(1, 7))):
        t_s, number = origin_s + draw(times_s), draw(one)
        verb = draw(st.sampled_from(["fail", "fail", "fail", "leave", "pace", "pace", "seize"]))
        if verb == "fail":
            zone = draw(st.sampled_from([[number], [number], list(range(len(owners)))]))
            then, on_failure = draw(st.sampled_from([DOWN, DOWN, OFF])), draw(st.integers(0, 2))
            found.append((t_s, verb, zone, then, on_failure))
            found += [(t_s + draw(clock.calendar(0, 100)), "up", r) for r in zone if draw(st.booleans())]
        elif verb == "leave":
            found.append((t_s, verb, number, draw(st.sampled_from([DOWN, OFF]))))
            found.append((t_s + draw(clock.calendar(0, 100)), "up", number))
        elif verb == "pace":
            version = draw(st.integers(0, len(pools[owners[number]].versions)))
            found.append((t_s, verb, number, draw(st.sampled_from([1.0, 2.0, 3.0])), version))
        else:
            found.append((t_s, verb, number, draw(st.sampled_from([2, 10, 10_000]))))
            found.append((t_s + draw(clock.calendar(0, 100)), "give_back", number))
    return found


def failing_scenes(*, exact, **settings):
    """A scene of worlds.py with faults."""
    return failing(scenes(exact=exact, **settings), exact=exact)


@st.composite
def failing(draw, scenes, *, exact):
    """A scene with faults, in place of the drains that it had."""
    scene = draw(scenes)
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)), unit=draw(st.sampled_from([1, 16])))
    pools = tuple(draw(versions(clock, pool)) for pool in scene.world.pools)
    given = [command for command in scene.commands if command[1] != "drain"]
    given += draw(faults(clock, scene.world.start_s, pools))
    world = replace(scene.world, pools=pools, has_faults=True, has_extras=draw(st.booleans()) or scene.world.has_extras)
    return Scene(world, scene.rows, scene.segments, tuple(sorted(given, key=lambda command: command[0])), scene.until)
