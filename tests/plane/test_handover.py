"""Answers that are split over two pools: the plane, under both clocks, leaping or not, is the readable model."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene, scenes

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@settings(max_examples=2 * SCENES, **FREELY)
@given(scenes(exact=True, split=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(scenes(exact=False, split=True))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(scenes(exact=True, split=True))
def test_clocks_and_leaping_agree_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
