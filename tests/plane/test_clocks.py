"""The three agreements: compiled = SimPy clock, leap = no leap, both to the bit; and both = the readable model."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene, scenes

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples  # 100, unless a profile of conftest.py is asked for
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@settings(max_examples=6 * SCENES, **FREELY)
@given(scenes(exact=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=4 * SCENES, **FREELY)
@given(scenes(exact=False))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=4 * SCENES, **FREELY)
@given(scenes(exact=True))
def test_clocks_and_leaping_agree_to_the_bit_with_many_ties(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))


@settings(max_examples=4 * SCENES, **FREELY)
@given(scenes(exact=False))
def test_clocks_and_leaping_agree_to_the_bit_in_general(scene):
    play_scene(scene, exact=False)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
    assert identical(reference, run_plane(scene, leap=False))
