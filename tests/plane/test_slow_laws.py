"""Laws that every play of the readable model keeps, and its own draws and tables against the shared ones."""

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import slow_draws as own
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from slow_content import Content
from slow_model import OFF, RUNNING, play
from slow_request import BLOCKED, COMPLETED, IN_FLIGHT
from slow_sequence import Sequence
from slow_step import Entry, step_and_shares
from small import kind, pool, rows, world
from worlds import Clock, play_scene, scenes, step_times

from sim.traffic import draws
from sim.traffic.arrivals import whole_ns

WORDS = st.integers(0, (1 << 63) - 1)


@settings(max_examples=60)
@given(st.booleans().flatmap(lambda exact: st.tuples(st.just(exact), scenes(exact=exact))))
def test_everything_is_conserved(drawn):
    exact, scene = drawn
    result = play_scene(scene, exact=exact)
    records, replicas = result.records, result.replicas

    spent_s = sum(record["busy_s"] + record["guard_s"] for record in records)
    assert spent_s == pytest.approx(sum(replica.busy_s for replica in replicas), rel=1e-9)
    paid = sum(replica.busy_s * replica.pool.usd_per_replica_s for replica in replicas)
    assert sum(record["cost_usd"] for record in records) == pytest.approx(paid, rel=1e-9)
    for replica in replicas:
        check_blocks(replica)
        steps = [step for step in result.steps if step.replica == replica.index]
        assert all(step.end_s <= after.start_s for step, after in pairwise(steps))
        assert replica.num_steps == len(steps) - len(replica.in_flight)

    tokens = [record["output_tokens"] for record in records]
    assert sum(map(len, result.gaps_s)) == sum(max(0, count - 1) for count in tokens)
    assert math.isinf(scene.until) <= (IN_FLIGHT not in [record["ending"] for record in records])
    for record in records:
        times = [record[name] for name in ("arrived_s", "classified_s", "scheduled_s", "first_token_s")]
        known = [t_s for t_s in times if not math.isnan(t_s)]
        assert known == sorted(known) == times[: len(known)]
        assert record["output_tokens"] <= record["requested_tokens"]
        assert record["cached_tokens"] < record["prompt_tokens"]
        if record["ending"] == COMPLETED:
            assert record["output_tokens"] == record["requested_tokens"]
            assert record["end_s"] >= record["first_token_s"]
        if record["ending"] == BLOCKED:
            assert record["guard_s"] > 0
        if record["replica"] >= 0:
            assert replicas[record["replica"]].pool is scene.world.pools[record["pool"]]


def check_blocks(replica):
    """Every block is free or held; the index has every hashed one; a block's predecessor is in the index too."""
    blocks, sequences = replica.blocks, replica.running + replica.waiting
    users = Counter(block for seq in sequences for block in seq.blocks)
    assert len(users) + blocks.num_free == replica.pool.num_gpu_blocks - 1
    assert all(block.num_users == count for block, count in users.items())
    assert all(block.num_users == 0 for block in blocks.free)
    hashed = {block: block.hash for block in [*users, *blocks.free] if block.hash is not None}
    assert {block: hash_ for hash_, same in blocks.index.items() for block in same} == hashed
    parents = {hash_: parent for (parent, _), hash_ in blocks.hashes.items()}
    assert all(parents[hash_] in {None, *blocks.index} for hash_ in blocks.index)
    for seq in sequences:
        assert [block.hash for block in seq.blocks[: seq.num_published]] == seq.hashes[: seq.num_published]
        assert all(block.hash is None for block in seq.blocks[seq.num_published :])
        assert (seq.status == RUNNING) == (seq in replica.running) == (len(seq.blocks) > 0)
        if seq.status == RUNNING:
            assert len(seq.blocks) == -(-seq.num_computed // replica.pool.block_size)
    assert replica.state != OFF or not (sequences or replica.in_flight)


@settings(max_examples=60)
@given(scenes(exact=True))
def test_who_shares_nothing_is_served_alike_with_and_without_a_cache(scene):
    # One turn and one visit each, no common text: until somebody is thrown out, no block is ever found.
    rows_ = scene.rows.copy()
    rows_["num_turns"], rows_["num_segments"], rows_["user"] = 1, 0, np.arange(len(rows_))
    classes = tuple(replace(kind, prefix_tokens=0, reaction=None) for kind in scene.world.classes)
    paths = {name: path[-1:] for name, path in scene.world.paths.items()}
    with_cache, without = (
        play_scene(
            replace(
                scene,
                rows=rows_,
                segments=scene.segments[:0],
                world=replace(
                    scene.world,
                    classes=classes,
                    paths=paths,
                    pools=tuple(replace(pool, enable_prefix_caching=caching) for pool in scene.world.pools),
                ),
            ),
            exact=True,
        )
        for caching in (True, False)
    )
    assume(all(record["num_preemptions"] == 0 for record in without.records))
    assert repr(with_cache.records) == repr(without.records)  # NaN is not equal to itself


@settings(max_examples=30)
@given(scenes(exact=True))
def test_a_play_repeats_itself_and_its_inputs_stay(scene):
    before = scene.rows.copy()
    first, second = play_scene(scene, exact=True), play_scene(scene, exact=True)
    assert repr(first.records) == repr(second.records)
    assert np.array_equal(before, scene.rows)


def test_waits_in_front_of_one_server_follow_lindley_and_pollaczek_khinchine():
    # One request at a time, each one step of 1 s: M/D/1 at a load of 0.7. The wait of each request follows from the
    # one before; their mean is rho / (2 (1 - rho)) within four standard errors of 40 batch means.
    load, count = 0.7, 8_000
    gaps_s = np.random.default_rng(5).exponential(1 / load, count)
    arrived_s = np.cumsum(gaps_s)
    records = play(world(pool(max_num_seqs=1)), rows(*((t_s, 3, 1) for t_s in arrived_s))).records
    waits_s = np.array([record["scheduled_s"] - record["arrived_s"] for record in records])
    wait_s, expected = 0.0, [0.0]
    for gap_s in gaps_s[1:]:
        wait_s = max(0.0, wait_s + 1.0 - gap_s)
        expected.append(wait_s)
    assert waits_s == pytest.approx(np.array(expected), abs=1e-8)
    batches = waits_s.reshape(40, -1).mean(axis=1)
    assert abs(waits_s.mean() - load / (2 * (1 - load))) < 4 * batches.std(ddof=1) / math.sqrt(40)


def test_little_holds_in_the_queue():
    # Area under the number in the system, summed over steps, against the sum of times in the system.
    arrivals = rows(*((0.25 * number, 4, 3) for number in range(40)))
    result = play(world(pool(max_num_seqs=2)), arrivals)
    events = sorted(
        [(record["arrived_s"], 1) for record in result.records] + [(r["end_s"], -1) for r in result.records]
    )
    area_s, number, last_s = 0.0, 0, 0.0
    for t_s, change in events:
        area_s, number, last_s = area_s + number * (t_s - last_s), number + change, t_s
    assert area_s == pytest.approx(sum(record["end_s"] - record["arrived_s"] for record in result.records))


# Draws, tables, step times


@given(WORDS, st.integers(1, 19), WORDS, WORDS, st.integers(0, 1 << 31))
def test_draws_are_those_of_the_traffic(seed, stream, user, conversation, index):
    key = draws.key(np.uint64(seed), stream)
    word = draws.bits(key, np.uint64(user), np.uint64(conversation), np.uint64(index))
    assert own.bits(seed, stream, user, conversation, index) == int(word)
    assert own.uniform(int(word)) == float(draws.uniform(word))


def test_streams_have_the_traffics_numbers():
    for name in ("USER_TOKENS", "OUTPUT_TOKENS", "GAP", "PATIENCE", "BLOCK", "ROUTE", "CONTENT"):
        assert getattr(own, name) == getattr(draws, name)


@given(st.floats(-1e6, 1e6))
def test_whole_nanoseconds_are_those_of_the_traffic(t_s):
    assert own.whole_ns(t_s) == float(whole_ns(t_s))


@given(st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_lookup_interpolates(u):
    table = np.cumsum(np.random.default_rng(1).exponential(1, 1025))
    assert own.lookup(table, u) == pytest.approx(np.interp(u, np.linspace(0, 1, 1025), table), rel=1e-12)
    assert own.tokens(table * 0, u) == 1


@st.composite
def batches(draw):
    """Step times, and entries with at least one token."""
    times = draw(step_times(Clock(exact=False, seed=draw(st.integers(0, 99))), 64, 8))
    seq, long = (Sequence(None, 0, prompt, 1, Content(((0, 0),), 0, 0), 0, 0.0) for prompt in (1, 100))
    decodes = [Entry(seq, 1, draw(st.integers(1, 60)), draw(st.booleans())) for _ in range(draw(st.integers(0, 4)))]
    chunks = st.builds(Entry, st.just(long), st.integers(1, 15), st.integers(0, 60), st.booleans())
    prefills = draw(st.lists(chunks, min_size=0 if decodes else 1, max_size=4))
    return times, decodes, prefills


@given(batches())
def test_step_time_is_that_of_the_profile_and_shares_add_up(batch):
    times, decodes, prefills = batch
    step_s, shares_s = step_and_shares(times, decodes + prefills)
    num_tokens = len(decodes) + sum(entry.num_tokens for entry in prefills)
    context = sum(entry.before + 1 for entry in decodes)
    pairs = sum(e.num_tokens * e.before + e.num_tokens * (e.num_tokens + 1) / 2 for e in prefills)
    emitting = sum(entry.emits for entry in decodes + prefills)
    assert step_s == pytest.approx(times.step_s(num_tokens, len(decodes), context, emitting, pairs), rel=1e-12)
    assert sum(shares_s) == pytest.approx(step_s, rel=1e-12)


def test_the_priority_policy_orders_by_priority_then_arrival():
    classes = [kind(priority=priority) for priority in (2, 1)]
    main = pool(max_num_seqs=1, scheduling_policy="priority")
    arrivals = rows((0.0, 4, 1, 0), (0.25, 4, 1, 0), (0.5, 4, 1, 1), (0.75, 4, 1, 0), (1.25, 4, 1, 1))
    records = play(world(main, classes), arrivals).records
    assert [record["scheduled_s"] for record in records] == [0.0, 3.0, 1.0, 4.0, 2.0]
