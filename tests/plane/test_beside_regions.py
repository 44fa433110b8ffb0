"""Classifiers beside the answer in fleets of several regions: random worlds, and by hand."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from test_region_worlds import regional_scenes, same_ways
from worlds import play_scene
from worlds_companions import beside

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@settings(max_examples=4 * SCENES, **FREELY)
@given(beside(regional_scenes(exact=True)))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert same_ways(reference, slow)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=2 * SCENES, **FREELY)
@given(beside(regional_scenes(exact=False)))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    reference = run_plane(scene)
    assert compare(reference, slow, time_tol=1e-9) == []
    assert same_ways(reference, slow)
