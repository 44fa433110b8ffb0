"""Classifiers beside the answer, with rates and a truth, in worlds whose replicas fail."""

from dataclasses import replace

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worlds import play_scene, scenes
from worlds_companions import beside
from worlds_failures import failing_scenes

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
RATES = st.sampled_from([0.0, 0.2, 0.7, 1.0])


@st.composite
def truthful(draw, scenes):
    """A scene in which some requests are unsafe, and classifiers beside the answer tell so, more or less often."""
    scene = draw(scenes)
    world = scene.world
    languages = 1 + max((int(row) for row in scene.rows["language"]), default=0)

    def rated(visit):
        if visit.kind != "classify" or draw(st.booleans()):
            return visit
        rates = {f"{what}_positive_rate": [draw(RATES) for _ in range(languages)] for what in ("true", "false")}
        return replace(visit, block_frac=0.0, **rates)

    paths = {name: tuple(rated(visit) for visit in path) for name, path in world.paths.items()}
    checks = {name: rated(check) for name, check in world.checks.items()}
    classes = tuple(replace(kind, unsafe_frac=draw(st.sampled_from([0.0, 0.3]))) for kind in world.classes)
    return replace(scene, world=replace(world, paths=paths, checks=checks, classes=classes))


@settings(max_examples=2 * SCENES, **FREELY)
@given(truthful(beside(scenes(exact=True))))
def test_rates_and_a_truth(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))


@settings(max_examples=2 * SCENES, **FREELY)
@given(truthful(beside(failing_scenes(exact=True))))
def test_replicas_fail_beside_answers(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
