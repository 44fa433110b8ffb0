"""The comparison of the plane with the readable model names what differs."""

from dataclasses import replace

import numpy as np
import pytest
from compare import NUMBERS, SHARES, TIMES, PlaneResult, bin_of, compare
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_model import play
from slow_transfers import Counts
from small import kind, pool, rows, world
from worlds import play_scene, scenes

from sim.metrics import histogram
from sim.metrics.records import DONE


def as_plane(slow):
    """The readable model's result in the plane's form."""
    records = np.zeros(len(slow.records), DONE)
    for row, record in zip(records, slow.records, strict=True):
        for name in (*NUMBERS, *TIMES, *SHARES, "serial"):
            row[name] = record[name]
    return PlaneResult(
        records=records[::-1],
        itl=np.array([histogram.count(np.array(gaps_s)) for gaps_s in slow.gaps_s]),
        itl_per_token=np.array([histogram.count(np.array(gaps_s)) for gaps_s in slow.gaps_per_token_s]),
        drafts=np.zeros(3, np.int64),
        busy_s=np.array([replica.busy_s for replica in slow.replicas]),
        num_steps=np.array([replica.num_steps for replica in slow.replicas]),
        free_blocks=np.array([replica.blocks.num_free for replica in slow.replicas]),
        cached_blocks=np.array([replica.blocks.num_cached for replica in slow.replicas]),
        links=np.array([(link.num_bytes,) for link in slow.links], [("num_bytes", "f8")]),
        tiers=np.array([tuple(vars(counts).values()) for counts in slow.counts], [(n, "i8") for n in vars(Counts())]),
        spent_s=np.zeros((1, 1)),
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
