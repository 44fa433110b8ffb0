"""Senders who try again or leave, by hand: when, how often, with which text, and what the next turn counts from."""

import math

import numpy as np
import pytest
from compare import compare
from drive import identical, run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.metrics.records import ABANDONED, BLOCKED, COMPLETED, FAILED, RATE_LIMITED, REFUSED, SHED
from sim.plane.owner import Plane
from sim.plane.world import MAX_TOKENS, Bucket, Visit
from sim.spec import distribution
from sim.traffic.arrivals import Reaction

ALL = (RATE_LIMITED, SHED, ABANDONED, FAILED)


def reaction(**settings):
    """Senders who always try again, twice, 1 s and then 2 s later, and never leave."""
    defaults = {
        "retried": ALL, "retry_frac": 1.0, "max_retries": 2, "backoff_s": constant(1.0), "backoff_factor": 2.0,
        "max_backoff_s": math.inf, "leave_frac": 0.0, "slow_s": math.inf, "slow_leave_frac": 0.0,
    }  # fmt: skip
    return Reaction(**(defaults | settings))


def records(pools, classes, arrivals, commands=(), **settings):
    """What the plane records, in order of serial: the same under both clocks, and as the readable model has it."""
    scene = Scene(world(pools, classes, **settings), arrivals, commands=commands)
    found = run_plane(scene)
    assert identical(found, run_plane(scene, clock="simpy"))
    assert compare(found, play(scene.world, arrivals, commands)) == []
    return np.sort(found.records, order="serial")


def nobody_there():
    """A pool without replicas until somebody adds one."""
    return pool(num_replicas=0, max_replicas=1)


def test_a_sender_tries_again_later_and_later_and_then_goes_on():
    asks = kind(reaction=reaction(), gap_s=constant(5), min_think_s=0.5)
    found = records(nobody_there(), [asks], rows((0.0, 5, 3, 0, 2)))
    assert found["arrived_s"].tolist() == [0, 1, 3, 5, 6, 8]  # the next turn 5 s after the first attempt
    assert found["attempt"].tolist() == [0, 1, 2, 0, 1, 2]
    assert found["retry_of"].tolist() == [-1, 0, 1, -1, 3, 4]
    assert found["turn"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (found["ending"] == SHED).all()
    assert not found["left"].any()


def test_the_next_turn_waits_for_the_last_attempt_and_a_thought():
    asks = kind(reaction=reaction(), gap_s=constant(2), min_think_s=0.5)
    found = records(nobody_there(), [asks], rows((0.0, 5, 3, 0, 2)))
    assert found["arrived_s"].tolist() == [0, 1, 3, 3.5, 4.5, 6.5]


def test_no_delay_exceeds_the_longest():
    asks = kind(reaction=reaction(max_retries=5, max_backoff_s=3.0))
    found = records(nobody_there(), [asks], rows((0.0, 5, 3)))
    assert np.diff(found["arrived_s"]).tolist() == [1, 2, 3, 3, 3]


def test_an_answer_ends_the_retries_and_enters_the_history():
    asks = kind(reaction=reaction(), gap_s=constant(10), keep_history=True)
    found = records(nobody_there(), [asks], rows((0.0, 7, 3, 0, 2)), ((2.5, "add", 0, 1),))
    assert found["ending"].tolist() == [SHED, SHED, COMPLETED, COMPLETED]
    assert found["arrived_s"].tolist() == [0, 1, 3, 10]
    assert found["prompt_tokens"].tolist() == [
        7,
        7,
        7,
        7 + 3 + 5,
    ]  # the same question; then all of it, and 5 tokens more


def test_what_no_retry_mends_is_not_tried_again():
    asks = kind(reaction=reaction(retried=(SHED,)), patience_s=constant(2))
    slow = pool(10.0)
    assert records(slow, [asks], rows((0.0, 5, 3)))["ending"].tolist() == [ABANDONED]
    too_long = kind(reaction=reaction(), max_context_tokens=6, truncates=False)
    assert records(pool(), [too_long], rows((0.0, 5, 3)))["ending"].tolist() == [REFUSED]
    guard = {"main": (Visit(0, "classify", block_frac=1.0), Visit(0))}
    found = records(pool(), [kind(reaction=reaction())], rows((0.0, 5, 3)), paths=guard)
    assert found["ending"].tolist() == [BLOCKED]


def test_patience_begins_anew_with_each_attempt():
    asks = kind(reaction=reaction(max_retries=1), patience_s=constant(2), gap_s=constant(0))
    found = records(pool(10.0), [asks], rows((0.0, 5, 3)))
    assert found["ending"].tolist() == [ABANDONED, ABANDONED]
    assert (found["end_s"] - found["arrived_s"]).tolist() == [2, 2]
    # It gave up at 2 s, and the retry's timer was set when the step in progress ended.
    assert found["arrived_s"].tolist() == [0, 10]


def test_every_attempt_takes_from_the_token_bucket():
    asks = kind(reaction=reaction(max_retries=3))
    arrivals = rows((0.0, 5, 3, 0, 1, 0), (0.0, 5, 3, 0, 1, 0), (0.0, 5, 3, 0, 1, 0))
    found = records(pool(0.25), [asks], arrivals, buckets=(Bucket(1 / 4, 1.0),))
    # One goes at once; at 1 and 3 s nothing is there; at 7 s the bucket holds its one again, for the first that asks.
    assert found["arrived_s"].tolist() == [0, 0, 0, 1, 1, 3, 3, 7, 7]
    answered = found[found["ending"] == COMPLETED]
    assert answered["arrived_s"].tolist() == [0, 7]
    assert answered["attempt"].tolist() == [0, 3]


def test_a_shut_door_fails_every_attempt_at_once():
    asks = kind(reaction=reaction(max_retries=3))
    arrivals = rows((0.0, 5, 8, 0, 1, 0), (0.5, 5, 3, 0, 1, 0))
    shut = ((0.25, "outages", 1), (1.0, "outages", 1), (1.25, "outages", -1), (3.0, "outages", -1))
    found = records(pool(0.25), [asks], arrivals, shut, buckets=(Bucket(1 / 4, 2.0),))
    # The one inside goes on; the other finds the door shut at 0.5 and 1.5 s (by two outages in between), not at 3.5 s.
    assert found["arrived_s"].tolist() == [0, 0.5, 1.5, 3.5]
    assert found["ending"].tolist() == [COMPLETED, FAILED, FAILED, COMPLETED]
    assert found["end_s"].tolist() == [2, 0.5, 1.5, 4.25]


def test_retries_at_the_horizon_are_not_made_and_nothing_follows():
    asks = kind(reaction=reaction(leave_frac=1.0), gap_s=constant(1.5))
    found = records(nobody_there(), [asks], rows((0.0, 5, 3, 0, 3)), horizon_s=3.0)
    assert found["arrived_s"].tolist() == [0, 1]
    assert not found["left"].any()


def test_a_retry_finds_its_own_question_in_the_cache():
    cached = pool(1.0, enable_prefix_caching=True, block_size=4)
    asks = kind(reaction=reaction(), keep_history=True)
    for has_segments in (False, True):
        found = records(cached, [asks], rows((0.0, 14, 9)), ((3.5, "abort", 0),), has_segments=has_segments)
        assert found["ending"].tolist() == [FAILED, COMPLETED]
        assert found["cached_tokens"].tolist() == [0, 12]
        assert found["prompt_tokens"].tolist() == [14, 14]


def test_who_leaves_sends_no_more_turns_and_only_that_counts():
    for num_turns, left in ((3, 1), (1, 0)):
        leaves = kind(reaction=reaction(max_retries=1, leave_frac=1.0))
        found = records(nobody_there(), [leaves], rows((0.0, 5, 3, 0, num_turns)))
        assert found["attempt"].tolist() == [0, 1]
        assert found["left"].tolist() == [0, left]


@pytest.mark.parametrize(("slow_s", "num_turns"), [(1.75, 1), (2.0, 3)])
def test_an_answer_that_is_too_late_ends_the_conversation(slow_s, num_turns):
    # Its first token comes 2 s after it was first asked, 1 s after the attempt that was answered.
    asks = kind(reaction=reaction(slow_s=slow_s, slow_leave_frac=1.0), gap_s=constant(10))
    found = records(nobody_there(), [asks], rows((0.0, 5, 1, 0, 3)), ((0.5, "add", 0, 1),))
    answered = found[found["ending"] == COMPLETED]
    assert answered["first_token_s"][0] == 2.0
    assert (len(answered), answered["left"][0]) == (num_turns, num_turns == 1)


def test_later_turns_are_as_long_as_their_language_takes():
    # Turn 0 is as long as the arrival says; its source has seen to the language.
    speaks = kind(user_tokens=constant(5), output_tokens=constant(3), length_factor=np.array([1.0, 2.5, 0.1]))
    arrivals = rows(*[(0.0, 5, 3, 0, 2)] * 3)
    arrivals["language"] = [0, 1, 2]
    found = records(pool(), [speaks], arrivals)
    later = np.sort(found[found["turn"] == 1], order="user")
    assert later["prompt_tokens"].tolist() == [5, 13, 1]  # 12.5 and 0.5 are rounded up
    assert later["output_tokens"].tolist() == [3, 8, 1]


def test_no_draw_of_a_length_is_too_long_to_be_kept():
    assert MAX_TOKENS == distribution.MAX_TOKENS
    speaks = kind(user_tokens=constant(1e9), output_tokens=constant(3), length_factor=np.array([15.0]))
    scene = Scene(world(pool(), [speaks]), rows((0.0, 5, 3, 0, 2)))
    later = np.sort(run_plane(scene).records, order="serial")[1]
    assert (later["prompt_tokens"], later["ending"]) == (MAX_TOKENS, REFUSED)


def test_mistakes_are_told():
    for wrong in (
        {"retried": (REFUSED,)}, {"retried": (COMPLETED,)}, {"retry_frac": 1.5}, {"max_retries": 64},
        {"max_retries": -1}, {"backoff_factor": 0.0}, {"leave_frac": -0.1}, {"slow_s": -1.0},
    ):  # fmt: skip
        with pytest.raises(ValueError, match="reaction is out of range"):
            Plane(world(pool(), [kind(reaction=reaction(**wrong))]))
    with pytest.raises(ValueError, match="length_factor"):
        Plane(world(pool(), [kind(length_factor=np.array([1.0, 0.0]))]))
    scene = Scene(world(pool(), [kind(length_factor=np.array([1.0]))]), rows((0.0, 5, 3)))
    scene.rows["language"] = 1
    with pytest.raises(ValueError, match="a language that a class has no length_factor for"):
        run_plane(scene)
