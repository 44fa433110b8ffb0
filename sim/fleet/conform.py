"""Recorded scheduler cases replayed on the plane, step by step, under the ordinary clocks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import CapacityError
from sim.fleet.clocks import CLOCKS
from sim.fleet.golden import RECORD_TYPES, Case, as_world, find_cases, read_case
from sim.fleet.steps import Step, Steps
from sim.metrics.records import DONE, ENDINGS
from sim.plane.owner import Plane, Table

TOLERANCE_S = 1e-9
"""Sums of floats differ in their last bits with the order of their terms; counts are compared exactly."""
# In the order in which one causes the other.
FIELDS = (
    "step", "preempt", "admit", "sched", "t_sched", "t_start", "running", "waiting", "free", "hashed", "t_end",
    "finish", "free_end",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    """The first place where a case and its replay differ."""

    case: str
    step: int | None
    """None: in requests_out.csv."""
    field: str
    expected: Any
    got: Any

    def __str__(self) -> str:
        where = "requests_out.csv" if self.step is None else f"step {self.step}"
        return f"{self.case}: {where}: {self.field}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True)
class Conformance:
    """What a comparison of cases found."""

    num_cases: int
    num_steps: int
    failures: Sequence[Difference]
    """The first difference of each case that differs."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        matched = self.num_cases - len(self.failures)
        failures = [asdict(failure) for failure in self.failures]
        return {"matched": matched, "cases": self.num_cases, "steps": self.num_steps, "failures": failures}


def conform(
    folders: Iterable[str | Path], *, clock: str = "compiled", leap: bool = True, cache: str = "extents"
) -> Conformance:
    """Replay recorded cases and compare every field of every step and request.

    Parameters
    ----------
    folders
        Folders of cases, or folders that hold such folders.
    clock
        `compiled` or `simpy`.
    leap
        Take many decode steps as one event.
    cache
        How cached blocks are kept: `extents` or `blocks`.

    Raises
    ------
    TraceError
        No case, or one that cannot be read.
    """
    cases = [read_case(folder) for folder in find_cases(folders)]
    failures = []
    for case in cases:
        steps, records = replay(case, clock=clock, leap=leap, cache=cache)
        failures += [first for first in [next(differences(case, steps, records), None)] if first is not None]
    return Conformance(len(cases), sum(len(case.steps) for case in cases), failures)


def replay(case: Case, *, clock: str, leap: bool, cache: str) -> tuple[list[Step], Table]:
    """The steps of a case's replay, and the records of its requests (dtype DONE)."""
    world, chunk = as_world(case, cache)
    plane = Plane(world, leap=leap)
    CLOCKS[clock].warm_up(plane)
    steps = Steps(chunk.rows["t_s"].tolist(), asynchronous=world.pools[0].async_scheduling)
    records: list[Table] = []
    player = CLOCKS[clock](plane, iter([chunk]), records.append)
    player.log(steps.add)
    try:
        player.run(math.inf)
    except CapacityError:
        # It got stuck where the recorded run did not: the steps so far show where they part.
        steps.add(plane.take_log())
        records.append(plane.take_done())
    return steps.all(), np.concatenate([np.zeros(0, DONE), *records])


def differences(case: Case, steps: Sequence[Step], records: Table) -> Iterator[Difference]:
    """Where a replay differs from the recorded case, step by step, then request by request."""
    ids = [request["id"] for request in case.requests]
    played = [_as_recorded(step, ids) for step in steps]
    nothing: dict[str, Any] = {}
    for number in range(max(len(played), len(case.steps))):
        want = case.steps[number] if number < len(case.steps) else nothing
        got = played[number] if number < len(played) else nothing
        for name in FIELDS:
            if not _same(want.get(name), got.get(name)):
                yield Difference(case.name, number, name, want.get(name), got.get(name))
    requests = _requests(case, played, records)
    for request in case.requests:
        want, got = case.records[request["id"]], requests.get(request["id"], nothing)
        for name in RECORD_TYPES:
            if not _same(want[name], got.get(name)):
                yield Difference(case.name, None, f"request {request['id']}: {name}", want[name], got.get(name))


def _same(want: Any, got: Any) -> bool:
    if isinstance(want, float) or isinstance(got, float):
        return want is not None and got is not None and abs(want - got) <= TOLERANCE_S
    return bool(want == got)


def _as_recorded(step: Step, ids: Sequence[int]) -> dict[str, Any]:
    """A step in the form of steps.jsonl.gz."""
    row = asdict(step)
    for name in ("sched", "admit"):
        row[name] = [[ids[serial], *rest] for serial, *rest in row[name]]
    for name in ("preempt", "finish"):
        row[name] = [ids[serial] for serial in row[name]]
    return row


def _requests(case: Case, steps: Sequence[Mapping[str, Any]], records: Table) -> dict[int, dict[str, Any]]:
    """The completed requests in the form of requests_out.csv, by id."""
    tokens = {request["id"]: sum(count for _, count in request["prompt"]) for request in case.requests}
    emitted: dict[int, list[int]] = {name: [] for name in tokens}
    recached = dict.fromkeys(tokens, 0)
    for step in steps:
        for name, cached, resumed in step["admit"]:
            recached[name] += cached * resumed
        for name, count, before in step["sched"]:
            # A step that computes the last token there is samples the next.
            if before + count == tokens[name]:
                tokens[name] += 1
                emitted[name].append(step["step"])
    found: dict[int, dict[str, Any]] = {}
    priority = {request["id"]: request.get("priority", 0) for request in case.requests}
    for record in records[records["ending"] == ENDINGS.index("completed")]:
        name, arrival = int(record["user"]), float(record["arrived_s"])
        gaps = sorted(np.diff([steps[number]["t_end"] for number in emitted[name]]).tolist())
        found[name] = {
            "id": name,
            "arrival": arrival,
            "priority": priority[name],
            "prompt_tokens": int(record["prompt_tokens"]),
            "output_tokens": int(record["output_tokens"]),
            "first_sched": float(record["scheduled_s"]),
            "cached_tokens": int(record["cached_tokens"]),
            "preemptions": int(record["num_preemptions"]),
            "recached_tokens": recached[name],
            "ttft": float(record["first_token_s"]) - arrival,
            "e2e": float(record["end_s"]) - arrival,
            "finish": float(record["end_s"]),
            "itl_mean": math.fsum(gaps) / len(gaps) if gaps else None,
            "itl_p50": gaps[(len(gaps) - 1) // 2] if gaps else None,
            "itl_max": gaps[-1] if gaps else None,
            "token_steps": _ranges(emitted[name]),
        }
    return found


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers in short: 3-17 20-31."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0])]
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
