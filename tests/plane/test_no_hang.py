"""Where a scheduler might never come to an end: it does, as the readable model does, or says what is stuck."""

import math

import pytest
from compare import compare
from drive import run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.errors import CapacityError
from sim.metrics.records import COMPLETED, REFUSED
from sim.plane.world import CACHES, POLICIES, Visit

CLOCK = pytest.mark.parametrize("clock", ["compiled", "simpy"])
ASYNC = pytest.mark.parametrize("asynchronous", [False, True], ids=["synchronous", "asynchronous"])
CACHE = pytest.mark.parametrize("cache", ["off", *CACHES])


def caching(cache):
    """Settings of a pool without a prefix cache, or with one of that kind."""
    return {"enable_prefix_caching": cache != "off", "cache": "extents" if cache == "off" else cache}


def endings(scene, **how):
    """How the requests ended, in order; the plane must agree with the readable model."""
    slow = play(scene.world, scene.rows, scene.commands, scene.until)
    assert slow.complete
    assert compare(run_plane(scene, **how), slow, time_tol=1e-12) == []
    return [record["ending"] for record in slow.records]


@CLOCK
@pytest.mark.parametrize("leap", [True, False])
@ASYNC
def test_two_that_preempt_each_other_for_ever_are_reported(clock, leap, asynchronous):
    # Equal priority and arrival, prompts in small chunks, no check of the whole prompt: whoever is further on is thrown
    # out, over and over (section 13.12 of the scheduler's specification).
    tight = pool(
        name="tight", num_replicas=2, num_gpu_blocks=7, block_size=2, scheduling_policy="priority",
        scheduler_reserve_full_isl=False, long_prefill_token_threshold=2, async_scheduling=asynchronous,
    )  # fmt: skip
    scene_world = world((pool(name="ample"), tight), paths={"main": (Visit(1),)}, router="round_robin")
    scene = Scene(scene_world, rows((0.0, 3, 1), (0.0, 10, 2), (0.0, 3, 1), (0.0, 10, 2)))
    assert not play(scene.world, scene.rows, max_steps=5_000).complete
    with pytest.raises(CapacityError, match=r"replica 1 of pool 'tight' is stuck .*nothing comes of it"):
        run_plane(scene, clock=clock, leap=leap)


@CACHE
@ASYNC
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("reserve_full", [True, False])
def test_a_storm_of_preemptions_passes(cache, asynchronous, policy, reserve_full):
    # Each needs nearly all blocks in the end; arrivals differ, so that one of them always gets on.
    main = pool(
        num_gpu_blocks=12, block_size=2, async_scheduling=asynchronous, scheduling_policy=policy,
        scheduler_reserve_full_isl=reserve_full, **caching(cache),
    )  # fmt: skip
    scene = Scene(world(main), rows(*((0.125 * n, 3, 18) for n in range(16))))
    assert endings(scene) == [COMPLETED] * 16
    assert run_plane(scene).records["num_preemptions"].sum() > 16


@CACHE
@ASYNC
@pytest.mark.parametrize("prompt_tokens", [1, 3, 4, 5, 40])
def test_answers_of_one_token(cache, asynchronous, prompt_tokens):
    main = pool(num_gpu_blocks=21, max_num_batched_tokens=16, async_scheduling=asynchronous, **caching(cache))
    scene = Scene(world(main, [kind(prefix_tokens=4)]), rows(*((0.25 * n, prompt_tokens, 1) for n in range(9))))
    assert endings(scene) == [COMPLETED] * 9


@ASYNC
@pytest.mark.parametrize("watermark", [0.0, 0.5])
def test_what_never_fits_is_refused_and_what_just_fits_is_served(asynchronous, watermark):
    by_length = pool(max_model_len=30, async_scheduling=asynchronous, watermark=watermark)
    scene = Scene(world(by_length), rows((0.0, 31, 1), (0.0, 20, 10), (0.0, 20, 11), (0.0, 29, 1), (0.0, 1000, 1)))
    assert endings(scene) == [REFUSED, COMPLETED, REFUSED, COMPLETED, REFUSED]
    # The last token of an answer is never computed: it needs no block.
    by_blocks = pool(num_gpu_blocks=6, async_scheduling=asynchronous, watermark=watermark)
    scene = Scene(world(by_blocks), rows((0.0, 20, 1), (0.0, 11, 10), (0.0, 11, 11), (0.0, 21, 1), (0.0, 1000, 1)))
    assert endings(scene) == [COMPLETED, COMPLETED, REFUSED, REFUSED, REFUSED]


@CACHE
@ASYNC
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("block_size", [1, 2, 8])
def test_a_pool_of_one_block(cache, asynchronous, policy, block_size):
    main = pool(
        num_gpu_blocks=2, block_size=block_size, async_scheduling=asynchronous, scheduling_policy=policy,
        **caching(cache),
    )  # fmt: skip
    given = [(0.5 * n, 1 + n % block_size, 1 + n % 3) for n in range(12)]
    scene = Scene(world(main), rows(*given))
    fits = [prompt + output - 1 <= block_size for _, prompt, output in given]
    assert endings(scene) == [COMPLETED if fit else REFUSED for fit in fits]


@CLOCK
@pytest.mark.parametrize("cache", CACHES)
def test_long_decodes_that_all_want_a_block_at_once(clock, cache):
    main = pool(num_gpu_blocks=41, block_size=4, max_num_seqs=20, enable_prefix_caching=True, cache=cache)
    scene = Scene(world(main), rows(*((0.0, 4, 100) for _ in range(20))), until=math.inf)
    assert endings(scene, clock=clock) == [COMPLETED] * 20


@CLOCK
@pytest.mark.parametrize("leap", [True, False])
@CACHE
@pytest.mark.parametrize(("truncates", "ended"), [(True, COMPLETED), (False, REFUSED)])
def test_a_conversation_that_outgrows_its_context_goes_on_to_its_last_turn(clock, leap, cache, truncates, ended):
    # 7 tokens at first and 9 more a turn: 25 at the third turn, 34 at the fourth, where the limit is 30.
    talker = kind(
        keep_history=True, user_tokens=constant(5), output_tokens=constant(4), max_context_tokens=30,
        truncates=truncates,
    )  # fmt: skip
    scene = Scene(world(pool(**caching(cache)), [talker]), rows(*((0.0, 3, 4, 0, 9) for _ in range(5))))
    found = endings(scene, clock=clock, leap=leap)
    assert sorted(found) == sorted([COMPLETED] * 15 + [ended] * 30)
