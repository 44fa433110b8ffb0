"""The readable model against cases worked by hand. Most steps take exactly one second, so the clock counts steps."""

import math

import numpy as np
import pytest
import slow_draws as draws
from slow_model import play
from slow_request import ABANDONED, BLOCKED, COMPLETED, FAILED, IN_FLIGHT, RATE_LIMITED, REFUSED, SHED
from small import constant, kind, pool, rows, world

from sim.plane.world import Bucket, Visit
from sim.traffic.arrivals import SEGMENT


def ends(result):
    return [(record["ending"], record["end_s"]) for record in result.records]


def schedules(result):
    """(start, [(serial, tokens, before)]) of each step."""
    return [(step.start_s, [(e.seq.serial, e.num_tokens, e.before) for e in step.entries]) for step in result.steps]


# One and two requests


def test_one_request_takes_what_the_formula_says():
    c0, c1, c2, c3 = 1.0, 0.125, 0.0625, 0.03125
    result = play(world(pool(c0, c1, c2, c3, max_num_batched_tokens=8)), rows((2.0, 18, 4)))
    chunks = [(8, 0), (8, 8), (2, 16)]
    first_token_s = 2.0 + sum(c0 + c1 * n + c3 * (n * before + n * (n + 1) / 2) for n, before in chunks)
    gaps_s = [c0 + c1 + c2 * context for context in (19, 20, 21)]
    (record,) = result.records
    assert schedules(result)[:3] == [(2.0, [(0, 8, 0)]), (4.0 + 36 * c3, [(0, 8, 8)]), (6.0 + 136 * c3, [(0, 2, 16)])]
    assert record["first_token_s"] == first_token_s
    assert record["end_s"] == first_token_s + sum(gaps_s)
    assert result.gaps_s == [gaps_s]
    assert record["busy_s"] == result.replicas[0].busy_s == record["end_s"] - 2.0
    assert (record["output_tokens"], record["scheduled_s"], record["classified_s"]) == (4, 2.0, 2.0)


def test_the_second_request_waits_for_the_end_of_the_step():
    result = play(world(pool(1.0, c2=0.5)), rows((0.0, 4, 3), (0.25, 6, 2)))
    # A's prefill; B's prefill beside A's first decode at context 5; both decode (6 + 7); then nobody is left.
    assert schedules(result) == [(0, [(0, 4, 0)]), (1, [(0, 1, 4), (1, 6, 0)]), (4.5, [(0, 1, 5), (1, 1, 6)])]
    assert ends(result) == [(COMPLETED, 12.0), (COMPLETED, 12.0)]
    assert result.gaps_s == [[3.5, 7.5, 7.5]]


def test_costs_go_to_what_causes_them():
    main = pool(1.0, 0.125, 0.5, 0.25, usd_per_replica_s=2.0)
    first, second = play(world(main), rows((0.0, 4, 2), (0.25, 6, 1))).records
    alone_s = 1 + 4 * 0.125 + 10 * 0.25
    # Together: a token's base for two entries, six tokens of excess (none is the decode's first), context 5, 21 pairs.
    base_s, excess_s = 1.125 / 2, 6 * 0.125
    assert first["busy_s"] == pytest.approx(alone_s + base_s + excess_s / 7 + 5 * 0.5, rel=1e-12)
    assert second["busy_s"] == pytest.approx(base_s + excess_s * 6 / 7 + 21 * 0.25, rel=1e-12)
    assert first["cost_usd"] == pytest.approx(2 * first["busy_s"], rel=1e-12)


# Blocks


def test_preemption_worked_by_hand():
    # Six blocks of two tokens. In the fourth step the first request needs a fourth block: the second is thrown out with
    # three tokens given, waits until the first is done (four blocks for its seven tokens), and recomputes all seven.
    main = pool(num_gpu_blocks=7, block_size=2)
    result = play(world(main), rows((0.0, 4, 6), (0.0, 4, 6)))
    assert ends(result) == [(COMPLETED, 6.0), (COMPLETED, 9.0)]
    assert [record["num_preemptions"] for record in result.records] == [0, 1]
    assert schedules(result)[3:7] == [(3, [(0, 1, 6)]), (4, [(0, 1, 7)]), (5, [(0, 1, 8)]), (6, [(1, 7, 0)])]
    assert [step.free_blocks for step in result.steps] == [2, 0, 0, 2, 2, 1, 2, 2, 1]
    assert sorted(result.gaps_s[0]) == [1.0] * 9 + [4.0]
    assert [record["busy_s"] for record in result.records] == [4.5, 4.5]


def test_priority_throws_out_the_worst_and_returns_its_budget():
    # At t = 3 the first request has its place in the step when the second needs a fourth block: it is withdrawn.
    classes = [kind(priority=5), kind(priority=0)]
    main = pool(num_gpu_blocks=7, block_size=2, scheduling_policy="priority")
    result = play(world(main, classes), rows((0.0, 3, 6, 0), (0.5, 5, 6, 1)))
    assert [record["num_preemptions"] for record in result.records] == [1, 0]
    assert [step.preempted for step in result.steps] == [[], [], [], [0], [], [], [], [], [], []]
    assert schedules(result)[3] == (3.0, [(1, 1, 6)])
    assert [record["end_s"] for record in result.records] == [10.0, 7.0]


def test_prefix_hit_worked_by_hand():
    # A prefix of 9 tokens has two full blocks of 4. The second request comes in the same pass, the third much later.
    main = pool(1.0, 0.125, enable_prefix_caching=True)
    result = play(world(main, [kind(prefix_tokens=9)]), rows((0.0, 2, 1), (0.0, 5, 1), (50.0, 1, 2)))
    assert schedules(result)[0] == (0.0, [(0, 11, 0), (1, 6, 8)])
    assert schedules(result)[1] == (50.0, [(2, 2, 8)])
    assert [record["cached_tokens"] for record in result.records] == [0, 8, 8]
    assert result.replicas[0].blocks.num_cached == 3  # the second request's third block is its own
    assert result.replicas[0].blocks.num_free == 1000


def test_a_fully_cached_prompt_still_computes_its_last_token():
    main = pool(enable_prefix_caching=True, max_num_batched_tokens=16)
    times = [(0.0, 4, 1), (20.0, 1, 1)]
    result = play(world(main, [kind(prefix_tokens=8, max_context_tokens=64)]), rows(*times))
    assert schedules(result) == [(0.0, [(0, 12, 0)]), (20.0, [(1, 1, 8)])]


def test_watermark_and_whole_prompt_gate_admission_but_not_running():
    arrivals = rows((0.0, 8, 3), (0.5, 8, 1))
    for settings, start_s in (({}, 1.0), ({"watermark": 0.3}, 3.0), ({"num_gpu_blocks": 5}, 3.0)):
        main = pool(**({"num_gpu_blocks": 6} | settings))
        assert play(world(main), arrivals).records[1]["scheduled_s"] == start_s
    # Without the gate the head of a long prompt is let in as soon as its first chunk fits.
    small = {"num_gpu_blocks": 5, "max_num_batched_tokens": 8}
    for gate, start_s in ((True, 3.0), (False, 1.0)):
        main = pool(scheduler_reserve_full_isl=gate, **small)
        assert play(world(main), rows((0.0, 4, 3), (0.5, 14, 1))).records[1]["scheduled_s"] == start_s


def test_without_chunks_a_long_prompt_waits_and_holds_up_the_rest():
    main = pool(max_num_batched_tokens=10, enable_chunked_prefill=False)
    result = play(world(main), rows((0.0, 4, 1), (0.0, 8, 1), (0.0, 2, 1), (0.0, 11, 1)))
    assert schedules(result) == [(0.0, [(0, 4, 0)]), (1.0, [(1, 8, 0), (2, 2, 0)])]
    assert result.records[3]["ending"] == REFUSED


# Aborts and ties


def test_abort_mid_prefill_takes_effect_at_the_end_of_the_step():
    main = pool(max_num_batched_tokens=8)
    impatient = kind(patience_s=constant(1.5))
    result = play(world(main, [impatient, kind()]), rows((0.0, 30, 5, 0), (0.0, 4, 1, 1)))
    assert schedules(result) == [(0.0, [(0, 8, 0)]), (1.0, [(0, 8, 8)]), (2.0, [(1, 4, 0)])]
    assert ends(result) == [(ABANDONED, 1.5), (COMPLETED, 3.0)]
    first = result.records[0]
    assert (first["output_tokens"], first["busy_s"]) == (0, 2.0)
    assert math.isnan(first["first_token_s"])
    assert result.replicas[0].blocks.num_free == 1000


def test_a_waiting_request_leaves_at_once():
    main = pool(max_num_seqs=1)
    result = play(world(main, [kind(patience_s=constant(1.5))]), rows((0.0, 4, 9), (0.0, 4, 1)), [(4.5, "abort", 0)])
    assert ends(result) == [(FAILED, 4.5), (ABANDONED, 1.5)]
    assert result.records[0]["output_tokens"] == 5  # the step in progress still counts
    assert result.replicas[0].num_steps == 5


@pytest.mark.parametrize(("output_tokens", "ending"), [(1, COMPLETED), (2, ABANDONED)])
def test_patience_that_ends_with_the_first_token_comes_before_it(output_tokens, ending):
    # Timer and step end at t = 1: the timer goes first, so only the last token of all can still win.
    main, impatient = pool(), kind(patience_s=constant(1.0))
    (record,) = play(world(main, [impatient]), rows((0.0, 4, output_tokens))).records
    assert (record["ending"], record["output_tokens"]) == (ending, 1)
    assert record["first_token_s"] == record["end_s"] == 1.0


def test_an_arrival_at_a_steps_end_joins_the_next_step():
    result = play(world(pool()), rows((0.0, 4, 2), (1.0, 4, 1)))
    assert schedules(result)[1] == (1.0, [(0, 1, 4), (1, 4, 0)])


def test_aborting_the_ended_the_unknown_and_the_thinking_does_nothing():
    talker = kind(gap_s=constant(10))
    plain = play(world(pool(), [talker]), rows((0.0, 4, 2, 0, 2)))
    orders = [(2.5, "abort", 0), (5.0, "abort", 0), (5.0, "abort", 1), (5.0, "abort", 77)]
    assert play(world(pool(), [talker]), rows((0.0, 4, 2, 0, 2)), orders).records == plain.records
    assert len(plain.records) == 2


# Paths, turns, control


def test_a_classifier_then_the_answer():
    guard = pool(1.0, name="guard", enable_prefix_caching=True, usd_per_replica_s=3.0)
    main = pool(2.0, frontend_s=0.25, usd_per_replica_s=5.0)
    path = (Visit(1, kind="classify", prompt="user", template_tokens=8), Visit(0))
    result = play(world([main, guard], paths={"main": path}), rows((0.0, 5, 2), (10.0, 6, 1)))
    first, second = result.records
    assert [entry[1] for entry in schedules(result)] == [
        [(0, 13, 0)], [(0, 5, 0)], [(0, 1, 5)], [(1, 6, 8)], [(1, 6, 0)],
    ]  # fmt: skip
    assert (first["classified_s"], first["first_token_s"], first["end_s"]) == (1.0, 3.25, 5.25)
    assert (first["guard_s"], first["busy_s"], first["cost_usd"]) == (1.0, 4.0, 23.0)
    assert (second["cached_tokens"], second["pool"], second["replica"]) == (0, 0, 0)
    assert result.gaps_s == [[2.0]]


def test_a_classifier_blocks_and_an_abort_there_ends_the_request():
    path = (Visit(0, kind="classify", prompt="full", template_tokens=2, block_frac=1.0), Visit(0))
    world_ = world(pool(), [kind(prefix_tokens=3)], paths={"main": path})
    result = play(world_, rows((0.0, 5, 2), (5.0, 5, 2)), [(5.5, "abort", 1)])
    assert schedules(result) == [(0.0, [(0, 10, 0)]), (5.0, [(1, 10, 0)])]
    assert ends(result) == [(BLOCKED, 1.0), (FAILED, 5.5)]
    assert all(math.isnan(record["classified_s"]) and record["replica"] == -1 for record in result.records)


def test_turns_carry_their_history_until_the_context_is_full():
    talker = kind(
        prefix_tokens=4, keep_history=True, user_tokens=constant(5), output_tokens=constant(3), gap_s=constant(20),
        min_think_s=2.0, max_context_tokens=24,
    )  # fmt: skip
    result = play(world(pool(), [talker], horizon_s=80.0), rows((0.0, 6, 2, 0, 9)))
    assert [record["prompt_tokens"] for record in result.records] == [4 + 6, 10 + 2 + 5, 24 - 3, 24 - 3]
    assert [record["arrived_s"] for record in result.records] == [0.0, 20.0, 40.0, 60.0]  # then the horizon


def test_a_turn_too_long_for_the_context_is_refused_where_nothing_is_cut():
    # Seed 1 draws 12, 4, 12, 4 tokens for the turns after the first: 12 exceed the limit, 4 fill it. Nothing is left of
    # a refused message; the history stays as it was, and what was cached of it is found again.
    talker = kind(
        prefix_tokens=4, keep_history=True, user_tokens=np.repeat([4.0, 12.0], [700, 325]), output_tokens=constant(3),
        gap_s=constant(20), max_context_tokens=26, truncates=False,
    )  # fmt: skip
    result = play(world(pool(enable_prefix_caching=True), [talker]), rows((0.0, 6, 2, 0, 5)))
    assert [record["prompt_tokens"] for record in result.records] == [10, 24, 16, 31, 23]
    assert [record["ending"] for record in result.records] == [COMPLETED, REFUSED, COMPLETED, REFUSED, COMPLETED]
    assert cached(result) == [0, 0, 8, 0, 16]
    assert [record["arrived_s"] for record in result.records] == [0.0, 20.0, 40.0, 60.0, 80.0]


def test_a_conversation_goes_on_without_the_answer_it_did_not_get():
    talker = kind(keep_history=True, user_tokens=constant(5), output_tokens=constant(3), gap_s=constant(20))
    result = play(world(pool(), [talker]), rows((0.0, 6, 8, 0, 4)), [(20.5, "abort", 1)])
    assert ends(result) == [(COMPLETED, 8.0), (FAILED, 20.5), (COMPLETED, 43.0), (COMPLETED, 63.0)]
    assert [record["prompt_tokens"] for record in result.records] == [6, 6 + 8 + 5, 6 + 8 + 5, 19 + 3 + 5]


def cached(result):
    return [record["cached_tokens"] for record in result.records]


def test_turns_find_what_the_turns_before_left():
    settings = {"keep_history": True, "user_tokens": constant(6), "output_tokens": constant(7), "gap_s": constant(20)}
    main = pool(enable_prefix_caching=True, max_num_batched_tokens=128)
    # 13 tokens a turn, of which the last is not computed when the turn ends.
    assert cached(play(world(main, [kind(**settings)]), rows((0.0, 6, 7, 0, 4)))) == [0, 12, 24, 36]
    # The second turn is given up at its first token, with 13 + 6 tokens computed: what the third has in common with it
    # is the history. The fourth goes on from the third: 13, and twice 13.
    orders = [(20.5, "abort", 1)]
    assert cached(play(world(main, [kind(**settings)]), rows((0.0, 6, 7, 0, 4)), orders)) == [0, 12, 12, 24]
    # Two in a row.
    orders.append((40.5, "abort", 2))
    result = play(world(main, [kind(**settings)]), rows((0.0, 6, 7, 0, 5)), orders)
    assert [record["prompt_tokens"] for record in result.records] == [6, 19, 19, 19, 32]
    assert cached(result) == [0, 12, 12, 12, 24]
    # Without history, nothing but the prefix is found; with a part of it, too, since nothing is where it was.
    result = play(world(main, [kind(**settings | {"keep_history": False}, prefix_tokens=9)]), rows((0.0, 6, 7, 0, 3)))
    assert cached(result) == [0, 8, 8]
    talker = kind(**settings, prefix_tokens=4, max_context_tokens=4 + 30)
    result = play(world(main, [talker]), rows((0.0, 6, 7, 0, 4)))
    assert [record["prompt_tokens"] for record in result.records] == [10, 23, 27, 27]
    assert cached(result) == [0, 16, 4, 4]


def test_after_a_turn_without_an_answer_new_text_begins_right_behind_the_history():
    # 15 tokens of history: the block that holds the last of them is not that of the turn that was given up.
    settings = {"keep_history": True, "user_tokens": constant(6), "output_tokens": constant(9), "gap_s": constant(20)}
    main = pool(enable_prefix_caching=True)
    result = play(world(main, [kind(**settings)]), rows((0.0, 6, 9, 0, 3)), [(20.5, "abort", 1)])
    assert cached(result) == [0, 12, 12]


def test_history_cut_in_a_turn_that_failed_stays_the_text_of_that_turn():
    # Seed 1 draws 30 tokens for the second turn, which is cut, and refused for its length, and 6 for the third.
    lengths = np.repeat([6.0, 30.0], [513, 512])
    talker = kind(
        keep_history=True, user_tokens=lengths, output_tokens=constant(7), gap_s=constant(20), max_context_tokens=45
    )
    result = play(world(pool(enable_prefix_caching=True, max_model_len=44), [talker]), rows((0.0, 6, 7, 0, 3)))
    assert [record["prompt_tokens"] for record in result.records] == [6, 38, 19]
    assert [record["ending"] for record in result.records] == [COMPLETED, REFUSED, COMPLETED]
    assert cached(result) == [0, 0, 0]


def test_classifiers_find_what_they_read_before():
    def guarded(prompt):
        path = (Visit(0, kind="classify", prompt=prompt, template_tokens=5), Visit(1))
        talker = kind(
            keep_history=True, user_tokens=constant(8), output_tokens=constant(8), gap_s=constant(20), prefix_tokens=3
        )
        pools = pool(enable_prefix_caching=True), pool(name="main")
        return play(world(pools, [talker], paths={"main": path}), rows((0.0, 8, 8, 0, 2)))

    # Template, prefix and user make 16 tokens in the first turn, 32 in the second; of these the first 16 are known.
    steps = [step for step in guarded("full").steps if step.replica == 0]
    assert [[(e.num_tokens, e.before) for e in step.entries] for step in steps] == [[(16, 0)], [(16, 16)]]
    # Of the user's words alone, nothing but the template's one full block.
    steps = [step for step in guarded("user").steps if step.replica == 0]
    assert [[(e.num_tokens, e.before) for e in step.entries] for step in steps] == [[(13, 0)], [(9, 4)]]


def test_recorded_prompts_share_what_they_have_in_common_and_may_continue_an_answer():
    main = pool(enable_prefix_caching=True)
    arrivals = rows((0.0, 10, 7), (20.0, 14, 1), (30.0, 22, 1))
    answer = draws.bits(1, draws.CONTENT, 0, 0, 0)
    segments = [[(1, 6), (2, 4)], [(1, 6), (3, 8)], [(1, 6), (2, 4), (answer, 7), (4, 5)]]
    arrivals["num_segments"] = [len(prompt) for prompt in segments]
    flat = np.array([(key, tokens, 0) for prompt in segments for key, tokens in prompt], SEGMENT)
    result = play(world(main, [kind(prefix_tokens=2)]), arrivals, segments=flat)
    # Behind a prefix of two tokens: 8 are common to all; the third finds 12 + 6 computed tokens of the first.
    assert cached(result) == [0, 8, 16]


def test_a_closed_loop_sends_again_after_its_pause():
    talker = kind(min_think_s=0.5, output_tokens=constant(2), user_tokens=constant(7))
    result = play(world(pool(), [talker]), rows((0.0, 4, 1, 0, 3), (0.0, 4, 4, 0, 1)))
    assert [(record["arrived_s"], record["end_s"]) for record in result.records] == [
        (0, 1),
        (0, 4),
        (1.5, 4),
        (4.5, 6.5),
    ]


def test_limits_refuse_before_anything_runs():
    world_ = world(pool(num_gpu_blocks=5, max_model_len=20), buckets=(Bucket(0.25, 2.0),))
    arrivals = rows(
        (0.0, 4, 2, 0, 1, 0), (0.0, 14, 4, 0, 1, 0), (0.0, 4, 1, 0, 1, 0), (3.5, 4, 1, 0, 1, 0), (4, 4, 1, 0, 1, 0)
    )
    result = play(world_, arrivals)
    expected = [(COMPLETED, 2.0), (REFUSED, 0.0), (RATE_LIMITED, 0.0), (RATE_LIMITED, 3.5), (COMPLETED, 5.0)]
    assert ends(result) == expected
    assert ends(play(world(pool(num_gpu_blocks=5)), rows((0.0, 13, 4), (0.0, 13, 5)))) == [
        (COMPLETED, 4.0),
        (REFUSED, 0.0),
    ]
    assert ends(play(world(pool(max_model_len=20)), rows((0.0, 18, 2), (0.0, 18, 3)))) == [
        (COMPLETED, 2.0),
        (REFUSED, 0.0),
    ]


@pytest.mark.parametrize(
    ("router", "replicas"), [("round_robin", [0, 1, 2, 0, 1]), ("least_outstanding", [0, 1, 2, 0, 0])]
)
def test_routers(router, replicas):
    arrivals = rows((0.0, 4, 2), (0.0, 4, 9), (0.0, 4, 9), (0.25, 4, 1), (9.0, 4, 1))
    result = play(world(pool(num_replicas=3), router=router), arrivals)
    assert [record["replica"] for record in result.records] == replicas


def test_replicas_drain_go_off_and_come_back_empty():
    main = pool(num_replicas=2, max_replicas=3, enable_prefix_caching=True)
    world_ = world(main, [kind(prefix_tokens=8)], router="round_robin")
    orders = [(1.5, "drain", 0, 1), (2.5, "add", 0, 2), (6.0, "add", 0, 1)]
    arrivals = rows(*((t_s, 2, 4) for t_s in (0.0, 0.0, 2.0, 3.0, 3.0, 10.0, 10.0, 10.0)))
    result = play(world_, arrivals, orders)
    # Replica 1 drains until t = 4; at 2.5 only replica 2 is off, so one of the two asked for comes.
    assert [record["replica"] for record in result.records] == [0, 1, 0, 2, 0, 2, 0, 1]
    assert [record["cached_tokens"] for record in result.records] == [0, 0, 8, 0, 8, 8, 8, 0]
    assert result.replicas[1].blocks.num_cached == 3  # 13 tokens: the prefix, and text of the request's own
    with pytest.raises(ValueError, match="drain 2 of 2"):
        play(world_, arrivals, [(1.5, "drain", 0, 2)])


def test_nobody_to_serve_and_nobody_left_to_wait():
    result = play(
        world(pool(num_replicas=0, max_replicas=1)), rows((0.0, 4, 9), (2.0, 4, 9)), [(1.0, "add", 0, 1)], until=5.0
    )
    assert [record["ending"] for record in result.records] == [SHED, IN_FLIGHT]
    # The step that ends at 5 is not played: its token and its time do not count, its blocks are taken.
    assert (result.records[1]["output_tokens"], result.replicas[0].busy_s, result.replicas[0].num_steps) == (2, 2.0, 2)
    assert math.isnan(result.records[1]["end_s"])
