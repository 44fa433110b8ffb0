"""Rules that random worlds meet too seldom: worked by hand, and then the plane must agree with the readable model."""

import math

import pytest
from compare import compare
from drive import run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene


def refund():
    """The budget of a victim withdrawn from the step goes to those after it: here to a prompt's last three tokens."""
    main = pool(num_gpu_blocks=11, block_size=2, max_num_batched_tokens=4, max_num_seqs=4, scheduling_policy="priority")
    scene_world = world(main, [kind(priority=5), kind(priority=0)])
    return Scene(scene_world, rows((0.0, 3, 12, 0), (0.5, 3, 8, 1), (1.5, 9, 2, 1)))


def aborts():
    """Aborted in one step, released in the order of their aborts: so the second request's prefix is evicted first."""
    classes = [kind(prefix_tokens=8, prefix_group="red"), kind(prefix_tokens=8, prefix_group="blue"), kind()]
    scene_world = world(pool(num_gpu_blocks=9, enable_prefix_caching=True), classes)
    arrivals = rows((0.0, 1, 4, 0), (0.0, 1, 4, 1), (5.0, 19, 1, 2), (10.0, 1, 1, 0), (20.0, 1, 1, 1))
    return Scene(scene_world, arrivals, commands=((0.25, "abort", 1), (0.75, "abort", 0)))


def whole_prompts():
    """Without chunked prefill a prompt waits for a step with room for all of it, and so do those behind it."""
    main = pool(max_num_batched_tokens=16, enable_chunked_prefill=False)
    return Scene(world(main), rows((0.0, 9, 4), (0.0, 8, 2), (0.0, 2, 3), (0.5, 14, 3), (0.75, 1, 1)))


def horizon():
    """A turn that would come exactly at the horizon does not come; one before it does."""
    talker = kind(min_think_s=0.5, user_tokens=constant(4), output_tokens=constant(1))
    return Scene(world(pool(), [talker], horizon_s=3.0), rows((0.0, 4, 1, 0, 5)))


def until():
    """A step that ends exactly at `until` is not played, nor is the arrival there."""
    return Scene(world(pool()), rows((0.0, 4, 9), (0.25, 4, 2), (3.0, 4, 2)), until=3.0)


def at_once():
    """Turns without a pause: each comes at the instant of the end before it, after that step end's own schedule."""
    talker = kind(user_tokens=constant(4), output_tokens=constant(2))
    return Scene(world(pool(max_num_seqs=2), [talker]), rows(*((0.0, 4, 1 + n, 0, 3) for n in range(3))))


def one_after_another():
    """Three answers end at once; the turns after them are sent one by one, each an interval after the one before it."""
    talker = kind(user_tokens=constant(4), output_tokens=constant(2), reissue_interval_s=0.25)
    return Scene(world(pool(), [talker]), rows(*((0.0, 4, 2, 0, 2) for _ in range(3))))


def same_priority():
    """Of running requests of equal priority and arrival, the first in the batch is thrown out."""
    main = pool(num_gpu_blocks=7, block_size=2, scheduling_policy="priority")
    return Scene(world(main), rows((0.0, 3, 6), (0.0, 5, 5)))


def no_admission():
    """A step that preempts admits nobody, though the third request now has its place and its block."""
    main = pool(num_gpu_blocks=7, block_size=2, max_num_seqs=2, scheduling_policy="priority")
    scene_world = world(main, [kind(priority=5), kind(priority=0)])
    return Scene(scene_world, rows((0.0, 3, 8, 1), (0.0, 5, 6, 0), (0.5, 1, 1, 1)))


def whole_pool():
    """Blocks set aside by the watermark are there for a request that is alone."""
    return Scene(world(pool(num_gpu_blocks=11, watermark=0.2)), rows((0.0, 36, 5), (0.5, 8, 2)))


def adaptive():
    """The budget divided by all that are there, waiting ones too, is a chunk if it is above the threshold."""
    main = pool(max_num_batched_tokens=12, long_prefill_token_threshold=2, long_prefill_token_threshold_adaptive=True)
    return Scene(world(main), rows((0.0, 20, 2), (0.0, 20, 2), (0.5, 4, 1)))


def active_seqs():
    """max_num_active_seqs takes the place of max_num_seqs, be it more or less."""
    main = pool(max_num_seqs=2, max_num_active_seqs=3)
    return Scene(world(main), rows(*((0.0, 4, 3) for _ in range(4))))


def pauses():
    """After a step with prefill, two without: a long prompt waits in `running`; the short one is cached and need not.

    Its decodes then stand behind a chunk that takes the whole budget: it stalls, in its place.
    """
    main = pool(
        block_size=4, enable_prefix_caching=True, max_num_batched_tokens=4, max_num_seqs=4,
        prefill_schedule_interval=3,
    )  # fmt: skip
    arrivals = rows((0.0, 1, 9), (2.5, 9, 1), (5.5, 1, 3))
    return Scene(world(main, [kind(prefix_tokens=8)]), arrivals)


EXPECTED = {
    refund: {"num_preemptions": [1, 0, 0], "first_token_s": [1.0, 2.0, 6.0]},
    aborts: {"cached_tokens": [0, 0, 0, 8, 4], "end_s": [0.75, 0.25, 6.0, 11.0, 21.0]},
    whole_prompts: {"scheduled_s": [0.0, 1.0, 1.0, 3.0, 4.0], "end_s": [4.0, 3.0, 4.0, 6.0, 5.0]},
    horizon: {"arrived_s": [0.0, 1.5]},
    until: {"output_tokens": [2, 1], "end_s": [math.nan, math.nan]},
    at_once: {"arrived_s": [0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 4.0, 6.0, 7.0]},
    # The first turns end at 2; the fourth request begins a step of its own, the other two wait for its end at 3.25.
    one_after_another: {
        "arrived_s": [0.0, 0.0, 0.0, 2.25, 2.5, 2.75],
        "scheduled_s": [0.0, 0.0, 0.0, 2.25, 3.25, 3.25],
        "end_s": [2.0, 2.0, 2.0, 4.25, 5.25, 5.25],
    },
    same_priority: {"num_preemptions": [1, 0]},
    no_admission: {"scheduled_s": [0.0, 0.0, 3.0], "num_preemptions": [0, 1, 0]},
    whole_pool: {"scheduled_s": [0.0, 5.0]},
    adaptive: {"first_token_s": [4.0, 4.0, 2.0], "end_s": [5.0, 5.0, 2.0]},
    active_seqs: {"scheduled_s": [0.0, 0.0, 0.0, 3.0]},
    pauses: {"scheduled_s": [0.0, 5.0, 6.0], "first_token_s": [3.0, 12.0, 7.0], "end_s": [11.0, 12.0, 10.0]},
}


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: make.__name__)
def test_model_and_plane_do_what_was_worked_by_hand(make):
    scene = make()
    slow = play(scene.world, scene.rows, scene.commands, scene.until)
    for name, expected in EXPECTED[make].items():
        assert [record[name] for record in slow.records] == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
    assert compare(run_plane(scene), slow) == []
