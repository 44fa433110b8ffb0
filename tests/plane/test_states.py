"""Replicas brought from state to state: which may follow, who is paid, and random worlds against the readable model."""

import itertools
from dataclasses import replace

import pytest
from compare import compare
from drive import CODES, identical, run_plane
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slow_states import FOLLOWERS
from small import kind, pool, world
from worlds import MIXED, Clock, play_scene, scenes
from worlds_scaling import scaled

from sim.plane.commands import change_replica
from sim.plane.compiled import allocate
from sim.plane.gauges import show_gauges
from sim.plane.owner import Plane
from sim.plane.state_rows import SHOWN

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(FOLLOWERS, FOLLOWERS)))
def test_which_state_may_follow(old, new):
    plane = Plane(world(pool(num_replicas=1, max_replicas=2), [kind()]))
    plane["replicas"]["state"][1] = CODES[old]
    plane["replicas"]["online_at_s"][1] = 0.0
    done = change_replica(plane.address, 1, CODES[new], 5.0)
    assert done == (new in FOLLOWERS[old])
    expected = new if done else old
    if expected == "draining" and done:
        expected = "off"  # nobody is there
    assert plane["replicas"]["state"][1] == CODES[expected]
    assert plane["pools"]["num_active"][0] == 1 + (expected == "active" and bool(done))


@st.composite
def scaled_scenes(draw, *, exact):
    """Scenes in which replicas come and go one by one."""
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)), unit=draw(st.sampled_from([1, 16])))
    return draw(scaled(draw(scenes(exact=exact, moods=(MIXED,))), clock))


@settings(max_examples=2 * SCENES, **FREELY)
@given(scaled_scenes(exact=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(scaled_scenes(exact=False))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    reference = run_plane(scene)
    assert compare(reference, slow, time_tol=1e-9) == []
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(scenes(exact=True, moods=(MIXED,)), st.floats(0.0, 3.0))
def test_gauges_show_the_same_leaping_and_stepping_and_change_nothing(scene, after_s):
    play_scene(scene, exact=True)
    shown = []

    def look(player):
        for number, one in enumerate(scene.world.pools):
            table = allocate(max(1, one.max_replicas, one.num_replicas), SHOWN)
            show_gauges(player.plane.address, number, player.env.now, table.ctypes.data)
            shown.append(table.tobytes())

    looks = (scene.world.start_s + after_s, "do", look)
    looked = replace(scene, commands=tuple(sorted([*scene.commands, looks], key=lambda command: command[0])))
    reference = run_plane(scene)
    for clock, leap in (("compiled", True), ("compiled", False), ("simpy", True)):
        assert identical(reference, run_plane(looked, clock=clock, leap=leap))
    num = len(shown) // 3
    assert shown[:num] == shown[num : 2 * num] == shown[2 * num :]
