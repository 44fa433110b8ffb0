"""Batch policies from the scenario to the plane; what they do is held in tests/plane."""

from typing import get_args

import pytest
from recorder import Recorder

import sim
from sim.errors import SpecError
from sim.fleet.build import build
from sim.metrics.records import COMPLETED
from sim.plane import world as plane_world
from sim.spec import fleet as spec_fleet

POLICY, ASYNC = "fleet.pools.main.batch_policy", "fleet.pools.main.async_scheduling"
ONLY_VLLM_V1 = {
    "long_prefill_token_threshold": 100,
    "long_prefill_token_threshold_adaptive": True,
    "prefill_schedule_interval": 2,
    "max_num_active_seqs": 3,
    "kv_offload": {"capacity_gib": 1},
}


def small(**changes):
    """A few minutes of one pool."""
    return sim.load("quickstart", set={"horizon": "2 min"} | changes)


def test_scenario_and_plane_know_the_same_policies(repository):
    assert get_args(spec_fleet.BatchPolicy) == plane_world.BATCH_POLICIES
    assert spec_fleet.SYNCHRONOUS == plane_world.SYNCHRONOUS
    assert spec_fleet.ONLY_VLLM_V1 == plane_world.ONLY_VLLM_V1 == tuple(ONLY_VLLM_V1)
    pages = {page.stem for page in (repository / "docs" / "policies").glob("*.md")}
    assert pages == set(plane_world.BATCH_POLICIES)


@pytest.mark.parametrize("policy", plane_world.BATCH_POLICIES)
def test_a_pool_schedules_ahead_where_its_policy_can(policy):
    can = policy not in plane_world.SYNCHRONOUS
    for said, wanted in ((None, can), (False, False)):
        (pool,) = build(small(**{POLICY: policy, ASYNC: said})).world.pools
        assert (pool.batch_policy, pool.async_scheduling) == (policy, wanted)


@pytest.mark.parametrize("policy", plane_world.SYNCHRONOUS)
def test_scheduling_ahead_is_refused_where_a_policy_cannot(policy):
    with pytest.raises(SpecError, match=f"async_scheduling: must be false where batch_policy is {policy}"):
        small(**{POLICY: policy, ASYNC: True})


@pytest.mark.parametrize("policy", plane_world.BATCH_POLICIES[1:])
def test_settings_that_only_vllm_v1_knows_are_refused_at_once(policy):
    with pytest.raises(SpecError) as raised:
        small(**{POLICY: policy} | {f"fleet.pools.main.{name}": value for name, value in ONLY_VLLM_V1.items()})
    found = {problem.path: problem.message for problem in raised.value.problems}
    assert set(found) == {f"fleet.pools.main.{name}" for name in ONLY_VLLM_V1}
    assert found["fleet.pools.main.max_num_active_seqs"] == (
        f"must be null where batch_policy is {policy}: only vllm_v1 knows it"
    )
    assert small(**{f"fleet.pools.main.{name}": value for name, value in ONLY_VLLM_V1.items()})


@pytest.mark.parametrize("policy", plane_world.BATCH_POLICIES)
def test_a_policy_serves_a_scenario(policy):
    recorder = Recorder(small(**{POLICY: policy}))
    assert (recorder.records["ending"] == COMPLETED).sum() > 0
    if policy in plane_world.RESERVING:
        assert not recorder.records["num_preemptions"].any()
