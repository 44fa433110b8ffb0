"""Drifts: what they do by hand, and the plane, both its clocks and the readable model on worlds that drift."""

import math

import numpy as np
import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import play
from small import kind, pool, rows, world
from worlds import Scene, play_scene
from worlds_drifts import drifting_scenes

from sim.metrics.records import BLOCKED, COMPLETED
from sim.plane.world import Visit

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]}


def played(a_world, arrivals, *commands):
    """Records by serial, the same from the plane and from the readable model."""
    scene = Scene(a_world, arrivals, commands=commands)
    result = run_plane(scene)
    assert compare(result, play(scene.world, scene.rows, scene.commands, scene.until, 5_000, scene.segments)) == []
    return np.sort(result.records, order="serial")


def test_lengths_change_from_the_turn_issued_after_the_command():
    arrivals = rows((0.0, 10, 4), (99.0, 10, 4), (100.0, 10, 4), (100.0, 10, 4, 1))
    found = played(world(pool(), (kind(), kind())), arrivals, (100.0, "lengths", 0, 1.25, 0.5))
    assert found["prompt_tokens"].tolist() == [10, 10, 13, 10]  # 12.5 is rounded up
    assert found["requested_tokens"].tolist() == [4, 4, 2, 4]


def test_a_later_turn_is_scaled_once_and_carries_the_scaled_history():
    a_world = world(pool(), (kind(keep_history=True),))  # later turns: 5 new tokens, 3 wanted
    found = played(a_world, rows((0.0, 10, 4, 0, 3)), (1.0, "lengths", 0, 2.0, 2.0))
    assert found["prompt_tokens"].tolist() == [10, 10 + 4 + 10, 24 + 6 + 10]
    assert found["requested_tokens"].tolist() == [4, 6, 6]


def test_a_busted_prefix_is_never_found_again():
    cached = pool(enable_prefix_caching=True)  # blocks of 4
    a_world = world(cached, (kind(prefix_tokens=12, keep_history=True),))
    arrivals = rows((0.0, 4, 4), (100.0, 4, 4, 0, 2), (200.0, 4, 4, 0, 2))
    found = played(a_world, arrivals, (150.0, "bust", 0))
    assert found["cached_tokens"].tolist() == [0, 12, 16, 0, 0]  # the last turn would have its history
    assert found["prompt_tokens"].tolist() == [16, 16, 25, 16, 25]


def test_verdicts_change_from_the_one_given_after_the_command():
    paths = {"main": (Visit(0, "classify", "user"), Visit(0))}
    found = played(world(pool(), paths=paths), rows((0.0, 5, 3), (100.0, 5, 3)), (50.0, "block", 0, 1.0))
    assert found["ending"].tolist() == [COMPLETED, BLOCKED]
    assert math.isnan(found["first_token_s"][1])


@settings(max_examples=3 * SCENES, **FREELY)
@given(drifting_scenes(exact=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)  # first, for it sets aside what hangs
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(drifting_scenes(exact=False))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(drifting_scenes(exact=True))
def test_clocks_and_leaping_agree_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
