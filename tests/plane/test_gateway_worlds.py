"""Limits and gateways in random worlds: the plane is the readable model, under both clocks, leaping or not."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene
from worlds_gateway import gated
from worlds_singly import PIPELINE, PLAIN, SPECULATION

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
POLICIES = ("vllm_v1", "prefill_first", "reserve_full", "static")


@settings(max_examples=5 * SCENES, **FREELY)
@given(gated(exact=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=3 * SCENES, **FREELY)
@given(gated(exact=False))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(gated(exact=True))
def test_clocks_and_leaping_agree_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(gated(exact=True, policies=POLICIES))
def test_under_every_batch_policy(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=SCENES, **FREELY)
@given(gated(exact=True, kinds=(PLAIN, PIPELINE, SPECULATION)))
def test_step_by_step(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=SCENES, **FREELY)
@given(gated(exact=True, tiers=True))
def test_with_a_second_tier_of_the_cache(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(gated(exact=True, split=True))
def test_with_answers_from_two_pools(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []
    assert identical(run_plane(scene), run_plane(scene, clock="simpy", leap=False))
