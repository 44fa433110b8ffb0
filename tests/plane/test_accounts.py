"""What a request's replica time is booked as: by its class, the pool, and the feature that the visit serves."""

import small
from drive import run_plane
from worlds import Scene

from sim.plane.world import Visit

# Steps take 1 s in main and 4 s in guard, whatever is in them: a visit of one token takes 1 step, an answer of three 3.
POOLS = (small.pool(1.0, name="main", usd_per_replica_s=2.0), small.pool(4.0, name="guard"))
PATHS = {
    "checked": (
        Visit(1, "classify", "user", 2, feature="input_check"),
        Visit(0, "classify", "full", 2, feature="judge"),
        Visit(0, "generate", feature="answer"),
    ),
    "plain": (Visit(0, "generate", feature="answer"),),
}
CLASSES = (small.kind(name="checked", path="checked"), small.kind(name="plain", path="plain"))


def play(*arrivals, **settings):
    world = small.world(POOLS, CLASSES, paths=PATHS, **settings)
    return world, run_plane(Scene(world, small.rows(*arrivals)))


def test_each_visit_is_booked_under_its_pool_and_feature():
    world, result = play((0.0, 5, 3, 0), (100.0, 5, 3, 1))
    assert world.accounts == [(1, "input_check"), (0, "judge"), (0, "answer")]
    assert result.spent_s.tolist() == [[4.0, 1.0, 3.0], [0.0, 0.0, 3.0]]


def test_a_blocked_request_is_booked_as_far_as_it_came():
    blocked = (Visit(1, "classify", block_frac=1.0, feature="input_check"), Visit(0, "generate", feature="answer"))
    world = small.world(POOLS, paths={"main": blocked})
    result = run_plane(Scene(world, small.rows((0.0, 5, 3))))
    assert result.spent_s.tolist() == [[4.0, 0.0]]


def test_the_run_in_is_not_booked():
    _, result = play((-50.0, 5, 3, 1), (0.0, 5, 3, 1), start_s=-60.0)
    assert result.spent_s.tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]
