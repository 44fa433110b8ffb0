"""A plan played on a device that we play: what goes wrong costs its point, not the run."""

import itertools
from collections import Counter

import pytest

from sim.calibrate.microbench import session
from sim.calibrate.microbench.device import Bench
from sim.calibrate.microbench.folder import Writer, read
from sim.calibrate.microbench.plan import Device
from sim.calibrate.microbench.points import Point
from sim.calibrate.microbench.protocol import Limits
from sim.calibrate.microbench.sensors import Sensors
from sim.calibrate.microbench.session import play
from sim.calibrate.microbench.works import NotOffered, Work
from sim.errors import TokenfleetError

POINTS = [Point("gemm", m=m, n=1, k=1) for m in range(1, 7)]


class Clock:
    """Every sample takes what the call says."""

    def __init__(self):
        self.last = 0.0

    def now(self):
        return 0.0

    def samples(self, call, count):
        return [call() for _ in range(count)]


class Torch:
    """The device behind the queue: alive until told."""

    def __init__(self):
        self.alive = True
        self.cuda = self

    def synchronize(self):
        if not self.alive:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def empty_cache(self):
        pass


@pytest.fixture
def bench():
    clock = Clock()
    return Bench(Torch(), "cuda", Device(1e9), clock, clock, Sensors(None), {"gpu": "played"})


@pytest.fixture
def played(bench, tmp_path, monkeypatch):
    """Play the points with what each of them offers; return the counts, the folder as read, and what was said."""

    def _play(offer, plan=None, time_limit_s=60.0, limits=None):
        monkeypatch.setattr(session, "works", lambda _torch, point, _kind: offer(point))
        said = []
        with Writer(tmp_path / "out", dict(bench.description)) as writer:
            counts = play(
                plan or {"gemm": POINTS},
                bench,
                writer,
                limits=limits or Limits(),
                time_limit_s=time_limit_s,
                say=said.append,
            )
        return counts, read(tmp_path / "out"), said

    return _play


def steady(point):
    return [Work(lambda: point.m * 1e-3, "steady")]


def test_each_point_is_a_row(played):
    counts, found, said = played(steady)
    assert dict(counts) == {"measured": 6}
    assert [row.median_s for row in found.rows] == [point.m * 1e-3 for point in POINTS]
    assert found.provenance["complete"] is True
    assert found.provenance["points"] == {"gemm": 6}
    assert said == [f"gemm: 6 of 6 points, {found.provenance['seconds']['gemm']:.1f} s"]


def test_a_point_that_fails_is_skipped_with_its_reason(played):
    def offer(point):
        if point.m == 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 9 GiB.\nmore text")
        if point.m == 3:
            raise NotOffered("no such thing here")

        def fail():
            raise NotImplementedError("not for this type")

        return [Work(fail, "bad")] if point.m == 4 else steady(point)

    counts, found, said = played(offer)
    notes = {row.point.m: row.note for row in found.rows if row.status == "skipped"}
    assert notes == {2: "out of memory", 3: "no such thing here", 4: "not for this type"}
    assert (counts["measured"], counts["skipped"]) == (3, 3)
    assert "3 skipped" in said[0]


def test_the_quickest_implementation_that_runs_is_measured(played):
    def offer(_):
        def refuse():
            raise RuntimeError("No available kernel")

        return [Work(refuse, "refuses"), Work(lambda: 2e-3, "slow"), Work(lambda: 1e-3, "quick")]

    _, found, _ = played(offer)
    assert {row.kernel for row in found.rows} == {"quick"}


def test_calls_inside_a_sample_are_divided_out(played):
    _, found, _ = played(lambda _: [Work(lambda: 2.0, "many", calls=200)])
    assert {row.median_s for row in found.rows} == {0.01}


def test_ctrl_c_keeps_what_was_measured(played):
    def offer(point):
        if point.m == 4:
            raise KeyboardInterrupt
        return steady(point)

    _, found, said = played(offer, {"gemm": POINTS, "decode": POINTS})
    assert len(found.rows) == 3
    assert (found.provenance["complete"], found.provenance["interrupted"]) == (False, True)
    assert "kept" in said[-1]
    assert "decode" not in found.provenance["seconds"]


def test_a_short_budget_thins_every_section(played, monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(session.time, "perf_counter", lambda: next(seconds) * 1.0)
    other = [Point("add", m=m, n=1) for m in range(1, 7)]
    counts, found, said = played(steady, {"gemm": POINTS * 10, "elementwise": other * 10}, time_limit_s=60)
    measured = Counter(row.point.operator for row in found.rows)
    assert all(10 <= measured[operator] < 60 for operator in ("gemm", "add"))
    assert abs(measured["gemm"] - measured["add"]) <= 5
    assert counts["left"] == found.provenance["counts"]["left"] == 120 - counts["measured"]
    assert "for want of time" in said[0]


def test_a_dead_device_ends_the_run_with_a_message(played, bench, tmp_path):
    def offer(point):
        if point.m == 3:
            bench.torch.alive = False
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return steady(point)

    with pytest.raises(TokenfleetError, match="answers no more"):
        played(offer)
    found = read(tmp_path / "out")
    assert len(found.rows) == 2
    assert found.provenance["complete"] is False
