"""A World that keeps rows of deadlines and extras, and needs none, plays as one without them."""

from dataclasses import replace

import pytest
from digests import crowd
from drive import identical, run_plane
from hypothesis import given, settings
from worlds import play_scene, scenes

pytestmark = pytest.mark.filterwarnings("error")


def with_rows(scene):
    """The same scene, its requests' patience among other deadlines."""
    return replace(scene, world=replace(scene.world, has_deadlines=True, has_extras=True))


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_patience_is_one_deadline_among_others(clock):
    scene = crowd()
    assert identical(run_plane(scene, clock=clock), run_plane(with_rows(scene), clock=clock))


@settings(max_examples=settings.default.max_examples)
@given(scenes(exact=True))
def test_rows_that_nobody_needs_change_nothing(scene):
    play_scene(scene, exact=True)
    assert identical(run_plane(scene), run_plane(with_rows(scene)))
