"""Routers with views of their own, in random worlds: both clocks, leaping or not, and the readable model agree."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import MIXED, SHARING, Clock, play_scene, scenes
from worlds_routing import routed

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@st.composite
def routed_scenes(draw, *, exact):
    """Scenes in which there is something to choose."""
    clock = Clock(exact=exact, seed=0 if exact else draw(st.integers(0, 1 << 16)), unit=draw(st.sampled_from([1, 16])))
    return draw(routed(draw(scenes(exact=exact, moods=(MIXED, SHARING, MIXED))), clock))


@settings(max_examples=3 * SCENES, **FREELY)
@given(routed_scenes(exact=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=2 * SCENES, **FREELY)
@given(routed_scenes(exact=False))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    reference = run_plane(scene)
    assert compare(reference, slow, time_tol=1e-9) == []
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
