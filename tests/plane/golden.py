"""Records of vLLM's own scheduler (see the README beside them), and the same cases as worlds of one replica."""

import csv
import gzip
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.cost.step_times import StepTimes
from sim.plane.world import Pool, Visit, World
from sim.traffic.arrivals import ARRIVAL, TrafficClass


@dataclass(frozen=True)
class Case:
    """One recorded run."""

    name: str
    config: dict[str, Any]
    requests: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    records: list[dict[str, str]]

    @property
    def has_hits(self) -> bool:
        return any(int(record["cached_tokens"]) + int(record["recached_tokens"]) for record in self.records)

    @property
    def has_preemptions(self) -> bool:
        return any(int(record["preemptions"]) for record in self.records)

    @property
    def is_plain(self) -> bool:
        """No setting that the plane lacks."""
        config = self.config
        lacks = config["async_scheduling"] or config["long_prefill_token_threshold"] or config["max_num_active_seqs"]
        return not lacks and config["prefill_schedule_interval"] == 1


def read_case(folder: Path) -> Case:
    """Read one folder of records."""
    with gzip.open(folder / "steps.jsonl.gz", "rt") as file:
        steps = [json.loads(line) for line in file]
    with (folder / "requests_out.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    config = json.loads((folder / "config.json").read_text())
    return Case(folder.name, config, json.loads((folder / "requests.json").read_text()), steps, records)


def shared_prefix(case: Case, request: dict[str, Any]) -> tuple[str, int]:
    """Name and length of a prompt's first segment if other prompts begin with it too, else nothing."""
    name, length = request["prompt"][0]
    sharers = sum(other["prompt"][0][0] == name for other in case.requests)
    whole = len(request["prompt"]) == 1
    return (name, length) if sharers > 1 and not whole else ("", 0)


def as_world(case: Case, *, caching: bool) -> tuple[World, np.ndarray, list[int]]:
    """The case as a world of one replica, its arrivals, and the recorded id of each row.

    With `caching`, a prompt's first segment is the shared prefix of its class: only that is cached.
    """
    config = case.config
    step_time = [config["step_time"][name] for name in ("c0", "c1", "c2", "c3")]
    pool = Pool(
        name="main",
        step_times=StepTimes.linear(*step_time, config["max_num_batched_tokens"], config["max_num_seqs"]),
        num_replicas=1,
        enable_prefix_caching=caching,
        scheduling_policy=config["policy"],
        **{
            name: config[name]
            for name in (
                "num_gpu_blocks", "max_num_seqs", "max_num_batched_tokens", "block_size", "max_model_len", "watermark",
                "scheduler_reserve_full_isl", "enable_chunked_prefill",
            )
        },
    )  # fmt: skip
    kinds: dict[tuple[str, int, int], int] = {}
    rows = []
    order = sorted(case.requests, key=lambda request: (request["arrival"], request["id"]))
    for request in order:
        prefix_group, prefix_tokens = shared_prefix(case, request) if caching else ("", 0)
        kind = (prefix_group, prefix_tokens, request.get("priority", 0))
        class_id = kinds.setdefault(kind, len(kinds))
        user_tokens = sum(length for _, length in request["prompt"]) - prefix_tokens
        rows.append((request["arrival"], request["id"], 0, 1, user_tokens, request["output"], class_id, 0, -1, 0))
    none = np.zeros(1025)
    classes = tuple(
        TrafficClass(
            name=f"{group}/{priority}", tier="all", path="main", priority=priority, prefix_tokens=prefix_tokens,
            prefix_group=group, user_tokens=none, output_tokens=none, gap_s=none, patience_s=None, min_think_s=0.0,
            keep_history=False, max_context_tokens=1 << 30, is_program=True,
        )
        for group, prefix_tokens, priority in kinds
    )  # fmt: skip
    world = World(pools=(pool,), paths={"main": (Visit(0),)}, classes=classes)
    return world, np.array(rows, dtype=ARRIVAL), [request["id"] for request in order]


def differences_of_records(case: Case, records: list[dict[str, Any]], ids: list[int]) -> list[str]:
    """Where a play's request records differ from the recorded ones (times: 1e-9)."""
    found = []
    wanted = {int(record["id"]): record for record in case.records}
    for record in records:
        want = wanted.pop(ids[record["serial"]])
        numbers = {
            "prompt_tokens": "prompt_tokens", "output_tokens": "output_tokens", "num_preemptions": "preemptions",
            "cached_tokens": "cached_tokens",
        }  # fmt: skip
        for ours, theirs in numbers.items():
            if record[ours] != int(want[theirs]):
                found.append(f"request {want['id']}: {ours} is {record[ours]}, recorded {want[theirs]}")
        first_token_s = float(want["arrival"]) + float(want["ttft"])
        times = {
            "scheduled_s": float(want["first_sched"]),
            "first_token_s": first_token_s,
            "end_s": float(want["finish"]),
        }
        for name, want_s in times.items():
            if not math.isclose(record[name], want_s, rel_tol=1e-9, abs_tol=1e-9):
                found.append(f"request {want['id']}: {name} is {record[name]!r}, recorded {want_s!r}")
    return found + [f"request {number} has no record" for number in wanted]


def differences_of_steps(case: Case, steps: list[Any], ids: list[int]) -> list[str]:
    """Where a play's steps (slow_replica.Step) differ from the recorded ones."""
    found = []
    if len(steps) != len(case.steps):
        found.append(f"{len(steps)} steps, recorded {len(case.steps)}")
    for number, (step, want) in enumerate(zip(steps, case.steps, strict=False)):
        got = {
            "sched": [[ids[entry.seq.serial], entry.num_tokens, entry.before] for entry in step.entries],
            "admit": [[ids[serial], cached, int(resumed)] for serial, cached, resumed in step.admitted],
            "preempt": [ids[serial] for serial in step.preempted],
            "running": step.num_running,
            "waiting": step.num_waiting,
            "free": step.free_blocks,
            "free_end": step.free_blocks_end,
        }
        for name, value in got.items():
            if value != want[name]:
                found.append(f"step {number}: {name} is {value}, recorded {want[name]}")
        for name, t_s in (("t_start", step.start_s), ("t_end", step.end_s)):
            if not math.isclose(t_s, want[name], rel_tol=1e-9, abs_tol=1e-9):
                found.append(f"step {number}: {name} is {t_s!r}, recorded {want[name]!r}")
    return found
