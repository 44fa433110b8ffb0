"""Classifiers beside the answer in fleets of several regions: random worlds, and by hand."""

import pytest
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from small import pool, rows
from test_region_worlds import regional_scenes, same_ways
from test_regions import BETWEEN_S, NEAR_S, played, two_regions
from worlds import play_scene
from worlds_companions import beside

from sim.metrics.records import BLOCKED, COMPLETED, SHED, SPILLED
from sim.plane.world import Visit

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}


@settings(max_examples=SCENES, **FREELY)
@given(beside(regional_scenes(exact=True)))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert compare(reference, slow) == []
    assert same_ways(reference, slow)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))


@settings(max_examples=SCENES, **FREELY)
@given(beside(regional_scenes(exact=False)))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    reference = run_plane(scene)
    assert compare(reference, slow, time_tol=1e-9) == []
    assert same_ways(reference, slow)


# ------------------------------------------------------------------ by hand: 1 s a step, guards 1/8 s a token

SURE = 1.0 - 2.0**-53
"""So likely that it happens."""


def guarded(main, guard, arrivals, gate=None, check=None, **settings):
    """The records of requests whose pools are so many replicas in each region."""
    pools = (pool(regions=main, num_replicas=sum(main.values())),)
    pools += (pool(c0=0.0, c1=0.125, name="guard", regions=guard, num_replicas=sum(guard.values())),)
    path = (Visit(0),)
    if gate is not None:
        path = (Visit(1, "classify", **({"mode": "gate", "prompt": "user"} | gate)), *path)
    checks = {}
    if check is not None:
        checks = {"main": Visit(1, "classify", **({"mode": "stream", "prompt": "answer"} | check))}
    return played(pools, arrivals, paths={"main": path}, checks=checks, router="round_robin", **settings)


EVERYWHERE = {"east": 1, "west": 1}


def test_a_gate_is_read_where_its_request_has_come_to():
    """The request is there after 0.25 s; its answer's first token 1 s later, the verdict on 16 tokens 2 s later."""
    (record,) = guarded({"east": 1}, EVERYWHERE, rows((0.0, 16, 3)), gate={})
    assert record["first_token_s"] == NEAR_S + 2.0 + NEAR_S
    assert record["end_s"] == NEAR_S + 3.0 + NEAR_S
    assert (record["verdict_s"], record["guard_s"]) == (1.0, 2.0)
    assert record["network_s"] == 2 * NEAR_S  # as without a gate


def test_a_gate_goes_where_its_request_goes():
    (record,) = guarded({"west": 1}, EVERYWHERE, rows((0.0, 16, 3)), gate={})
    assert record["first_token_s"] == NEAR_S + BETWEEN_S + 2.0 + BETWEEN_S + NEAR_S
    assert record["network_s"] == 2 * (NEAR_S + BETWEEN_S)


def test_only_the_answer_decides_on_spilling_over():
    """One answer fills a region. The second goes west, and its gate with it, though the east's guard is idle."""
    done = guarded(EVERYWHERE, EVERYWHERE, rows((0.0, 8, 9), (1.5, 16, 3)), gate={}, regions=two_regions(spill_at=1.0))
    assert done["flags"].tolist() == [0, SPILLED]
    assert done["first_token_s"][1] == 1.5 + NEAR_S + BETWEEN_S + 2.0 + BETWEEN_S + NEAR_S
    assert done["network_s"].tolist() == [2 * NEAR_S, 2 * (NEAR_S + BETWEEN_S)]


def test_a_classifier_that_is_not_where_its_request_is_fails_closed():
    (record,) = guarded({"west": 1}, {"east": 1}, rows((0.0, 16, 3)), gate={})
    assert (record["ending"], record["end_s"], record["output_tokens"]) == (SHED, NEAR_S + BETWEEN_S, 0)
    (record,) = guarded({"west": 1}, {"east": 1}, rows((0.0, 16, 3)), check={"mode": "serial"})
    assert (record["ending"], record["end_s"], record["output_tokens"]) == (SHED, NEAR_S + BETWEEN_S + 3.0, 3)


def test_a_refusal_and_a_checked_answer_come_back_by_the_way_they_went():
    (record,) = guarded({"east": 1}, EVERYWHERE, rows((0.0, 16, 9)), gate={"block_frac": SURE})
    assert (record["ending"], record["end_s"], record["network_s"]) == (BLOCKED, NEAR_S + 2.0 + NEAR_S, 2 * NEAR_S)
    (record,) = guarded({"east": 1}, EVERYWHERE, rows((0.0, 16, 6)), check={"mode": "serial"})
    assert record["ending"] == COMPLETED
    assert record["first_token_s"] == record["end_s"] == NEAR_S + 6.0 + 6 / 8 + NEAR_S
