"""Records of vLLM's own scheduler (see the README beside them), and the same cases as worlds of one replica."""

import csv
import gzip
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slow_draws as draws

from sim.cost.step_times import StepTimes
from sim.plane.world import Pool, Visit, World
from sim.traffic.arrivals import ARRIVAL, SEGMENT, Chunk, TrafficClass

SEED = 1
TIME_TOL = 1e-9
SETTINGS = (
    "num_gpu_blocks", "max_num_seqs", "max_num_batched_tokens", "block_size", "max_model_len", "watermark",
    "scheduler_reserve_full_isl", "enable_chunked_prefill", "enable_prefix_caching", "async_scheduling",
    "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive", "prefill_schedule_interval",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One recorded run."""

    name: str
    config: dict[str, Any]
    requests: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    records: list[dict[str, str]]


def read_case(folder: Path) -> Case:
    """Read one folder of records."""
    with gzip.open(folder / "steps.jsonl.gz", "rt") as file:
        steps = [json.loads(line) for line in file]
    with (folder / "requests_out.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    config = json.loads((folder / "config.json").read_text())
    return Case(folder.name, config, json.loads((folder / "requests.json").read_text()), steps, records)


def key_of(segment: str) -> int:
    """A segment's key: of `out:i`, the answer of request i, the one that user i's first conversation writes."""
    if segment.startswith("out:"):
        return draws.bits(SEED, draws.CONTENT, int(segment.removeprefix("out:")), 0, 0)
    return int.from_bytes(hashlib.blake2b(segment.encode(), digest_size=8).digest(), "little")


def as_world(case: Case) -> tuple[World, Chunk, list[int]]:
    """The case as a world of one replica, its arrivals (request i is user i), and the recorded id of each row."""
    config = case.config
    most_seqs = max(config["max_num_seqs"], config["max_num_active_seqs"] or 0)
    coefficients = [config["step_time"][name] for name in ("c0", "c1", "c2", "c3")]
    pool = Pool(
        name="main",
        step_times=StepTimes.linear(*coefficients, config["max_num_batched_tokens"], most_seqs),
        num_replicas=1,
        scheduling_policy=config["policy"],
        max_num_active_seqs=config["max_num_active_seqs"] or 0,
        batch_policy=config.get("batch_policy", "vllm_v1"),
        **{name: config[name] for name in SETTINGS},
    )
    order = sorted(case.requests, key=lambda request: (request["arrival"], request["id"]))
    priorities = sorted({request.get("priority", 0) for request in order})
    rows, segments = [], []
    for request in order:
        prompt, class_id = request["prompt"], priorities.index(request.get("priority", 0))
        lengths = sum(tokens for _, tokens in prompt), request["output"]
        rows.append((request["arrival"], request["id"], 0, 1, *lengths, class_id, 0, -1, len(prompt)))
        segments += [(key_of(name), tokens, 0) for name, tokens in prompt]
    none = np.zeros(1025)
    classes = tuple(
        TrafficClass(
            name=f"priority {priority}", tier="all", path="main", priority=priority, prefix_tokens=0, prefix_group="",
            user_tokens=none, output_tokens=none, gap_s=none, patience_s=None, min_think_s=0.0, keep_history=False,
            max_context_tokens=1 << 30, is_program=True,
        )
        for priority in priorities
    )  # fmt: skip
    world = World(pools=(pool,), paths={"main": (Visit(0),)}, classes=classes, seed=SEED)
    return world, Chunk(np.array(rows, ARRIVAL), np.array(segments, SEGMENT)), [request["id"] for request in order]


def same(got: Any, want: Any) -> bool:
    """Integers and lists exactly, times closely."""
    return math.isclose(got, want, rel_tol=TIME_TOL, abs_tol=TIME_TOL) if isinstance(want, float) else got == want


def differences_of_records(case: Case, records: list[dict[str, Any]], ids: list[int]) -> list[str]:
    """Where a play's request records differ from the recorded ones."""
    found = []
    wanted = {int(record["id"]): record for record in case.records}
    for record in records:
        want = wanted.pop(ids[record["serial"]])
        arrived_s = float(want["arrival"])
        fields = {
            "arrived_s": arrived_s,
            "prompt_tokens": int(want["prompt_tokens"]),
            "output_tokens": int(want["output_tokens"]),
            "cached_tokens": int(want["cached_tokens"]),
            "num_preemptions": int(want["preemptions"]),
            "scheduled_s": float(want["first_sched"]),
            "first_token_s": arrived_s + float(want["ttft"]),
            "end_s": float(want["finish"]),
        }
        for name, value in fields.items():
            if not same(record[name], value):
                found.append(f"request {want['id']}: {name} is {record[name]!r}, recorded {value!r}")
        if not same(record["end_s"] - arrived_s, float(want["e2e"])):
            found.append(f"request {want['id']}: took {record['end_s'] - arrived_s!r} s, recorded {want['e2e']}")
    return found + [f"request {number} has no record" for number in wanted]


def differences_of_tokens(case: Case, steps: list[Any], ids: list[int]) -> list[str]:
    """Where the tokens that a play's steps gave, and the hits of resumed requests, differ from the recorded ones."""
    numbers: dict[int, list[int]] = {number: [] for number in ids}
    recached = dict.fromkeys(ids, 0)
    for number, step in enumerate(steps):
        for entry in step.entries:
            if entry.emits:
                numbers[ids[entry.seq.serial]].append(number)
        for serial, cached, resumed in step.admitted:
            recached[ids[serial]] += cached * resumed
    found = []
    for want in case.records:
        mine = numbers[int(want["id"])]
        times_s = [steps[number].end_s for number in mine]
        gaps_s = sorted(np.diff(times_s).tolist())
        fields: dict[str, tuple[Any, Any]] = {
            "token_steps": (mine, spread(want["token_steps"])),
            "recached_tokens": (recached[int(want["id"])], int(want["recached_tokens"])),
        }
        if gaps_s:
            fields["itl_mean"] = sum(gaps_s) / len(gaps_s), float(want["itl_mean"])
            fields["itl_p50"] = gaps_s[(len(gaps_s) - 1) // 2], float(want["itl_p50"])
            fields["itl_max"] = gaps_s[-1], float(want["itl_max"])
        elif want["itl_mean"]:
            found.append(f"request {want['id']}: no gaps, recorded {want['itl_mean']} s")
        for name, (got, value) in fields.items():
            if not same(got, value):
                found.append(f"request {want['id']}: {name} is {got!r}, recorded {value!r}")
    return found


def spread(ranges: str) -> list[int]:
    """The numbers of '3-5 9'."""
    bounds = [[int(number) for number in part.split("-")] for part in ranges.split()]
    return [number for pair in bounds for number in range(pair[0], pair[-1] + 1)]


def as_recorded(number: int, step: Any, ids: list[int]) -> dict[str, Any]:
    """A play's step (slow_step.Step) in the form of the records."""
    return {
        "step": number,
        "t_sched": step.scheduled_s,
        "t_start": step.start_s,
        "t_end": step.end_s,
        "sched": [[ids[entry.seq.serial], entry.num_tokens, entry.before] for entry in step.entries],
        "admit": [[ids[serial], cached, int(resumed)] for serial, cached, resumed in step.admitted],
        "preempt": [ids[serial] for serial in step.preempted],
        "running": step.num_running,
        "waiting": step.num_waiting,
        "free": step.free_blocks,
        "hashed": step.cached_blocks,
        "finish": [ids[serial] for serial in step.finished],
        "free_end": step.free_blocks_end,
    }


def differences_of_steps(case: Case, steps: list[Any], ids: list[int]) -> list[str]:
    """Where a play's steps (slow_step.Step) differ from the recorded ones."""
    found = []
    if len(steps) != len(case.steps):
        found.append(f"{len(steps)} steps, recorded {len(case.steps)}")
    for number, (step, want) in enumerate(zip(steps, case.steps, strict=False)):
        got = as_recorded(number, step, ids)
        assert got.keys() == want.keys()
        for name, value in got.items():
            if not same(value, want[name]):
                found.append(f"step {number}: {name} is {value}, recorded {want[name]}")
    return found
