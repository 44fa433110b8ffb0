"""A plan played on a device into a folder: within a budget of time, and never lost when it is cut short."""

from __future__ import annotations

import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict

from sim.calibrate.microbench.collective import all_reduces, measured
from sim.calibrate.microbench.device import Bench
from sim.calibrate.microbench.folder import Writer
from sim.calibrate.microbench.plan import expected_s
from sim.calibrate.microbench.points import SKIPPED, Point, Row
from sim.calibrate.microbench.protocol import Limits, Sampled, measure
from sim.calibrate.microbench.works import NotOffered, Work, works
from sim.errors import TokenfleetError

_TRIAL = Limits(warm_up=2, num_least=3, num_wanted=3, num_most=3)
"""Enough to see which implementation is the quicker."""


def play(
    plan: Mapping[str, Sequence[Point]],
    bench: Bench,
    writer: Writer,
    *,
    limits: Limits,
    time_limit_s: float,
    say: Callable[[str], None],
) -> Counter[str]:
    """Measure a plan; return how many points were measured, skipped, and left for want of time.

    Each section gets the share of the remaining time that its points are expected to need, so that a short budget
    thins all of them; the order within a section is random, so what was measured is a fair sample of it. Ctrl-C ends
    the run after the point at hand; what was measured is kept.
    """
    began = time.perf_counter()
    counts: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    interrupted = False
    shares = {name: sum(map(expected_s, points)) for name, points in plan.items()}
    with bench.sensors, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch warns of each implementation that a shape has not
        try:
            for name, points in plan.items():
                now = time.perf_counter()
                left_s = max(time_limit_s - (now - began), 0.0)
                deadline = now + left_s * shares[name] / max(sum(shares.values()), 1e-9)
                del shares[name]
                done = _section(name, points, bench, limits, deadline, writer)
                counts += done + Counter(left=len(points) - done.total())
                seconds[name] = round(time.perf_counter() - now, 3)
                say(_line(name, len(points), done, seconds[name]))
        except KeyboardInterrupt:
            interrupted = True
            say("Interrupted; what was measured is kept.")
    writer.describe(
        complete=not interrupted,
        interrupted=interrupted,
        points={name: len(points) for name, points in plan.items()},
        counts=dict(counts),
        seconds=seconds,
        total_s=round(time.perf_counter() - began, 3),
        limits=asdict(limits),
    )
    return counts


def _line(name: str, planned: int, done: Counter[str], seconds: float) -> str:
    left = planned - done.total()
    parts = [f"{done['measured']} of {planned} points"]
    parts += [f"{done[SKIPPED]} skipped"] if done[SKIPPED] else []
    parts += [f"{left} left for want of time"] if left else []
    return f"{name}: {', '.join(parts)}, {seconds:.1f} s"


def _section(
    name: str, points: Sequence[Point], bench: Bench, limits: Limits, deadline: float, writer: Writer
) -> Counter[str]:
    """Measure one section until its deadline; return rows by status."""
    done: Counter[str] = Counter()
    for row in _rows(name, points, bench, limits, deadline):
        writer.write(row)
        done[row.status] += 1
    return done


def _rows(name: str, points: Sequence[Point], bench: Bench, limits: Limits, deadline: float) -> Iterator[Row]:
    if name == "all_reduce":
        yield from all_reduces(bench.torch, points, bench.kind, bench.sensors, deadline)
        return
    for point in points:
        if time.perf_counter() >= deadline:
            return
        yield _measure(point, bench, limits)
        bench.forget()


def _measure(point: Point, bench: Bench, limits: Limits) -> Row:
    """Return the row of one point; what cannot run is skipped with the reason."""
    try:
        offered = works(bench.torch, point, bench.kind)
        work = _quickest(offered, bench) if len(offered) > 1 else offered[0]
        began = time.perf_counter()
        sampled = measure(work.call, bench.launch_timer if work.on_host else bench.timer, limits)
    except NotOffered as error:
        return Row(point, SKIPPED, note=str(error))
    except (RuntimeError, NotImplementedError, ValueError) as error:
        _check_alive(bench, error)
        return Row(point, SKIPPED, note=reason(error))
    return measured(point, work.kernel, _per_call(sampled, work.calls), bench.sensors.since(began))


def _quickest(offered: Sequence[Work], bench: Bench) -> Work:
    """Return the implementation with the smallest median; raises the last one's error where none runs."""
    times: list[tuple[float, Work]] = []
    failure: Exception | None = None
    for work in offered:
        try:
            times.append((measure(work.call, bench.timer, _TRIAL).median_s, work))
        except (RuntimeError, NotImplementedError, ValueError) as error:
            _check_alive(bench, error)
            failure = error
    if not times and failure is not None:
        raise failure
    return min(times, key=lambda pair: pair[0])[1]


def _per_call(sampled: Sampled, calls: int) -> Sampled:
    return Sampled(sampled.median_s / calls, sampled.iqr_s / calls, sampled.min_s / calls, sampled.num_samples)


def reason(error: Exception) -> str:
    """Why a point was skipped, in one line."""
    text = str(error).strip().splitlines()
    first = text[0][:200] if text else type(error).__name__
    return "out of memory" if "out of memory" in first or "can't allocate memory" in first else first


def _check_alive(bench: Bench, error: Exception) -> None:
    """Raise where an error has left the device unusable: all later points would fail for it."""
    try:
        bench.wait()
    except RuntimeError:
        raise TokenfleetError(
            f"the device failed and answers no more: {reason(error)}. What was measured before is kept"
        ) from None
