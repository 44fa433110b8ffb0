"""Answers that are split over two pools, worked by hand: what a transfer takes, who waits for whom, that all ends."""

import math
from dataclasses import replace

import numpy as np
import pytest
from compare import bin_of, compare
from drive import identical, run_plane
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene

from sim.fleet.clocks import CLOCKS
from sim.metrics.records import COMPLETED, FAILED, REFUSED
from sim.plane import commands
from sim.plane.owner import Plane
from sim.plane.world import CACHES, POLICIES, HostTier, Pool, Transfer, Visit
from sim.traffic import Chunk
from sim.traffic.arrivals import SEGMENT

TOKEN_S = 0.125
"""Time of a token on the links here: 1 byte a token, 8 bytes a second."""


def split(prefill=None, decode=None, classes=(), guard=None, **transfer):
    """Two pools: prompts at 1/16 s a token, decode steps of half a second, but for other settings of each."""
    settings = {"bytes_per_s": 1.0 / TOKEN_S} | transfer
    first = pool(c0=0.0, c1=0.0625, **({"name": "prefill"} | (prefill or {})))
    second = replace(pool(c0=0.5, **({"name": "decode"} | (decode or {}))), kv_bytes_per_token=1.0)
    pools: list[Pool] = [first, second]
    path = [Visit(0, "prefill"), Visit(1, "decode", transfer=Transfer(**settings))]
    if guard is not None:
        pools, path = [*pools, guard], [Visit(2, "classify"), *path]
    return world(pools, classes, paths={"main": tuple(path)}, router="round_robin")


def both(scene, **how):
    """The records in order, after plane and readable model have agreed on them."""
    slow = play(scene.world, scene.rows, scene.commands, scene.until, segments=scene.segments)
    assert slow.complete
    plane = run_plane(scene, **how)
    assert compare(plane, slow, time_tol=1e-12) == []
    for other in ({"clock": "simpy"}, {"leap": False}):
        assert identical(plane, run_plane(scene, **other))
    return np.sort(plane.records, order="serial")


# ------------------------------------------------------------------ times


def test_a_lone_request_with_a_perfect_link_waits_for_nothing():
    given = split(bytes_per_s=math.inf, first_token_at_prefill=True)
    (record,) = both(Scene(given, rows((0.0, 16, 5))))
    assert record["first_token_s"] == 16 * 0.0625
    assert record["end_s"] == record["first_token_s"] + 4 * 0.5
    assert (record["scheduled_s"], record["transfer_s"], record["busy_s"], record["guard_s"]) == (0.0, 0.0, 2.0, 1.0)


def test_the_decode_side_computes_the_last_token_again():
    (record,) = both(Scene(split(latency_s=0.25), rows((0.0, 16, 5))))
    arrives_s = 16 * 0.0625 + 16 * TOKEN_S + 0.25
    assert record["transfer_s"] == 16 * TOKEN_S + 0.25
    assert record["first_token_s"] == arrives_s + 0.5
    assert record["end_s"] == arrives_s + 5 * 0.5
    assert (record["pool"], record["replica"], record["output_tokens"], record["cached_tokens"]) == (1, 1, 5, 0)


def test_the_last_token_of_a_fetched_prompt_is_timed_as_a_decode():
    given = split(bytes_per_s=math.inf)
    costly = replace(given.pools[1], step_times=pool(c0=0.5, c3=4.0).step_times)
    (record,) = both(Scene(replace(given, pools=(given.pools[0], costly)), rows((0.0, 16, 2))))
    assert record["first_token_s"] == 1.0 + 0.5


def test_a_link_of_several_paths_has_the_worst_of_both():
    given = split(latency_s=0.5)
    fast = Transfer(bytes_per_s=64.0, latency_s=0.25)
    paths = given.paths | {"other": (Visit(0, "prefill"), Visit(1, "decode", transfer=fast))}
    given = replace(given, paths=paths, classes=(kind(), kind(path="other")))
    records = both(Scene(given, rows((0.0, 16, 2, 0), (9.0, 16, 2, 1))))
    assert records["transfer_s"].tolist() == [2.0 + 0.5] * 2


def test_links_are_free_before_time_zero():
    given = replace(split(latency_s=0.25), start_s=-20.0)
    (record,) = both(Scene(given, rows((-20.0, 16, 2))))
    assert record["transfer_s"] == 2.0 + 0.25


def test_transfers_of_one_link_follow_each_other():
    # Both prompts are complete at 2 s; the latency of the first does not keep the second waiting.
    first, second = both(Scene(split(latency_s=0.25), rows((0.0, 16, 2), (0.0, 16, 2))))
    assert first["transfer_s"] == 2.0 + 0.25
    assert second["transfer_s"] == 4.0 + 0.25


@pytest.mark.parametrize(
    ("push", "prefill", "decode", "expected"),
    [
        (False, 2, 1, [2.0, 4.0]),  # into one decode replica, one after the other
        (True, 2, 1, [2.0, 2.0]),  # out of two prefill replicas, side by side
        (False, 1, 2, [2.0, 2.0]),
        (True, 1, 2, [2.0, 4.0]),
    ],
)
def test_where_transfers_queue(push, prefill, decode, expected):
    many = {"max_num_seqs": 8, "num_replicas": prefill}
    given = split(many, {"num_replicas": decode, "max_num_seqs": 8}, push=push)
    # A step of 1/1024 s, so that nobody waits for one that has begun.
    quick = replace(given.pools[1], step_times=pool(c0=2.0**-10).step_times)
    records = both(Scene(replace(given, pools=(given.pools[0], quick)), rows((0.0, 16, 2), (0.0, 16, 2))))
    assert records["transfer_s"] == pytest.approx(expected, abs=2.0**-9)


@pytest.mark.parametrize(
    ("num_layers", "token_s", "expected"),
    [
        (0, 0.125, 2.0),  # all of it
        (8, 0.125, 1.0),  # the last chunk took a second, in which half of it was sent
        (8, 0.0625, 0.125),  # all but the last layer was sent
        (1, 0.0625, 1.0),  # a single layer cannot be sent before it is there
    ],
)
def test_what_remains_when_layers_are_sent_as_they_come(num_layers, token_s, expected):
    given = split(num_layers=num_layers, bytes_per_s=1.0 / token_s)
    (record,) = both(Scene(given, rows((0.0, 16, 2))))
    assert record["transfer_s"] == expected


def test_what_the_decode_side_has_is_not_sent_again():
    caching = {"enable_prefix_caching": True}
    talker = kind(keep_history=True, user_tokens=constant(4), output_tokens=constant(5), min_think_s=1.0)
    given = split(caching, caching, [talker])
    plane = Plane(given)
    records = both(Scene(given, rows((0.0, 16, 5, 0, 2))))
    assert records["prompt_tokens"].tolist() == [16, 25]
    assert records["cached_tokens"].tolist() == [0, 16]  # of the first pool, which never saw the answer
    assert records["transfer_s"].tolist() == [2.0, 5 * TOKEN_S]  # five whole blocks are there: 16 + 4 tokens
    assert plane["links"]["num_bytes"].sum() == 0


def test_a_row_of_the_request_table_forgets_that_layers_were_sent():
    # The row of a split answer goes to requests of a pool that loads from host memory.
    caching = pool(name="host", num_gpu_blocks=6, enable_prefix_caching=True)
    slow = HostTier(num_blocks=100, bytes_per_s=16.0)
    host = replace(caching, kv_offload=slow, kv_bytes_per_token=1.0, step_times=pool(c0=64.0).step_times)
    given = split(num_layers=8)
    given = replace(
        given, pools=(*given.pools, host), paths=given.paths | {"other": (Visit(2),)}, has_segments=True,
        classes=(kind(), kind(path="other")),
    )  # fmt: skip
    arrivals = rows((0.0, 16, 2, 0), (100.0, 16, 1, 1), (200.0, 19, 1, 1), (300.0, 16, 1, 1))
    arrivals["num_segments"] = [0, 1, 0, 1]
    records = both(Scene(given, arrivals, np.array([(7, 16, 0), (7, 16, 0)], SEGMENT)))
    assert records["scheduled_s"].tolist() == [0.0, 100.0, 200.0, 300.0 + 16 / 16.0]


def test_an_answer_of_one_token_from_the_prefill_side_needs_no_transfer():
    given = split(first_token_at_prefill=True)
    records = both(Scene(given, rows((0.0, 16, 1), (0.0, 16, 2))))
    assert records["pool"].tolist() == [0, 1]
    assert records["end_s"][0] == records["first_token_s"][0] == 2.0


def test_a_prompt_that_the_decode_side_has_whole_is_not_sent():
    given = replace(split({}, {"enable_prefix_caching": True}, first_token_at_prefill=True), has_segments=True)
    arrivals = rows((0.0, 16, 3), (20.0, 16, 3))
    arrivals["num_segments"] = 1
    segments = np.array([(7, 16, 0), (7, 16, 0)], SEGMENT)
    records = both(Scene(given, arrivals, segments))
    assert (records["end_s"] - records["first_token_s"]).tolist() == [2.0 + 2 * 0.5, 2 * 0.5]


def test_a_prompt_completed_while_preempted_is_computed_again():
    # The first takes the second's blocks in the step that is formed while the second's prompt is completed.
    prefill = {
        "num_gpu_blocks": 5, "async_scheduling": True, "long_prefill_token_threshold": 8, "max_num_batched_tokens": 16,
    }  # fmt: skip
    first, second = both(Scene(split(prefill), rows((0.0, 16, 2), (0.0, 8, 2))))
    assert second["num_preemptions"] == 1
    assert (second["transfer_s"], second["first_token_s"]) == (0.0, 16 * 0.0625 + 0.5)
    assert first["transfer_s"] == 16 * TOKEN_S


def test_what_was_let_go_is_not_fetched_after_a_preemption():
    # The third request has its prompt from the first, so that nothing is sent; the second pushes it and its prompt out.
    decode = {"enable_prefix_caching": True, "num_gpu_blocks": 10}
    given = replace(split({}, decode, first_token_at_prefill=True), has_segments=True)
    arrivals = rows((0.0, 16, 2), (20.0, 12, 20), (22.5, 16, 10))
    arrivals["num_segments"] = [1, 0, 1]
    segments = np.array([(7, 16, 0), (7, 16, 0)], SEGMENT)
    for push in (False, True):
        visits = given.paths["main"]
        path = (visits[0], replace(visits[1], transfer=replace(visits[1].transfer, push=push)))
        records = both(Scene(replace(given, paths={"main": path}), arrivals, segments))
        assert records["num_preemptions"].tolist() == [0, 0, 1]


def test_who_is_aborted_with_its_last_chunk_has_no_token():
    scene = Scene(split(), rows((0.0, 16, 5)), commands=((0.5, "abort", 0),))
    (record,) = both(scene)
    assert (record["ending"], record["output_tokens"], record["end_s"]) == (FAILED, 0, 0.5)


def test_the_gap_between_the_pools_is_one_gap():
    given = split(first_token_at_prefill=True)
    found = run_plane(Scene(given, rows((0.0, 16, 3))))
    assert {n: found.itl[0, n] for n in np.flatnonzero(found.itl[0])} == {
        bin_of(2.0 + 0.5): 1,
        bin_of(0.5): 1,
    }


def test_long_prompts_do_not_stop_the_answers_of_others():
    # A step of 4 prompts takes 16 s; colocated it stands between two tokens, apart it does not.
    arrivals = rows((0.0, 1, 60), *((6.0, 64, 2) for _ in range(4)))
    apart = run_plane(Scene(split(bytes_per_s=math.inf), arrivals))
    together = run_plane(Scene(world(pool(c0=0.5, c1=0.0625)), arrivals))
    decode_only = bin_of(0.5)
    assert np.flatnonzero(apart.itl[0]).tolist() == [decode_only]
    assert together.itl[0, bin_of(4.0) :].sum() > 0


# ------------------------------------------------------------------ everything ends


def storm(seed, **settings):
    """Many requests at two tiny pools: a prompt takes most of the first, an answer most of the second."""
    draw = np.random.default_rng(seed)
    given = [(0.25 * n, int(draw.integers(1, 20)), int(draw.integers(1, 25))) for n in range(40)]
    prefill = {"num_gpu_blocks": 7, "block_size": 4, "max_num_batched_tokens": 16} | settings
    decode = {"num_gpu_blocks": 12, "block_size": 4} | settings
    return prefill, decode, given


@pytest.mark.parametrize("cache", ["off", *CACHES])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("at_prefill", [False, True])
def test_tiny_pools_do_not_block_each_other(cache, policy, asynchronous, at_prefill):
    caching = {"enable_prefix_caching": cache != "off", "cache": "extents" if cache == "off" else cache}
    prefill, decode, given = storm(1, scheduling_policy=policy, async_scheduling=asynchronous, **caching)
    classes = [kind(priority=n, keep_history=True, prefix_tokens=3) for n in (1, 0)]
    arrivals = rows(*((t_s, prompt, output, n % 2, 1 + n % 3) for n, (t_s, prompt, output) in enumerate(given)))
    commands = tuple((0.75 * n + 3.0, "abort", 3 * n) for n in range(1, 20))
    given = split(prefill, decode, classes, first_token_at_prefill=at_prefill, latency_s=0.5)
    endings = both(Scene(given, arrivals, commands=commands))["ending"]
    assert set(endings) <= {COMPLETED, REFUSED, FAILED}
    assert np.count_nonzero(endings == COMPLETED) > 20


def test_what_the_decode_pool_can_never_hold_is_refused_on_arrival():
    given = split(decode={"num_gpu_blocks": 5})
    records = both(Scene(given, rows((0.0, 16, 2), (0.0, 12, 5), (0.0, 12, 6))))
    assert records["ending"].tolist() == [REFUSED, COMPLETED, REFUSED]
    assert math.isnan(records["scheduled_s"][0])


def playing(given, arrivals):
    """A plane in the middle of a play, and its clock."""
    plane = Plane(given)
    return plane, CLOCKS["compiled"](plane, iter([Chunk(arrivals)]), lambda _rows: None)


def free(plane):
    """Free blocks of each replica."""
    return (plane["replicas"]["free"] + plane["replicas"]["evictable"]).tolist()


def test_blocks_of_an_aborted_request_stay_until_its_transfer_has_ended():
    plane, clock = playing(split(), rows((0.0, 16, 5)))
    clock.run(1.5)
    assert free(plane) == [996, 996]
    clock.act(commands.abort_serial, 0)
    clock.run(2.5)
    assert free(plane) == [996, 996]
    clock.run(3.5)  # it ends at 3 s
    assert free(plane) == [1000, 1000]
    assert plane["pools"]["held_block_s"][0] == 4 * 2.0


def test_what_waits_for_room_is_let_go_at_once():
    # The second request finds no room in the decode pool, so its transfer was never posted.
    plane, clock = playing(split(decode={"num_gpu_blocks": 6}), rows((0.0, 16, 5), (0.0, 16, 5)))
    clock.run(2.5)
    assert free(plane) == [992, 1]
    clock.act(commands.abort_serial, 1)
    assert free(plane) == [996, 1]


def test_a_drained_prefill_replica_goes_when_its_last_prompt_was_fetched():
    plane, clock = playing(split({"num_replicas": 2}), rows((0.0, 16, 5), (0.0, 16, 5)))
    clock.run(1.25)
    clock.act(commands.drain_replicas, 0, 1)
    clock.run(4.5)
    assert plane["replicas"]["state"].tolist() == [1, 2, 1]  # its transfer is the second, and ends at 5 s
    clock.run(5.5)
    assert plane["replicas"]["state"].tolist() == [1, 0, 1]
    assert plane["replicas"]["online_s"][1] == 5.0
