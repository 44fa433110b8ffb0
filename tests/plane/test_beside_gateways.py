"""Classifiers beside the answer in pools with gateways: random worlds, with replicas that fail too, and by hand."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene
from worlds_companions import beside
from worlds_failures import failing
from worlds_gateway import gated
from worlds_singly import PIPELINE, PLAIN, SPECULATION

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


def agree(scene):
    """Whether plane and readable model are one, to the bit, and the plane under both clocks, leaping or not."""
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=4 * SCENES, **FREELY)
@given(beside(gated(exact=True)))
def test_plane_is_the_readable_model_to_the_bit(scene):
    agree(scene)


@settings(max_examples=2 * SCENES, **FREELY)
@given(beside(gated(exact=False)))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=SCENES, **FREELY)
@given(beside(gated(exact=True, kinds=(PLAIN, PIPELINE, SPECULATION))))
def test_step_by_step(scene):
    agree(scene)


@settings(max_examples=SCENES, **FREELY)
@given(beside(gated(exact=True, split=True)))
def test_with_answers_from_two_pools(scene):
    agree(scene)


@settings(max_examples=SCENES, **FREELY)
@given(failing(gated(exact=True), exact=True))
def test_replicas_fail_behind_gateways(scene):
    agree(scene)


@settings(max_examples=4 * SCENES, **FREELY)
@given(beside(failing(gated(exact=True), exact=True)))
def test_replicas_fail_beside_answers_behind_gateways(scene):
    agree(scene)
