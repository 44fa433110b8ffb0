"""The second tier of the prefix cache, and links: what must hold whatever the world, and arithmetic by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import slow_draws as draws
from compare import compare
from drive import identical, run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import play
from small import constant, kind, pool, rows, world
from worlds import Scene, play_scene, scenes

from sim.metrics.records import ABANDONED, COMPLETED, FAILED
from sim.plane.owner import Plane
from sim.plane.world import CACHES, HostTier
from sim.traffic.arrivals import SEGMENT

pytestmark = pytest.mark.filterwarnings("error")
SCENES = settings.default.max_examples
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
CLOCK = pytest.mark.parametrize("clock", ["compiled", "simpy"])


# The plane and the readable model


@settings(max_examples=5 * SCENES, **FREELY)
@given(scenes(exact=True, tiers=True))
def test_plane_is_the_readable_model_to_the_bit(scene):
    slow = play_scene(scene, exact=True)
    assert compare(run_plane(scene), slow) == []


@settings(max_examples=2 * SCENES, **FREELY)
@given(scenes(exact=False, tiers=True))
def test_plane_is_the_readable_model_in_general(scene):
    slow = play_scene(scene, exact=False)
    assert compare(run_plane(scene), slow, time_tol=1e-9) == []


@settings(max_examples=4 * SCENES, **FREELY)
@given(scenes(exact=True, tiers=True))
def test_clocks_leaping_and_caches_agree_to_the_bit(scene):
    play_scene(scene, exact=True)
    reference = run_plane(scene)
    assert identical(reference, run_plane(scene, clock="simpy"))
    assert identical(reference, run_plane(scene, leap=False))
    assert identical(reference, run_plane(scene, clock="simpy", leap=False))
    for cache in CACHES:
        pools = tuple(replace(given, cache=cache) for given in scene.world.pools)
        assert identical(reference, run_plane(replace(scene, world=replace(scene.world, pools=pools))))


def without_speed(world):
    """The same, with links that need an age for a token."""
    pools = [
        replace(given, kv_offload=replace(given.kv_offload, bytes_per_s=1e-9)) if given.kv_offload else given
        for given in world.pools
    ]
    return replace(world, pools=tuple(pools))


def without_tiers(world):
    return replace(world, pools=tuple(replace(given, kv_offload=None) for given in world.pools))


@settings(max_examples=SCENES, **FREELY)
@given(scenes(exact=True, tiers=True))
def test_links_without_speed_change_nothing(scene):
    play_scene(replace(scene, world=without_tiers(scene.world)), exact=True)
    slow = run_plane(replace(scene, world=without_speed(scene.world)))
    off = run_plane(replace(scene, world=without_tiers(scene.world)))
    assert slow.records.tobytes() == off.records.tobytes()
    assert slow.itl.tobytes() == off.itl.tobytes()
    assert not slow.links["num_bytes"].any()
    n = len(off.busy_s)
    assert slow.busy_s[:n].tobytes() == off.busy_s.tobytes()


@settings(max_examples=SCENES, **FREELY)
@given(scenes(exact=True, tiers=True))
def test_no_block_is_lost(scene):
    result = run_plane(replace(scene, until=math.inf))
    ended = np.isfinite(result.records["end_s"]).all()
    assert ended
    for r, tier_blocks in enumerate(capacities(scene.world)):
        assert result.free_blocks[r] == tier_blocks


def capacities(world):
    """Blocks of every replica, then of every store."""
    replicas = [given.num_gpu_blocks - 1 for given in world.pools for _ in range(given.max_replicas)]
    stores = [
        given.kv_offload.num_blocks
        for given in world.pools
        if given.kv_offload
        for _ in range(1 if given.kv_offload.is_shared else given.max_replicas)
    ]
    return replicas + stores


# By hand: blocks of 4 tokens, steps of a second and a second a token, 1 GB a token


GB = 1e9


def offloading(num_gpu_blocks=11, **settings):
    """One replica with room for 40 tokens, a store of any size, 1 GB/s."""
    tier = {"num_blocks": 1_000, "bytes_per_s": GB, "latency_s": 0.0} | {
        name: settings.pop(name) for name in HostTier.__dataclass_fields__ if name in settings
    }
    given = pool(1.0, 1.0, num_gpu_blocks=num_gpu_blocks, **({"enable_prefix_caching": True} | settings))
    return replace(given, kv_offload=HostTier(**tier), kv_bytes_per_token=GB / 10)


def talk(**settings):
    """Requests that all begin with the same 16 tokens, and say one more of their own."""
    return kind(prefix_tokens=16, user_tokens=constant(1), output_tokens=constant(1), **settings)


def both(given, arrivals, classes=(), commands=(), clock="compiled"):
    """What plane and model say; they must agree."""
    scene = Scene(world(given, classes or [talk()]), arrivals, commands=commands)
    plane = run_plane(scene, clock=clock)
    slow = play(scene.world, scene.rows, scene.commands)
    assert compare(plane, slow) == []
    return plane, np.sort(plane.records, order="serial")


# 17 tokens of prompt, computed in a step of 18 s. A request of 36 tokens (9 blocks of 10) pushes the prefix out of the
# GPU's cache, but for one block. Then the prefix is in the host alone.
FIRST, PUSH = (0.0, 1, 1, 0), (20.0, 36, 1, 1)
OTHER = kind(name="other", prefix_group="other", user_tokens=constant(36), output_tokens=constant(1))


@CLOCK
def test_a_prompt_that_was_pushed_out_is_loaded(clock):
    plane, found = both(offloading(), rows(FIRST, PUSH, (100.0, 1, 1, 0)), [talk(), OTHER], clock=clock)
    assert found["cached_tokens"].tolist() == [0, 0, 16]
    loaded = int(plane.tiers["loaded_tokens"][0])
    assert 0 < loaded <= 16
    assert plane.links["num_bytes"][0] == loaded * GB / 10
    # loaded at 0.1 s a token, then one token in a step of 2 s
    assert found["scheduled_s"][2] == pytest.approx(100.0 + loaded / 10)
    assert found["end_s"][2] == pytest.approx(102.0 + loaded / 10)


def test_two_transfers_go_one_after_the_other():
    link = offloading(latency_s=0.5, num_gpu_blocks=31)
    big = replace(OTHER, user_tokens=constant(60))
    push = [(20.0, 60, 1, 1), (90.0, 60, 1, 2)]
    far = replace(big, name="far")
    plane, found = both(link, rows(FIRST, *push, (300.0, 1, 1, 0), (300.0, 1, 1, 0)), [talk(), big, far])
    # The first loads 16 tokens at 10 a second: 1.6 s, and half a second until they are there. The second is told that
    # it would wait 1.6 s for the link, and that is still sooner than to compute: it is there at 300 + 3.2 + 0.5.
    first, second = found[-2:]
    assert plane.tiers["loaded_tokens"][0] == 32
    assert first["scheduled_s"] == pytest.approx(302.1)
    assert plane.links["busy_s"][0] == pytest.approx(3.2)
    assert second["scheduled_s"] == pytest.approx(304.1)  # at the end of the first one's step of 2 s
    assert [first["end_s"], second["end_s"]] == pytest.approx([304.1, 306.1])


@pytest.mark.parametrize(("load_s", "is_loaded"), [(16.9, True), (17.0, False), (17.1, False)])
def test_what_is_computed_sooner_is_not_loaded(load_s, is_loaded):
    given = offloading(bytes_per_s=1.6 * GB / load_s, num_gpu_blocks=31)  # 16 tokens are computed in a step of 17 s
    big = replace(OTHER, user_tokens=constant(60))
    plane, _ = both(given, rows(FIRST, (20.0, 60, 1, 1), (90.0, 60, 1, 1), (300.0, 1, 1, 0)), [talk(), big])
    assert plane.tiers["loaded_tokens"][0] == (16 if is_loaded else 0)
    assert plane.tiers["slower_tokens"][0] == (0 if is_loaded else 16)


@pytest.mark.parametrize("ending", [ABANDONED, FAILED])
def test_who_is_aborted_while_loading_keeps_the_blocks_until_the_transfer_ends(ending):
    given = offloading(latency_s=5.0)
    patience = constant(1.0) if ending == ABANDONED else None
    commands = () if patience is not None else ((101.0, "abort", 2),)
    impatient = talk(name="impatient", patience_s=patience)
    nine = (102.0, 36, 1, 1)  # needs nine of ten blocks: not before the five of the aborted one are back
    plane, found = both(given, rows(FIRST, PUSH, (100.0, 1, 1, 2), nine), [talk(), OTHER, impatient], commands)
    assert found["ending"].tolist() == [COMPLETED, COMPLETED, ending, COMPLETED]
    assert found["end_s"][2] == 101.0
    loaded = int(plane.tiers["loaded_tokens"][0])
    assert found["scheduled_s"][3] == pytest.approx(105.0 + loaded / 10)


def test_blocks_that_come_back_amid_a_leap_come_back_then():
    # Of ten blocks the long answer has two and the one who loads four; the other four hold text of the third class. The
    # answer grows by three: one while the load is under way, out of that text, and two when its blocks are back, for it
    # was aborted. So three quarters of the text are left.
    given = offloading(latency_s=10.0)
    third = replace(talk(), name="third", prefix_group="third")
    long = kind(name="long", prefix_group="long")
    impatient = talk(name="impatient", patience_s=constant(2.0))
    arrivals = rows(FIRST, PUSH, (60.0, 1, 1, 2), (100.0, 5, 16, 3), (107.0, 1, 1, 4), (300.0, 1, 1, 2))
    plane, found = both(given, arrivals, [talk(), OTHER, third, long, impatient])
    assert found["ending"].tolist() == [COMPLETED] * 4 + [ABANDONED, COMPLETED]
    scene = Scene(world(given, [talk(), OTHER, third, long, impatient]), arrivals)
    assert identical(plane, run_plane(scene, leap=False))
    assert found["cached_tokens"].tolist() == [0, 0, 0, 0, 0, 12]
    assert plane.tiers["loaded_tokens"][0] == 16


def test_who_comes_while_the_first_in_line_loads_is_admitted_with_the_next_step():
    given = offloading(latency_s=12.0, num_gpu_blocks=31)
    long, big = kind(name="long", output_tokens=constant(30)), replace(OTHER, user_tokens=constant(60))
    pushes = (20.0, 60, 1, 1), (90.0, 60, 1, 1)
    arrivals = rows(FIRST, *pushes, (300.0, 1, 1, 0), (301.0, 5, 30, 2), (310.5, 3, 1, 2))
    _, found = both(given, arrivals, [talk(), big, long])
    # 5 tokens until 307, then 2 s each; whoever loads is there at 313.6
    assert found["scheduled_s"][3:].tolist() == [316.0, 301.0, 311.0]


def test_going_over_to_blocks_takes_those_along_who_wait_with_what_they_load(monkeypatch):
    given, seen = offloading(latency_s=12.0, num_gpu_blocks=31), []
    end = Plane.end

    def watched(plane, now_s):
        seen.append(plane.scalar("num_fallbacks"))
        return end(plane, now_s)

    monkeypatch.setattr(Plane, "end", watched)
    long, quoting = kind(name="long", prefix_group="long"), kind(name="quoting", prefix_group="long")
    big = replace(OTHER, user_tokens=constant(60))
    arrivals = rows(FIRST, (20.0, 60, 1, 1), (90.0, 60, 1, 1), (300.0, 1, 1, 0), (301.0, 5, 30, 2), (308.0, 16, 1, 3))
    arrivals["num_segments"][5] = 1
    (writer,) = arrivals[4:5]
    answer = draws.bits(1, draws.CONTENT, int(writer["user"]), int(writer["conversation"]), 0)
    segments = np.array([(answer, 16, 0)], SEGMENT)
    scene = Scene(world(given, [talk(), big, long, quoting]), arrivals, segments)
    plane, slow = run_plane(scene), play(scene.world, scene.rows, segments=segments)
    assert compare(plane, slow) == []
    assert seen == [1]
    assert plane.tiers["loaded_tokens"][0] > 0


def test_a_draining_replica_waits_for_its_transfers():
    given = replace(offloading(latency_s=5.0), num_replicas=2, max_replicas=2)
    given = replace(given, kv_offload=replace(given.kv_offload, is_shared=True))
    arrivals = rows(FIRST, PUSH, (20.0, 36, 1, 1), (100.0, 1, 1, 0), (100.0, 1, 1, 0))
    _, found = both(given, arrivals, [talk(), OTHER], commands=((101.0, "drain", 0, 1),))
    assert (found["ending"] == COMPLETED).all()
    assert (found["end_s"][3:] > 105.0).all()


# Corners


@pytest.mark.parametrize("num_blocks", [1, 2, 3])
@pytest.mark.parametrize("ttl_s", [math.inf, 50.0])
def test_a_store_smaller_than_a_prompt_keeps_its_beginning(num_blocks, ttl_s):
    given = offloading(num_blocks=num_blocks, ttl_s=ttl_s, enable_prefix_caching=False)
    plane, found = both(given, rows(FIRST, (20.0, 1, 1, 0), (40.0, 1, 1, 0)))
    assert found["cached_tokens"].tolist() == [0, 4 * num_blocks, 4 * num_blocks]
    assert plane.tiers["refused_tokens"][0] == 3 * 4 * (4 - num_blocks)


def test_an_entry_lives_as_long_as_it_is_used():
    given = offloading(ttl_s=30.0, bytes_per_s=math.inf, enable_prefix_caching=False)
    # Written at 18; found at 40 and kept alive by that; at 70 it is 28 s since it was let go (42); then 46 s pass.
    plane, found = both(given, rows(FIRST, (40.0, 1, 1, 0), (70.0, 1, 1, 0), (118.0, 1, 1, 0)))
    assert found["cached_tokens"].tolist() == [0, 16, 16, 0]
    assert plane.tiers["expired_tokens"][0] == 16
    assert plane.tiers["written_tokens"][0] == 32


@pytest.mark.parametrize(("t_s", "found_tokens"), [(48.0, 16), (48.5, 0)])
def test_an_entry_is_alive_at_the_end_of_its_time_and_not_after(t_s, found_tokens):
    given = offloading(ttl_s=30.0, bytes_per_s=math.inf, enable_prefix_caching=False)
    _, found = both(given, rows(FIRST, (t_s, 1, 1, 0)))  # let go at 18
    assert found["cached_tokens"][1] == found_tokens


@pytest.mark.parametrize("cache", CACHES)
def test_the_part_of_a_text_that_is_used_outlives_the_rest(cache):
    given = offloading(ttl_s=30.0, bytes_per_s=math.inf, enable_prefix_caching=False, cache=cache)
    longer = replace(talk(), name="longer", prefix_tokens=32)
    # 32 tokens, let go at 34; the first 16 of them again until 52; so at 70 those are left.
    arrivals = rows((0.0, 1, 1, 1), (50.0, 1, 1, 0), (70.0, 1, 1, 1), (75.0, 1, 1, 1))
    plane, found = both(given, arrivals, [talk(), longer])
    assert found["cached_tokens"].tolist() == [0, 16, 16, 32]
    assert plane.tiers["expired_tokens"][0] == 16


def test_live_entries_are_never_pushed_out():
    given = offloading(num_blocks=4, ttl_s=1_000.0, bytes_per_s=math.inf, enable_prefix_caching=False)
    plane, found = both(given, rows(FIRST, PUSH, (100.0, 1, 1, 0)), [talk(), OTHER])
    assert found["cached_tokens"].tolist() == [0, 0, 16]
    assert plane.tiers["refused_tokens"][0] == 36
    assert plane.tiers["evicted_tokens"][0] == 0


def test_short_prompts_are_neither_written_nor_read():
    for min_tokens, is_found in ((17, True), (18, False)):
        given = offloading(min_tokens=min_tokens, bytes_per_s=math.inf, enable_prefix_caching=False)
        _, found = both(given, rows(FIRST, (20.0, 1, 1, 0)))
        assert (found["cached_tokens"][1] == 16) == is_found


def test_a_prompt_that_is_all_there_computes_its_last_token():
    whole = kind(prefix_tokens=15, user_tokens=constant(1), output_tokens=constant(1), keep_history=True)
    same = np.array([0, 0])
    arrivals = rows((0.0, 1, 1), (20.0, 1, 1))
    arrivals["user"] = same  # the same conversation, twice: the same 16 tokens
    given = offloading(bytes_per_s=math.inf, enable_prefix_caching=False)
    _, found = both(given, arrivals, [whole])
    assert found["cached_tokens"].tolist() == [0, 15]
