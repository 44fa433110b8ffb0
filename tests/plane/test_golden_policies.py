"""Golden cases of our own for the batch policies: the readable model, and the plane under both clocks, repeat them."""

from itertools import product
from pathlib import Path

import golden_policies
import pytest
from compare import compare
from drive import run_plane
from golden import as_world, differences_of_records, differences_of_steps, differences_of_tokens, read_case
from slow_model import play
from worlds import Scene

from sim.fleet.clocks import CLOCKS
from sim.fleet.conform import conform
from sim.plane.world import BATCH_POLICIES, CACHES

FOLDER = Path(golden_policies.FOLDER)


def test_there_is_a_case_of_every_policy_and_no_other():
    assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir()} == set(golden_policies.CASES)
    policies = {read_case(FOLDER / name).config["batch_policy"] for name in golden_policies.CASES}
    assert policies == set(BATCH_POLICIES) - {"vllm_v1"}


@pytest.mark.parametrize("name", golden_policies.CASES)
def test_model_repeats_the_case(name):
    case = read_case(FOLDER / name)
    world, (rows, segments), ids = as_world(case)
    result = play(world, rows, segments=segments)
    assert differences_of_steps(case, result.steps, ids)[:5] == []
    assert differences_of_records(case, result.records, ids)[:5] == []
    assert differences_of_tokens(case, result.steps, ids)[:5] == []


@pytest.mark.parametrize(("clock", "leap", "cache"), list(product(CLOCKS, (True, False), CACHES)))
def test_plane_repeats_the_cases(clock, leap, cache):
    found = conform([FOLDER], clock=clock, leap=leap, cache=cache)
    assert found.num_cases == len(golden_policies.CASES)
    assert list(found.failures) == []


@pytest.mark.parametrize("name", golden_policies.CASES)
def test_plane_counts_the_gaps_of_the_case(name):  # which the records do not have one by one
    world, (rows, segments), _ = as_world(read_case(FOLDER / name))
    slow = play(world, rows, segments=segments)
    assert compare(run_plane(Scene(world, rows, segments)), slow, time_tol=1e-9) == []


@pytest.mark.parametrize("policy", BATCH_POLICIES)
@pytest.mark.parametrize("name", ["reserve_full", "static", "prefill_first"])
def test_another_policy_is_noticed(name, policy):
    case = read_case(FOLDER / name)
    recorded = case.config["batch_policy"]
    case.config["batch_policy"] = policy
    world, (rows, segments), ids = as_world(case)
    result = play(world, rows, segments=segments)
    assert (differences_of_steps(case, result.steps, ids) == []) == (policy == recorded)
