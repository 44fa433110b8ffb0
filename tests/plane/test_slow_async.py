"""Two steps in flight: cases worked by hand, steps of one second (the specification's section 10)."""

import pytest
from slow_model import OFF, play
from slow_request import BLOCKED, COMPLETED, FAILED, IN_FLIGHT
from small import constant, kind, pool, rows, world

from sim.plane.world import Visit


def entries(result):
    """(schedule() call, start, [(serial, tokens, before)]) of each step."""
    return [
        (step.scheduled_s, step.start_s, [(e.seq.serial, e.num_tokens, e.before) for e in step.entries])
        for step in result.steps
    ]


def two_deep(c0=1.0, **settings):
    return pool(c0, async_scheduling=True, **settings)


def test_a_step_is_formed_when_the_one_before_it_begins():
    result = play(world(two_deep()), rows((2.0, 4, 4)))
    assert entries(result) == [
        (2, 2, [(0, 4, 0)]), (2, 3, [(0, 1, 4)]), (3, 4, [(0, 1, 5)]), (4, 5, [(0, 1, 6)]),
    ]  # fmt: skip
    (record,) = result.records
    assert (record["scheduled_s"], record["first_token_s"], record["end_s"]) == (2, 3, 6)
    assert result.gaps_s == [[1.0, 1.0, 1.0]]
    assert (record["busy_s"], result.replicas[0].busy_s, result.replicas[0].num_steps) == (4, 4, 4)
    assert [step.finished for step in result.steps] == [[], [], [], [0]]


def test_who_comes_during_a_step_is_in_the_next_but_one():
    result = play(world(two_deep(max_num_seqs=2)), rows((0.0, 4, 3), (0.5, 8, 1), (0.5, 4, 1)))
    assert entries(result)[2] == (1, 2, [(0, 1, 5), (1, 8, 0)])
    assert [record["scheduled_s"] for record in result.records] == [0, 2, 3]
    # The second ends at t = 3, as the first does; the third was scheduled then, and alone.
    assert entries(result)[3] == (3, 3, [(2, 4, 0)])


def test_a_long_prompt_fills_both_steps():
    result = play(world(two_deep(max_num_batched_tokens=8)), rows((0.0, 20, 2)))
    assert entries(result) == [
        (0, 0, [(0, 8, 0)]), (0, 1, [(0, 8, 8)]), (1, 2, [(0, 4, 16)]), (2, 3, [(0, 1, 20)]),
    ]  # fmt: skip
    assert result.gaps_s == [[1.0]]


def test_a_decoded_block_is_published_when_its_tokens_are_known():
    # The eighth token of all is delivered at t = 4, while the step that computes it runs: so the schedule() of then
    # publishes the second block. The twelfth is delivered at t = 8, when there is nothing left to schedule; its block
    # is published with the last output.
    main = two_deep(enable_prefix_caching=True)
    result = play(world(main), rows((0.0, 4, 9)))
    assert [step.cached_blocks for step in result.steps] == [1] * 5 + [2] * 4
    assert result.steps[5].scheduled_s == 4.0
    assert result.replicas[0].blocks.num_cached == 3
    assert play(world(main), rows((0.0, 4, 9)), until=9.0).replicas[0].blocks.num_cached == 2


@pytest.mark.parametrize(("output_tokens", "end_s", "preemptions"), [(3, 3.0, 1), (5, 10.0, 1)])
def test_a_token_in_flight_reaches_a_request_that_was_thrown_out(output_tokens, end_s, preemptions):
    # Six blocks of two: three for each at t = 1. At t = 2 the first wants a fourth; the second's third token comes at
    # t = 3 all the same, and ends it if it is the last; else it comes back when the first is through.
    main = two_deep(num_gpu_blocks=7, block_size=2)
    result = play(world(main), rows((0.0, 4, 8), (0.0, 4, output_tokens)))
    assert [step.preempted for step in result.steps[:4]] == [[], [], [], [1]]
    assert [step.num_waiting for step in result.steps[2:5]] == [0, 1, 0 if output_tokens == 3 else 1]
    second = result.records[1]
    assert (second["end_s"], second["output_tokens"], second["num_preemptions"]) == (end_s, output_tokens, preemptions)
    assert second["ending"] == COMPLETED
    assert result.replicas[0].blocks.num_free == 6


def test_an_abort_waits_for_the_oldest_step_and_pays_for_both():
    main = two_deep(usd_per_replica_s=2.0, num_replicas=2, max_replicas=2)
    orders = [(0.25, "drain", 0, 1), (0.5, "abort", 1)]
    result = play(world(main, router="round_robin"), rows((0.0, 4, 1), (0.0, 4, 9)), orders)
    record, replica = result.records[1], result.replicas[1]
    assert (record["ending"], record["end_s"], record["output_tokens"]) == (FAILED, 0.5, 1)
    assert (record["busy_s"], record["cost_usd"], replica.busy_s, replica.num_steps) == (2.0, 4.0, 2.0, 2)
    assert [(step.start_s, step.finished) for step in result.steps if step.replica == 1] == [(0, []), (1, [])]
    # A draining replica goes off when its last step has ended, though nobody was left before.
    assert replica.state == OFF
    at_one = play(world(main, router="round_robin"), rows((0.0, 4, 1), (0.0, 4, 9)), orders, until=1.5)
    assert at_one.replicas[1].state != OFF
    assert at_one.replicas[1].outstanding == 0


def test_an_aborted_request_waiting_after_a_preemption_loses_its_token():
    main = two_deep(num_gpu_blocks=7, block_size=2)
    result = play(world(main), rows((0.0, 4, 8), (0.0, 4, 5)), [(2.5, "abort", 1)])
    second = result.records[1]
    assert (second["ending"], second["end_s"], second["output_tokens"], second["busy_s"]) == (FAILED, 2.5, 2, 1.5)


def test_a_last_token_in_the_aborts_own_step_counts():
    result = play(world(two_deep()), rows((0.0, 4, 2)), [(1.5, "abort", 0)])
    assert (result.records[0]["ending"], result.records[0]["end_s"]) == (COMPLETED, 2.0)


def test_what_is_in_flight_at_the_end_is_paid_and_not_delivered():
    result = play(world(two_deep()), rows((0.0, 4, 9)), until=1.5)
    record, replica = result.records[0], result.replicas[0]
    assert (record["ending"], record["output_tokens"], record["busy_s"]) == (IN_FLIGHT, 1, 3.0)
    assert (replica.busy_s, replica.num_steps) == (3.0, 1)


def test_a_classifier_and_the_next_turn():
    path = (Visit(0, kind="classify", prompt="user", block_frac=0.0), Visit(0))
    talker = kind(user_tokens=constant(4), output_tokens=constant(2))
    result = play(world(two_deep(), [talker], paths={"main": path}), rows((0.0, 5, 2, 0, 2)))
    assert [record["end_s"] for record in result.records] == [3.0, 6.0]
    assert [(record["guard_s"], record["busy_s"]) for record in result.records] == [(1.0, 2.0)] * 2
    blocked = {"main": (Visit(0, kind="classify", block_frac=1.0), Visit(0))}
    assert play(world(two_deep(), [talker], paths=blocked), rows((0.0, 5, 2))).records[0]["ending"] == BLOCKED
