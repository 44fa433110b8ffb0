"""The plane's memory: tables that grow on demand, stay as they are at a constant load, and never move unseen."""

import copy
import math
import os
import pickle

import numba
import numpy as np
import pytest
import small
from digests import crowd, digest
from drive import run_plane

from sim.fleet.clocks import CLOCKS
from sim.metrics.records import COMPLETED, FAILED
from sim.plane.building import RECORDS
from sim.plane.commands import abort_serial
from sim.plane.compiled import PLAIN, drop_stale_caches, jit
from sim.plane.owner import Plane
from sim.traffic.arrivals import Chunk

CLOCK = pytest.mark.parametrize("clock", ["compiled", "simpy"])


def collect(world, rows, *, clock="compiled", requests=2, until=math.inf):
    """Play rows; the plane, and the sizes of the portions in which its records came."""
    plane, portions = Plane(world, num_requests=requests), []
    chunks = map(Chunk, np.array_split(rows, max(1, len(rows) // 10_000)))
    CLOCKS[clock](plane, chunks, portions.append).run(until)
    return plane, portions


@CLOCK
def test_request_rows_are_added_when_they_run_out(clock, monkeypatch):
    sizes = []
    grow = Plane.grow

    def watched(plane):
        sizes.append(plane.scalar("num_requests"))
        grow(plane)

    monkeypatch.setattr(Plane, "grow", watched)
    ample = digest(run_plane(crowd(), requests=1_000))
    assert sizes == []
    assert digest(run_plane(crowd(), clock=clock, requests=2)) == ample
    assert sizes == [2, 4, 8, 16, 32]


@CLOCK
def test_rows_grow_from_a_single_one(clock):
    assert digest(run_plane(crowd(), clock=clock, requests=1)) == digest(run_plane(crowd()))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_plane_is_neither_pickled_nor_copied(take):
    with pytest.raises(TypeError, match="cannot be pickled"):
        take(Plane(crowd().world, num_requests=4))


# Records, a bufferful at a time


@CLOCK
def test_more_requests_end_at_one_instant_than_there_is_room_for(clock):
    # 60 replicas finish 500 requests each in the same step.
    pool = small.pool(1.0, max_num_seqs=500, max_num_batched_tokens=4_000, num_gpu_blocks=2_001, num_replicas=60)
    rows = small.rows(*[(0.0, 5, 1)] * 30_000)
    plane, portions = collect(small.world(pool, router="round_robin"), rows, clock=clock, requests=1 << 15)
    records = np.concatenate(portions)
    assert len(portions) > 1
    assert max(map(len, portions)) <= len(plane["done"])
    assert sorted(records["serial"]) == list(range(30_000))
    assert set(records["ending"]) == {COMPLETED}
    assert np.ptp(records["end_s"]) == 0


def test_more_requests_are_alive_at_the_end_than_there_is_room_for():
    rows = small.rows(*[(0.001 * n, 5, 9) for n in range(2 * RECORDS + 5)])
    plane, portions = collect(small.world(small.pool(10.0)), rows, until=40.0)
    portions += plane.end(40.0)
    assert sorted(map(len, portions))[-2:] == [RECORDS + 1, RECORDS + 1]
    assert sorted(np.concatenate(portions)["serial"]) == list(range(len(rows)))


@CLOCK
def test_an_operator_may_end_any_number_of_requests_at_one_instant(clock):
    number = RECORDS + 100  # no more than the spare rows hold, so that a fault is no crash
    plane, portions = Plane(small.world(small.pool(1.0, max_num_seqs=60)), num_requests=1 << 15), []
    player = CLOCKS[clock](plane, iter([Chunk(small.rows(*[(0.0, 5, 9)] * number))]), portions.append)
    player.run(0.5)
    for serial in range(number - 1, 60, -1):
        player.act(abort_serial, serial)
        assert plane.scalar("num_done") <= RECORDS
    player.run(math.inf)
    endings = np.concatenate(portions)["ending"].tolist()
    assert [endings.count(FAILED), endings.count(COMPLETED)] == [number - 61, 61]


# Bounded


def steady(hours):
    """About 500 conversations alive, each with a second turn, whatever the time."""
    kind = small.kind(gap_s=small.constant(300.0), patience_s=small.constant(60.0), keep_history=True)
    pool = small.pool(0.02, 0.0001, num_replicas=2, max_num_seqs=64)
    rows = small.rows(*[(0.7 * n, 5, 40, 0, 2) for n in range(int(hours * 3_600 / 0.7))])
    return collect(small.world(pool, [kind]), rows)


def test_memory_does_not_grow_with_the_horizon():
    (short, few), (long, many) = steady(0.5), steady(5)
    assert sum(map(len, many)) > 9.9 * sum(map(len, few))
    sizes = {name: len(table) for name, table in long._tables.items()}
    assert long.scalar("num_requests") == 512
    assert {name: len(table) for name, table in short._tables.items()} | {"arrivals": sizes["arrivals"]} == sizes
    assert sizes["arrivals"] <= 10_000 * 2


@pytest.mark.skipif(PLAIN, reason="plain Python allocates")
def test_a_plane_function_that_allocates_does_not_compile():
    def allocates(n):
        return np.empty(n).size

    assert numba.njit(allocates)(3) == 3
    with pytest.raises(numba.core.errors.TypingError, match=r"No implementation of function .*empty"):
        jit(allocates)(3)


def test_stale_caches_are_dropped(tmp_path):
    ours, fresh, stale, foreign = (tmp_path / f"plane-{name}" for name in ("a" * 16, "b" * 16, "c" * 16, "mine"))
    for folder in (ours, fresh, stale, foreign):
        folder.mkdir()
        (folder / "file").write_text("")
    for folder in (ours, stale, foreign):
        os.utime(folder, (0, 0))
    drop_stale_caches(ours)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [ours.name, fresh.name, foreign.name]
