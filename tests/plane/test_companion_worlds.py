"""Gates and checks in random worlds: both clocks, leaping or not, to the bit; and the readable model says the same."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene, scenes
from worlds_companions import beside
from worlds_singly import PIPELINE, PLAIN, SPECULATION

from sim.plane.world import BATCH_POLICIES

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
OTHER_WORLDS = {
    "policies": {"policies": BATCH_POLICIES},
    "singly": {"kinds": (PLAIN, PIPELINE, SPECULATION)},
    "split": {"split": True},
    "tiers": {"tiers": True},
}


@settings(max_examples=3 * SCENES, **FREELY)
@given(beside(scenes(exact=True)))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(beside(scenes(exact=False)))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=3 * SCENES, **FREELY)
@given(beside(scenes(exact=True)))
def test_clocks_and_leaping_agree_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))


@pytest.mark.parametrize("other", OTHER_WORLDS)
def test_beside_answers_of_other_worlds(other):
    @settings(max_examples=SCENES, **FREELY)
    @given(beside(scenes(exact=True, **OTHER_WORLDS[other])))
    def agrees(scene):
        slow = play_scene(scene, exact=True)
        reference = run_plane(scene)
        assert compare(reference, slow) == []
        assert identical(reference, run_plane(scene, clock="simpy", leap=False))

    agrees()
