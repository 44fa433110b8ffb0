"""All-reduce among GPUs: one process for each, NCCL (gloo on a processor), the slowest member's time of each sample."""

from __future__ import annotations

import queue
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from sim.calibrate.microbench.points import MEASURED, SKIPPED, Point, Row
from sim.calibrate.microbench.protocol import Sampled, summarise
from sim.calibrate.microbench.sensors import Sensors

WARM_UP: Final = 5
NUM_SAMPLES: Final = 30
"""Samples of each message; all members must take the same number, so it is fixed."""
SILENCE_S: Final = 90.0
"""Without a result for so long the group has failed: its start takes the longest."""


def all_reduces(torch: Any, points: Sequence[Point], device: str, sensors: Sensors, deadline: float) -> Iterator[Row]:
    """Measure the all-reduce points; one group of processes for each number of GPUs, none begun after the deadline."""
    for num_gpus in sorted({point.num_gpus for point in points}):
        if time.perf_counter() >= deadline:
            return
        yield from _group(torch, [point for point in points if point.num_gpus == num_gpus], num_gpus, device, sensors)


def _group(torch: Any, points: list[Point], num_gpus: int, device: str, sensors: Sensors) -> Iterator[Row]:
    kernel = "nccl" if device == "cuda" else "gloo"
    context = torch.multiprocessing.get_context("spawn")
    results = context.Queue()
    left, failure = list(points), ""
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        members = [
            context.Process(target=_member, args=(rank, num_gpus, device, meeting, points, results), daemon=True)
            for rank in range(num_gpus)
        ]
        for member in members:
            member.start()
        try:
            while left:
                began = time.perf_counter()
                found = _next(results, members)
                if isinstance(found, str):
                    failure = found
                    break
                sampled, state = summarise(found), sensors.since(began)
                yield measured(left.pop(0), kernel, sampled, state)
        finally:
            for member in members:
                member.join(timeout=0.0 if left else 10.0)
                if member.is_alive():
                    member.terminate()
                    member.join()
        for point in left:
            yield Row(point, SKIPPED, kernel, failure)


def _next(results: Any, members: list[Any]) -> list[float] | str:
    """Return the next samples, or what went wrong."""
    deadline = time.perf_counter() + SILENCE_S
    while time.perf_counter() < deadline:
        try:
            found: list[float] | str = results.get(timeout=0.5)
        except queue.Empty:
            if any(member.exitcode not in (None, 0) for member in members):
                return "a member of the group ended"
        else:
            return found
    return f"no result within {SILENCE_S:g} s"


def _member(rank: int, num_gpus: int, device: str, meeting: str, points: list[Point], results: Any) -> None:
    """Be one member of the group: time every message; the first member hands in the slowest member's times."""
    import torch
    import torch.distributed as group

    from sim.calibrate.microbench.timers import EventTimer, HostTimer

    if device == "cuda":
        torch.cuda.set_device(rank)
    try:
        group.init_process_group("nccl" if device == "cuda" else "gloo", meeting, rank=rank, world_size=num_gpus)
        timer = EventTimer(torch) if device == "cuda" else HostTimer(torch)
        for point in points:
            message = torch.zeros(point.message_bytes // 2, dtype=torch.bfloat16, device=device)

            def call(message: Any = message) -> object:
                return group.all_reduce(message)

            timer.samples(call, WARM_UP)
            group.barrier()
            times = torch.tensor(timer.samples(call, NUM_SAMPLES), dtype=torch.float64, device=device)
            group.all_reduce(times, op=group.ReduceOp.MAX)
            if rank == 0:
                results.put(times.tolist())
        group.destroy_process_group()
    except RuntimeError as error:  # no such backend, out of memory, a member that is gone: the row says so
        results.put(str(error).splitlines()[0])


def measured(point: Point, kernel: str, sampled: Sampled, state: Any) -> Row:
    """Return the row of a measured point."""
    return Row(
        point,
        MEASURED,
        kernel,
        "",
        sampled.median_s,
        sampled.iqr_s,
        sampled.min_s,
        sampled.num_samples,
        state.clock_mhz,
        state.memory_clock_mhz,
        state.power_w,
        state.temperature_c,
        state.reasons,
    )
