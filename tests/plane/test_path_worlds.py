"""Random paths that are more than guards and an answer: the plane is the readable model, under both clocks."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene
from worlds_long import long_scenes

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]}


@settings(max_examples=4 * SCENES, **FREELY)
@given(long_scenes(exact=True))
def test_the_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(long_scenes(exact=False))
def test_the_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@pytest.mark.parametrize("exact", [True, False])
def test_clocks_and_leaping_agree_to_the_bit(exact):
    @settings(max_examples=2 * SCENES, **FREELY)
    @given(long_scenes(exact=exact))
    def agree(scene):
        play_scene(scene, exact=exact)
        reference = run_plane(scene)
        assert identical(reference, run_plane(scene, clock="simpy"))
        assert identical(reference, run_plane(scene, leap=False))
        assert identical(reference, run_plane(scene, clock="simpy", leap=False))

    agree()
