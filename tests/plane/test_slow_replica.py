"""The readable model's scheduler and block pool, rule by rule, against cases worked by hand; steps take one second.

The numbers in brackets are sections of the scheduler's specification.
"""

import numpy as np
from slow_content import Content
from slow_model import play
from slow_replica import BlockPool
from small import kind, pool, rows, world

from sim.traffic.arrivals import SEGMENT


def schedules(result):
    """(start, [(serial, tokens, before)]) of each step."""
    return [(step.start_s, [(e.seq.serial, e.num_tokens, e.before) for e in step.entries]) for step in result.steps]


def starts(result):
    return [record["scheduled_s"] for record in result.records]


def recorded(*requests):
    """Rows and segments of (t_s, [(key, tokens), ...], output_tokens)."""
    arrivals = rows(*((t_s, sum(tokens for _, tokens in prompt), output) for t_s, prompt, output in requests))
    arrivals["num_segments"] = [len(prompt) for _, prompt, _ in requests]
    return arrivals, np.array([(*segment, 0) for _, prompt, _ in requests for segment in prompt], SEGMENT)


def play_recorded(main, *requests):
    arrivals, segments = recorded(*requests)
    return play(world(main), arrivals, segments=segments)


# Blocks


def chain(blocks, *texts):
    """Hashes of a chain of blocks."""
    found = [None]
    for text in texts:
        found.append(blocks.hash_of(found[-1], ((text, 0),)))
    return found[1:]


def test_released_blocks_go_tail_first_unhashed_to_the_front_and_cached_to_the_back():  # 4.7
    blocks = BlockPool(pool(num_gpu_blocks=8))
    one, two, three, four, five, six, seven = blocks.free
    table = [blocks.take() for _ in range(5)]
    assert table == [one, two, three, four, five]
    for block, hash_ in zip(table, chain(blocks, 1, 2, 3), strict=False):
        blocks.publish(block, hash_)
    blocks.touch([one])
    blocks.release(table)
    assert list(blocks.free) == [five, four, six, seven, three, two]
    blocks.release([one])
    assert list(blocks.free) == [five, four, six, seven, three, two, one]
    assert blocks.num_cached == 3


def test_a_taken_block_leaves_its_successors_unreachable_until_the_hole_is_filled():  # 4.3
    blocks = BlockPool(pool(num_gpu_blocks=4))
    hashes = chain(blocks, 1, 2)
    table = [blocks.take(), blocks.take()]
    for block, hash_ in zip(table, hashes, strict=True):
        blocks.publish(block, hash_)
    blocks.release(table[:1])
    blocks.release(table[1:])  # not as a request does it: the head is now the older one
    assert blocks.lookup(hashes) == table
    blocks.take()
    assert blocks.take() is table[0]
    assert blocks.lookup(hashes) == []
    blocks.publish(table[0], hashes[0])
    assert blocks.lookup(hashes) == table


def test_of_equal_blocks_the_first_published_is_found():  # 4.5, 4.6
    blocks = BlockPool(pool(num_gpu_blocks=4))
    (hash_,) = chain(blocks, 1)
    first, second = blocks.take(), blocks.take()
    blocks.publish(first, hash_)
    blocks.publish(second, hash_)
    assert (blocks.lookup([hash_]), blocks.num_cached) == ([first], 1)
    blocks.release([first])
    blocks.touch([first])
    assert blocks.lookup([hash_]) == [first]
    blocks.release([first])
    blocks.take()
    assert blocks.take() is first
    assert (blocks.lookup([hash_]), blocks.num_cached) == ([second], 1)


def test_tokens_are_equal_where_stretch_and_place_in_it_are():
    content = Content(((7, 3), (8, 3), (9, 5)), 1, 0)
    assert content.tokens(1, 8) == ((7, 1), (7, 2), (9, 0), (9, 1), (1, 0), (1, 1), (1, 2))
    assert content.tokens(6, 7) == ((1, 1),)
    assert content.tokens(0, 4) == ((7, 0), (7, 1), (7, 2), (9, 0))


def test_a_block_is_hashed_with_all_before_it():  # 4.2
    # The same stretch behind another one, or shifted, is other text.
    main = pool(enable_prefix_caching=True)
    prompts = [(7, 4), (8, 8)], [(6, 4), (8, 8)], [(7, 3), (8, 9)], [(7, 4), (8, 5), (9, 3)]
    result = play_recorded(main, *((10.0 * n, prompt, 1) for n, prompt in enumerate(prompts)))
    assert [record["cached_tokens"] for record in result.records] == [0, 0, 0, 8]


def test_a_prompt_that_is_cached_whole_computes_its_last_block_again():  # 4.6
    main = pool(enable_prefix_caching=True)
    result = play_recorded(main, (0.0, [(7, 8)], 1), (0.0, [(7, 8)], 1), (10.0, [(7, 9)], 1))
    assert schedules(result) == [(0.0, [(0, 8, 0), (1, 4, 4)]), (10.0, [(2, 1, 8)])]
    assert result.replicas[0].blocks.num_cached == 2  # three blocks, two of them equal


def test_output_is_cached_but_for_the_token_that_nobody_computes():  # 7
    # Prompt and output of the first are one stretch in the second: 8 computed tokens of 9.
    main, talker = pool(enable_prefix_caching=True), kind(keep_history=True)
    result = play(world(main, [talker]), rows((0.0, 5, 4, 0, 2)))
    assert [record["cached_tokens"] for record in result.records] == [0, 8]
    result = play(world(main, [talker]), rows((0.0, 5, 3, 0, 2)))
    assert [record["cached_tokens"] for record in result.records] == [0, 4]


def test_eviction_takes_the_block_released_longest_ago():
    # Two prompts of two blocks each, the first used again: so the second's tail goes first.
    main = pool(num_gpu_blocks=7, enable_prefix_caching=True)
    red, blue = [(1, 9)], [(2, 9)]
    prompts = (0.0, red, 1), (5.0, blue, 1), (10.0, red, 1)
    # Two of six blocks are not cached; who wants four takes both of blue, who wants three takes its tail.
    result = play_recorded(main, *prompts, (20.0, [(3, 13)], 1), (30.0, red, 1), (40.0, blue, 1))
    assert [record["cached_tokens"] for record in result.records] == [0, 0, 8, 0, 8, 0]
    result = play_recorded(main, *prompts, (20.0, [(3, 12)], 1), (30.0, blue, 1))
    assert [record["cached_tokens"] for record in result.records] == [0, 0, 8, 0, 4]


# Admission


def test_a_hit_that_nobody_uses_costs_a_free_block():  # 5
    # Four blocks: two cached and free, two in use. The third request wants the two and one more.
    main = pool(num_gpu_blocks=5, enable_prefix_caching=True)
    result = play_recorded(main, (0.0, [(1, 8)], 1), (5.0, [(2, 5)], 3), (5.5, [(1, 8), (3, 1)], 1))
    assert schedules(result)[1:] == [(5, [(1, 5, 0)]), (6, [(1, 1, 5)]), (7, [(1, 1, 6)]), (8, [(2, 1, 8)])]
    # What a running request holds is free of charge.
    result = play_recorded(main, (0.0, [(1, 8)], 4), (0.5, [(1, 8), (3, 1)], 1))
    assert schedules(result)[1] == (1.0, [(0, 1, 8), (1, 1, 8)])


def test_the_watermark_is_rounded_down_and_counts_only_beside_others():  # 5
    # Five blocks, six with the null block; two in use; the second request wants two.
    arrivals = rows((0.0, 8, 3), (0.5, 8, 1))
    for watermark, start_s in ((0.16, 1.0), (0.17, 3.0)):  # 0.96 and 1.02 blocks
        assert starts(play(world(pool(num_gpu_blocks=6, watermark=watermark)), arrivals)) == [0.0, start_s]
    assert starts(play(world(pool(num_gpu_blocks=6, watermark=0.9)), rows((0.0, 20, 1)))) == [0.0]
    # Those admitted in the same pass count.
    assert starts(play(world(pool(num_gpu_blocks=6, watermark=0.34)), rows((0.0, 8, 1), (0.0, 8, 1)))) == [0.0, 1.0]


def test_the_gate_counts_the_prompt_and_not_the_output():  # 5
    main = pool(num_gpu_blocks=5, max_num_batched_tokens=8)
    assert starts(play(world(main), rows((0.0, 7, 2), (0.0, 8, 8)))) == [0.0, 0.0]
    assert starts(play(world(main), rows((0.0, 5, 2), (0.0, 9, 1)))) == [0.0, 2.0]


def test_nobody_overtakes_the_head_of_the_queue():  # 3
    main = pool(num_gpu_blocks=5)
    assert starts(play(world(main), rows((0.0, 8, 3), (0.5, 9, 1), (0.5, 1, 1)))) == [0.0, 3.0, 3.0]


def test_more_sequences_may_be_active_or_fewer():  # 9
    arrivals = rows(*[(0.0, 4, 2)] * 3)
    assert starts(play(world(pool(max_num_seqs=2)), arrivals)) == [0, 0, 2]
    assert starts(play(world(pool(max_num_seqs=3, max_num_active_seqs=1)), arrivals)) == [0, 2, 4]


# Thresholds and intervals


def test_a_threshold_cuts_chunks_unless_one_request_is_alone():  # 9
    main = pool(long_prefill_token_threshold=4)
    assert schedules(play(world(main), rows((0.0, 10, 1)))) == [(0, [(0, 10, 0)])]
    result = play(world(main), rows((0.0, 10, 1), (0.0, 9, 2)))
    assert [entries for _, entries in schedules(result)] == [
        [(0, 4, 0), (1, 4, 0)], [(0, 4, 4), (1, 4, 4)], [(0, 2, 8), (1, 1, 8)], [(1, 1, 9)],
    ]  # fmt: skip
    # Alone in the first step and in the last, not between.
    small = pool(long_prefill_token_threshold=4, max_num_batched_tokens=8)
    result = play(world(small), rows((0.0, 26, 1), (0.5, 3, 1)))
    assert [entries for _, entries in schedules(result)] == [
        [(0, 8, 0)], [(0, 4, 8), (1, 3, 0)], [(0, 8, 12)], [(0, 6, 20)],
    ]  # fmt: skip


def test_an_adaptive_threshold_grows_as_requests_get_fewer():  # 9
    # A budget of 12 over three requests, over two, over four (then the threshold itself).
    main = pool(
        long_prefill_token_threshold=4, long_prefill_token_threshold_adaptive=True, max_num_batched_tokens=15,
        max_num_seqs=3,
    )  # fmt: skip
    arrivals = (0.0, 20, 1), (0.0, 5, 1), (0.0, 8, 1)
    assert [entries for _, entries in schedules(play(world(main), rows(*arrivals)))] == [
        [(0, 5, 0), (1, 5, 0), (2, 5, 0)], [(0, 7, 5), (2, 3, 5)], [(0, 8, 12)],
    ]  # fmt: skip
    # One that cannot be admitted counts too: 15 // 4 = 3 is less than the threshold.
    result = play(world(main), rows(*arrivals, (0.0, 1, 1)))
    assert schedules(result)[0] == (0.0, [(0, 4, 0), (1, 4, 0), (2, 4, 0)])


def test_without_chunks_a_threshold_still_cuts():  # 9
    main = pool(enable_chunked_prefill=False, long_prefill_token_threshold=4, max_num_batched_tokens=10)
    result = play(world(main), rows((0.0, 9, 1), (0.0, 9, 1), (0.0, 9, 1)))
    # Two chunks of four; the third head's four tokens do not fit the two that are left.
    assert schedules(result)[0] == (0.0, [(0, 4, 0), (1, 4, 0)])


def test_prefill_comes_only_every_so_many_steps():  # 9
    main = pool(prefill_schedule_interval=3)
    assert starts(play(world(main), rows((0.0, 4, 9), (0.5, 4, 1), (3.5, 4, 1)))) == [0.0, 3.0, 6.0]
    assert starts(play(world(main), rows((0.0, 4, 1), (0.5, 4, 1)))) == [0.0, 1.0]  # nobody decodes: no need to wait
    assert starts(play(world(main), rows((0.0, 1, 9), (0.5, 4, 1)))) == [0.0, 1.0]  # one token is no prefill


def test_a_prompt_in_progress_waits_for_its_turn_too():  # 9
    main = pool(prefill_schedule_interval=3, max_num_batched_tokens=10)
    result = play(world(main), rows((0.0, 4, 9), (0.5, 8, 9), (0.5, 8, 9), (6.5, 4, 1)))
    assert [entries for _, entries in schedules(result)[2:7]] == [
        [(0, 1, 5)], [(0, 1, 6), (1, 8, 0), (2, 1, 0)], [(0, 1, 7), (1, 1, 8)], [(0, 1, 8), (1, 1, 9)],
        [(0, 1, 9), (1, 1, 10), (2, 7, 1)],
    ]  # fmt: skip
    assert starts(result) == [0.0, 3.0, 3.0, 9.0]


def test_a_queue_that_stays_lifts_the_wait():  # 9
    # At t = 3 the budget ends before the third request is admitted: so t = 4 takes prefill too, but not t = 5.
    main = pool(prefill_schedule_interval=3, max_num_batched_tokens=9)
    result = play(world(main), rows((0.0, 4, 9), (0.5, 8, 9), (0.5, 8, 9)))
    assert [entries for _, entries in schedules(result)[3:8]] == [
        [(0, 1, 6), (1, 8, 0)], [(0, 1, 7), (1, 1, 8), (2, 7, 0)], [(0, 1, 8), (1, 1, 9)], [(0, 1, 9), (1, 1, 10)],
        [(0, 1, 10), (1, 1, 11), (2, 1, 7)],
    ]  # fmt: skip


def test_one_that_lacks_only_its_last_token_need_not_wait():  # 9
    main = pool(prefill_schedule_interval=3, enable_prefix_caching=True)
    result = play_recorded(main, (0.0, [(1, 9)], 9), (0.5, [(1, 9)], 1), (0.5, [(1, 10)], 1))
    assert starts(result) == [0.0, 1.0, 3.0]


# Preemption


def test_a_resumed_request_finds_its_own_blocks():  # 6
    # Six blocks of two tokens, as below; what the first request took of the second's in the meantime is lost: its
    # third block at t = 3, its second at t = 5.
    main = pool(num_gpu_blocks=7, block_size=2, enable_prefix_caching=True)
    result = play(world(main), rows((0.0, 4, 6), (0.0, 4, 6)))
    assert [step.preempted for step in result.steps[:5]] == [[], [], [], [1], []]
    assert schedules(result)[5:8] == [(5, [(0, 1, 8)]), (6, [(1, 5, 2)]), (7, [(1, 1, 7)])]
    assert result.records[1]["cached_tokens"] == 0


def test_nobody_is_admitted_beside_a_preemption():  # 3
    # At t = 3 the second request loses three blocks, of which the first takes one: the third could have two.
    main = pool(num_gpu_blocks=7, block_size=2)
    arrivals = rows((0.0, 4, 4), (0.0, 4, 4), (2.5, 2, 1))
    result = play(world(main), arrivals)
    assert starts(result) == [0.0, 0.0, 4.0]
    assert schedules(result)[4] == (4.0, [(1, 7, 0), (2, 2, 0)])  # who was thrown out comes before who waits


def test_a_priority_victim_may_have_its_place_in_the_step_already():  # 8
    # Three times two blocks of two at t = 0; at t = 1 the second wants a third. Of equal ones, the first must go.
    main = pool(num_gpu_blocks=7, block_size=2, scheduling_policy="priority")
    result = play(world(main), rows((0.0, 3, 2), (0.0, 4, 2), (0.0, 3, 2)))
    assert result.steps[1].preempted == [0]
    assert schedules(result)[1] == (1.0, [(1, 1, 4), (2, 1, 3)])


def test_a_priority_victim_that_is_the_request_itself_does_not_end_the_pass():  # 8
    # At t = 2 all six blocks are in use and the second in the batch, the least important, wants one more.
    classes = [kind(priority=0), kind(priority=9)]
    main = pool(num_gpu_blocks=7, block_size=2, scheduling_policy="priority")
    result = play(world(main, classes), rows((0.0, 2, 3, 0), (0.0, 3, 4, 1), (0.5, 3, 3, 0)))
    assert result.steps[2].preempted == [1]
    assert schedules(result)[2] == (2.0, [(0, 1, 3), (2, 1, 3)])


def test_a_victim_may_stand_before_the_request_without_a_place_in_the_step():  # 8, 9
    # Ten blocks, all in use at t = 1. At t = 2 the first, mid-prefill, is on hold when the second wants a block; the
    # third and the fourth have their turns all the same.
    main = pool(
        num_gpu_blocks=11, block_size=2, scheduling_policy="priority", max_num_batched_tokens=9,
        long_prefill_token_threshold=4, prefill_schedule_interval=3,
    )  # fmt: skip
    arrivals = rows((0.0, 20, 1, 1), (0.5, 2, 4, 0), (0.5, 2, 4, 0), (0.5, 1, 4, 0))
    result = play(world(main, [kind(priority=0), kind(priority=9)]), arrivals)
    assert [entries for _, entries in schedules(result)[:3]] == [
        [(0, 9, 0)], [(0, 4, 9), (1, 2, 0), (2, 2, 0), (3, 1, 0)], [(1, 1, 2), (2, 1, 2), (3, 1, 1)],
    ]  # fmt: skip
    assert [step.preempted for step in result.steps[:3]] == [[], [], [0]]


def test_a_schedule_that_only_threw_somebody_out_is_tried_again_at_once():  # 2
    # At t = 2 the first is on hold, mid-prefill, and the second, which decodes, has to go itself: nobody decodes now.
    main = pool(
        num_gpu_blocks=5, block_size=2, scheduling_policy="priority", long_prefill_token_threshold=4,
        prefill_schedule_interval=3,
    )  # fmt: skip
    result = play(world(main, [kind(priority=0), kind(priority=9)]), rows((0.0, 8, 1, 0), (0.0, 3, 4, 1)))
    assert schedules(result)[:4] == [
        (0, [(0, 4, 0), (1, 3, 0)]), (1, [(1, 1, 3)]), (2, [(0, 4, 4)]), (3, [(1, 5, 0)]),
    ]  # fmt: skip
    assert [step.preempted for step in result.steps[:4]] == [[], [], [1], []]


def test_two_requests_that_keep_preempting_each_other_end_at_the_limit():  # 13.12
    main = pool(
        num_gpu_blocks=7, scheduling_policy="priority", scheduler_reserve_full_isl=False,
        long_prefill_token_threshold=4,
    )  # fmt: skip
    result = play(world(main), rows((0.0, 24, 1), (0.0, 24, 1)), max_steps=500)
    assert not result.complete
    assert min(record["num_preemptions"] for record in result.records) > 20
