"""The agreements of test_clocks.py under the batch policies that are not vLLM's."""

import numpy as np
import pytest
import slow_draws as draws
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import play
from small import kind, pool, rows, world
from worlds import Scene, play_scene, scenes

from sim.plane.world import BATCH_POLICIES, CACHES
from sim.traffic.arrivals import SEGMENT

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@settings(max_examples=2 * SCENES, **FREELY)
@given(scenes(exact=True, policies=BATCH_POLICIES))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    plane = run_plane(scene)
    assert compare(plane, slow) == []
    assert identical(plane, run_plane(scene, clock="simpy", leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(scenes(exact=False, policies=BATCH_POLICIES))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    plane = run_plane(scene)
    assert compare(plane, slow, time_tol=1e-9) == []
    assert identical(plane, run_plane(scene, clock="simpy"))
    assert identical(plane, run_plane(scene, leap=False))


# A head of the queue that does not fit may come to fit in the middle of a leap: a running request publishes a block
# that the head's prompt repeats. Here that prompt is the first's and 12 tokens of its answer; steps take 1 s.

ADMITTED = {
    "vllm_v1": (5, 13, 1, 4),
    "prefill_first": (5, 13, 1, 5),
    "reserve_full": (10, 21, 5, 4),
    "static": (10, 21, 5, 21),
}
"""Blocks; output of the first request and of the head; when the head is first scheduled [s]."""


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("policy", ADMITTED)
def test_a_head_that_reads_what_is_being_written_is_admitted_in_time(policy, cache):
    num_gpu_blocks, *outputs, start = ADMITTED[policy]
    main = pool(num_gpu_blocks=num_gpu_blocks, batch_policy=policy, cache=cache, enable_prefix_caching=True)
    scene_world = world(main, [kind()])
    arrivals = rows((0.0, 4, outputs[0]), (2.5, 16, outputs[1]))
    arrivals["num_segments"] = 1, 2
    answer = draws.bits(scene_world.seed, draws.CONTENT, 0, 0, 0)
    segments = np.array([(1, 4, 0), (1, 4, 0), (answer, 12, 0)], SEGMENT)
    scene = Scene(scene_world, arrivals, segments)
    slow = play(scene_world, arrivals, segments=segments)
    assert [record["scheduled_s"] for record in slow.records] == [0.0, start]
    assert compare(run_plane(scene), slow) == []
    assert compare(run_plane(scene, leap=False), slow) == []
