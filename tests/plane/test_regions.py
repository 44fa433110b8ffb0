"""Requests that travel between regions: cases worked by hand, on the plane and on the readable model."""

import math

import numpy as np
import pytest
from compare import compare
from drive import run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from test_region_worlds import same_ways
from worlds import Scene

from sim.metrics.records import ABANDONED, BLOCKED, COMPLETED, SHED, SPILLED
from sim.plane.building_regions import sender_edges
from sim.plane.world import Visit
from sim.plane.world_regions import Regions
from sim.traffic import draws
from sim.traffic.people import People, thresholds

NEAR_S, FAR_S, BETWEEN_S = 0.25, 1.0, 0.5


def two_regions(**settings):
    """All senders in one place, near the east."""
    given = {
        "names": ("east", "west"), "user_frac": [1.0], "to_users_s": [[NEAR_S, FAR_S]],
        "between_s": [[0.0, BETWEEN_S], [BETWEEN_S, 0.0]],
    }  # fmt: skip
    return Regions(**(given | settings))


def played(pools, arrivals, classes=(), commands=(), regions=None, **settings):
    """The plane's records in order of serial; the model and the other clock agree."""
    settings = {"regions": regions or two_regions(), "has_deadlines": True, "has_extras": True} | settings
    world_ = world(pools, classes, **settings)
    scene = Scene(world_, arrivals, commands=tuple(commands))
    slow = play(world_, arrivals, scene.commands)
    for result in (run_plane(scene), run_plane(scene, clock="simpy", leap=False)):
        assert compare(result, slow) == []
        assert same_ways(result, slow)
    return np.sort(result.records, order="serial")


def test_a_client_waits_for_the_way_there_and_back():
    # Prefill and two decode steps of 1 s; the request is there 0.25 s after it was sent, and its tokens 0.25 s later
    # at the client.
    (record,) = played(pool(regions={"east": 1}), rows((2.0, 4, 3)))
    assert record["ending"] == COMPLETED
    assert record["scheduled_s"] == 2.0 + NEAR_S
    assert record["first_token_s"] == 2.0 + NEAR_S + 1.0 + NEAR_S
    assert record["end_s"] == 2.0 + NEAR_S + 3.0 + NEAR_S
    assert record["network_s"] == 2 * NEAR_S
    assert record["flags"] == 0


def test_a_pool_that_is_elsewhere_is_reached_by_way_of_the_nearest_region():
    (record,) = played(pool(regions={"west": 1}), rows((2.0, 4, 3)))
    assert record["scheduled_s"] == 2.0 + NEAR_S + BETWEEN_S
    assert record["network_s"] == 2 * (NEAR_S + BETWEEN_S)
    assert record["flags"] == 0  # nothing of the pool is in the east, so nothing spilled


@pytest.mark.parametrize(
    ("spill_at", "there"), [(math.inf, [0] * 6), (2.0, [0, 0, 1, 1, 1, 0]), (1.0, [0, 1, 1, 0, 0, 0])]
)
def test_who_finds_a_region_full_goes_to_the_next(spill_at, there):
    # One every 0.25 s, one replica in each region, and none ends. Those under way are counted nowhere: with room for k
    # in each, two more follow k to the west before they are there (0.5 s). Where both are full, one stays.
    arrivals = rows(*[(0.25 * n, 4, 30) for n in range(6)])
    two = pool(num_replicas=2, regions={"east": 1, "west": 1})
    found = played(two, arrivals, regions=two_regions(spill_at=spill_at))
    assert found["replica"].tolist() == there
    assert ((found["flags"] & SPILLED) > 0).tolist() == [where == 1 for where in there]
    assert found["network_s"].tolist() == [2 * (NEAR_S + BETWEEN_S * where) for where in there]


def test_each_sender_goes_to_the_region_nearest_to_them():
    many = rows(*[(0.125 * n, 4, 2) for n in range(40)])
    regions = two_regions(user_frac=[0.3, 0.7], to_users_s=[[NEAR_S, FAR_S], [FAR_S, NEAR_S]])
    found = played(pool(num_replicas=2, regions={"east": 1, "west": 1}, max_num_seqs=64), many, regions=regions)
    word = draws.bits(draws.key(1, draws.REGION), np.arange(40, dtype=np.uint64), np.uint64(0), np.uint64(0))
    west = word >= np.uint64(int(0.3 * 2.0**64))
    assert (found["replica"] == west).all()
    assert 0 < west.sum() < 40


def test_senders_are_where_the_traffic_says():
    shares = [0.31, 0.098, 0.056, 0.042, 0.494]
    assert (sender_edges(shares) == thresholds(shares)).all()
    people = People(7, np.array(shares), np.ones((5, 1)))
    users = np.arange(2_000, dtype=np.uint64)
    word = draws.bits(draws.key(7, draws.REGION), users, np.uint64(0), np.uint64(0))
    assert (people.region(users) == (word[:, None] >= sender_edges(shares)).sum(axis=1)).all()


def test_a_classifier_in_one_region_and_the_answer_in_another():
    guard = pool(name="guard", regions={"east": 1})
    path = (Visit(0, "classify", "user"), Visit(1))
    (record,) = played((guard, pool(regions={"west": 1})), rows((0.0, 4, 3)), paths={"main": path})
    assert record["classified_s"] == NEAR_S + 1.0
    assert record["scheduled_s"] == NEAR_S + 1.0 + BETWEEN_S
    assert record["network_s"] == 2 * (NEAR_S + BETWEEN_S)
    (record,) = played(
        (guard, pool(regions={"west": 1})),
        rows((0.0, 4, 3)),
        paths={"main": (Visit(0, "classify", block_frac=1.0), Visit(1))},
    )
    assert record["ending"] == BLOCKED
    assert record["end_s"] == NEAR_S + 1.0 + NEAR_S  # when the client hears of it


def test_patience_may_end_under_way_and_a_region_may_be_gone_on_arrival():
    hasty = kind(patience_s=constant(0.125))
    (record,) = played(pool(regions={"east": 1}), rows((0.0, 4, 3)), [hasty])
    assert (record["ending"], record["end_s"], record["replica"]) == (ABANDONED, 0.125, -1)
    two = pool(num_replicas=2, regions={"east": 1, "west": 1})
    # West, the last, is drained while requests are on their way there: they turn back.
    regions = two_regions(to_users_s=[[FAR_S, NEAR_S]])
    found = played(two, rows((0.0, 4, 3), (1.0, 4, 3)), commands=[(0.125, "drain", 0, 1)], regions=regions)
    assert found["replica"].tolist() == [0, 0]
    assert found["network_s"].tolist() == [2 * (NEAR_S + BETWEEN_S)] * 2
    nobody = pool(num_replicas=0, max_replicas=1, regions={"east": 0})
    (record,) = played(nobody, rows((0.0, 4, 3)))
    assert (record["ending"], record["end_s"]) == (SHED, NEAR_S)
