"""Pipeline stages and speculation: the same agreements as in test_clocks.py."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from worlds import play_scene, scenes
from worlds_singly import PIPELINE, PLAIN, SPECULATION

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples  # 100, unless a profile of conftest.py is asked for
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
KINDS = pytest.mark.parametrize("kinds", [(PIPELINE,), (SPECULATION,), (PLAIN, PIPELINE, SPECULATION)], ids="+".join)


@KINDS
def test_plane_is_the_readable_model_to_the_bit(kinds):
    @settings(max_examples=2 * SCENES, **FREELY)
    @given(scenes(exact=True, kinds=kinds))
    def check(scene):
        slow = play_scene(scene, exact=True)
        assert compare(run_plane(scene), slow) == []

    check()


@KINDS
def test_plane_is_the_readable_model_in_general(kinds):
    @settings(max_examples=SCENES, **FREELY)
    @given(scenes(exact=False, kinds=kinds))
    def check(scene):
        slow = play_scene(scene, exact=False)
        assert compare(run_plane(scene), slow, time_tol=1e-9) == []

    check()


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "general"])
def test_clocks_and_leaping_agree_to_the_bit(exact):
    @settings(max_examples=SCENES, **FREELY)
    @given(scenes(exact=exact, kinds=(PLAIN, PIPELINE, SPECULATION)))
    def check(scene):
        play_scene(scene, exact=exact)
        reference = run_plane(scene)
        assert identical(reference, run_plane(scene, clock="simpy"))
        assert identical(reference, run_plane(scene, leap=False))
        assert identical(reference, run_plane(scene, clock="simpy", leap=False))

    check()
