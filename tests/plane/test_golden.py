"""The readable model and the plane, step by step, against records of vLLM's own scheduler."""

import pytest
from golden import as_world, differences_of_records, differences_of_steps, differences_of_tokens, read_case
from slow_model import play

from sim.fleet import golden as planes
from sim.fleet.conform import conform
from sim.plane.world import CACHES

CASES = (
    "async_prefix", "budget_chunked_mixed", "budget_tiny", "burst_identical_arrivals", "chunked_off",
    "exact_boundaries", "kv_preempt", "kv_preempt_nocache", "kv_watermark", "light_load", "long_prefill_threshold",
    "multi_turn", "multi_turn_preempt", "output_one", "prefix_evict", "prefix_groups", "priority_preempt",
    "priority_queue", "saturated", "seqs_bound", "tiny_pool",
)  # fmt: skip


@pytest.fixture
def golden(shared):
    folder = shared / "oracle" / "golden"
    if not folder.is_dir():
        pytest.skip("needs the recorded scheduler cases")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_model_repeats_the_recorded_case(golden, name):
    case = read_case(golden / name)
    world, (rows, segments), ids = as_world(case)
    result = play(world, rows, segments=segments)
    assert result.complete
    assert differences_of_steps(case, result.steps, ids)[:5] == []
    assert differences_of_records(case, result.records, ids)[:5] == []
    assert differences_of_tokens(case, result.steps, ids)[:5] == []


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", CASES)
def test_plane_repeats_the_recorded_case(golden, name, cache):
    assert [str(difference) for difference in conform([golden / name], cache=cache).failures] == []


@pytest.mark.parametrize("name", CASES)
def test_model_and_plane_are_given_the_same(golden, name):
    world, chunk, _ = as_world(read_case(golden / name))
    other, given = planes.as_world(planes.read_case(golden / name))
    for mine, its in zip(chunk, given, strict=True):
        assert mine.tolist() == its.tolist()
    assert [kind.priority for kind in world.classes] == [kind.priority for kind in other.classes]
    (mine,), (its,) = world.pools, other.pools
    assert vars(mine) | {"step_times": its.step_times} == vars(its)


def test_every_recorded_case_is_played(golden):
    assert {folder.name for folder in golden.iterdir()} == set(CASES)


def test_a_difference_is_noticed(golden):
    case = read_case(golden / "kv_preempt")
    world, (rows, segments), ids = as_world(case)
    rows["output_tokens"][7] += 1
    result = play(world, rows, segments=segments)
    assert differences_of_steps(case, result.steps, ids) != []
    assert differences_of_records(case, result.records, ids) != []
    assert differences_of_tokens(case, result.steps, ids) != []
