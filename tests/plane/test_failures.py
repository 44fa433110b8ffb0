"""Faults in random worlds: plane = readable model, compiled = SimPy clock, leap = no leap."""

from compare import compare
from drive import identical, run_plane
from hypothesis import given, settings
from test_clocks import FREELY, SCENES
from worlds import play_scene
from worlds_failures import failing_scenes
from worlds_singly import PIPELINE, PLAIN, SPECULATION

from sim.plane.world import BATCH_POLICIES


@settings(max_examples=3 * SCENES, **FREELY)
@given(failing_scenes(exact=True, policies=BATCH_POLICIES))
def test_faults_are_those_of_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=3 * SCENES, **FREELY)
@given(failing_scenes(exact=False, policies=BATCH_POLICIES))
def test_faults_are_those_of_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(failing_scenes(exact=True, kinds=(PLAIN, PIPELINE, SPECULATION)))
def test_faults_in_pipelines_and_under_speculation(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=3 * SCENES, **FREELY)
@given(failing_scenes(exact=True, policies=BATCH_POLICIES))
def test_clocks_and_leaping_agree_about_faults_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
