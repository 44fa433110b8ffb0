"""The comparison names what differs, and the random worlds reach what they are there for."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from compare import NUMBERS, SHARES, TIMES, PlaneResult, bin_of, compare
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from slow_model import play
from slow_replica import BlockPool
from small import kind, pool, rows, world
from worlds import play_scene, scenes

from sim.metrics import histogram
from sim.metrics.records import DONE, ENDINGS


def as_plane(slow):
    """The readable model's result in the plane's form."""
    records = np.zeros(len(slow.records), DONE)
    for row, record in zip(records, slow.records, strict=True):
        for name in (*NUMBERS, *TIMES, *SHARES, "serial"):
            row[name] = record[name]
    return PlaneResult(
        records=records[::-1],
        itl=np.array([histogram.count(np.array(gaps_s)) for gaps_s in slow.gaps_s]),
        busy_s=np.array([replica.busy_s for replica in slow.replicas]),
        num_steps=np.array([replica.num_steps for replica in slow.replicas]),
        free_blocks=np.array([replica.blocks.num_free for replica in slow.replicas]),
        cached_blocks=np.array([replica.blocks.num_cached for replica in slow.replicas]),
    )


@pytest.fixture
def slow():
    main = pool(1.0, 0.25, 0.125, num_replicas=2, enable_prefix_caching=True, usd_per_replica_s=1.0)
    return play(world(main, [kind(prefix_tokens=9)]), rows((0.0, 4, 5), (0.5, 4, 3), (1.0, 4, 3)))


@settings(max_examples=20)
@given(scenes(exact=True))
def test_equal_results_do_not_differ(scene):
    slow = play_scene(scene, exact=True)
    assert compare(as_plane(slow), slow) == []


@pytest.mark.parametrize("name", [*NUMBERS, *TIMES, *SHARES])
def test_a_changed_field_is_named(slow, name):
    plane = as_plane(slow)
    plane.records[name][0] += 1
    (found,) = compare(plane, slow)
    assert f"request 2: {name} is" in found


@pytest.mark.parametrize("name", ["busy_s", "num_steps", "free_blocks", "cached_blocks"])
def test_a_changed_replica_is_named(slow, name):
    plane = as_plane(slow)
    getattr(plane, name)[1] += 1
    (found,) = compare(plane, slow)
    assert f"replica 1: {name} is" in found


def test_lost_and_surplus_requests_are_named(slow):
    plane = as_plane(slow)
    lost = replace(plane, records=plane.records[1:])
    assert compare(lost, slow) == ["request 2: the plane has no record of it"]
    twice = replace(plane, records=plane.records[[0, 0, 1, 2]])
    assert compare(twice, slow) == ["request 2: two records"]
    strange = plane.records.copy()
    strange["serial"][0] = 9
    found = compare(replace(plane, records=strange), slow)
    assert found == ["request 2: the plane has no record of it", "request 9: the model knows none such"]


def test_a_time_may_differ_by_the_tolerance_only(slow):
    plane = as_plane(slow)
    plane.records["end_s"] *= 1 + 1e-12
    assert len(compare(plane, slow)) == 3
    assert compare(plane, slow, time_tol=1e-9) == []
    plane.records["end_s"] *= 1 + 1e-8
    assert len(compare(plane, slow, time_tol=1e-9)) == 3


def test_a_gap_at_an_edge_may_fall_on_either_side_if_a_tolerance_is_given(slow):
    edge_s = float(histogram.EDGES[1300])
    for gap_s, allowed in ((edge_s, (1299, 1300)), (edge_s * 1.001, (1300,))):
        slow.gaps_s = [[gap_s, gap_s]]
        for bins in ((1299, 1299), (1299, 1300), (1300, 1300), (1301, 1300)):
            plane = replace(as_plane(slow), itl=histogram.count(histogram.EDGES[list(bins)])[None])
            assert (compare(plane, slow) == []) == (bins == (1300, 1300))
            assert (compare(plane, slow, time_tol=1e-9) == []) == (set(bins) <= set(allowed))


@given(st.floats(1e-9, 1e5))
def test_bins_are_those_of_the_histogram(gap_s):
    assert bin_of(gap_s) == int(histogram.bin_of(np.array([gap_s]))[0])


# What the random worlds reach


def features(scene, result, evictions):
    """What happened in a play."""
    records = result.records
    yield from {"ending " + ENDINGS[record["ending"]] for record in records}
    priority = any(p.scheduling_policy == "priority" for p in scene.world.pools)
    if any(record["num_preemptions"] for record in records):
        yield "preemption, " + ("priority" if priority else "fcfs")
    if any(record["num_preemptions"] > 2 for record in records):
        yield "preempted again and again"
    admitted = [admission for step in result.steps for admission in step.admitted]
    if any(cached and resumed for _, cached, resumed in admitted):
        yield "a hit after a preemption"
    if evictions:
        yield "eviction"
    if any(len({e.is_decode for e in step.entries}) == 2 for step in result.steps):
        yield "mixed step"
    if any(
        entry.num_tokens == 1 and not entry.is_decode and entry.before
        for step in result.steps
        for entry in step.entries
    ):
        yield "one-token chunk"
    if any(record["ending"] in (6, 7) and record["output_tokens"] for record in records):
        yield "abort while answering"
    if any(record["turn"] and record["prompt_tokens"] + record["requested_tokens"] == 45 for record in records):
        yield "history cut"
    if any(replica.state != "active" for replica in result.replicas[: scene.world.pools[0].num_replicas]):
        yield "drained"
    for (t_s, rank, _), (next_s, next_rank, _) in pairwise(result.events):
        if t_s == next_s and rank < next_rank:
            yield f"tie of classes {rank} and {next_rank}"
    steps = {(step.end_s, step.replica) for step in result.steps}
    ends = Counter(end_s for end_s, _ in steps)
    if any(count > 1 for count in ends.values()):
        yield "two replicas' steps end together"
    if any(rank == 2 and t_s in ends for t_s, rank, _ in result.events):
        yield "timer at a step's end"
    if any(rank == 1 and t_s in ends for t_s, rank, _ in result.events):
        yield "arrival at a step's end"


EXPECTED = {
    "ending abandoned", "ending blocked", "ending completed", "ending failed", "ending in_flight",
    "ending rate_limited", "ending refused", "ending shed",
    "preemption, fcfs", "preemption, priority", "preempted again and again", "a hit after a preemption", "eviction",
    "mixed step", "one-token chunk", "abort while answering", "history cut", "drained",
    "tie of classes 0 and 1", "tie of classes 0 and 4", "tie of classes 1 and 4", "tie of classes 2 and 4",
    "two replicas' steps end together", "timer at a step's end", "arrival at a step's end",
}  # fmt: skip


def test_random_worlds_reach_everything(monkeypatch):
    seen: Counter[str] = Counter()
    evictions: list[int] = []
    take = BlockPool.take

    def counting_take(blocks):
        if not blocks.unhashed:
            evictions.append(1)
        return take(blocks)

    monkeypatch.setattr(BlockPool, "take", counting_take)

    @settings(max_examples=300, phases=[Phase.generate])
    @given(scenes(exact=True))
    def look(scene):
        evictions.clear()
        result = play_scene(scene, exact=True)
        seen.update(set(features(scene, result, evictions)))

    look()
    assert EXPECTED - set(seen) == set()
