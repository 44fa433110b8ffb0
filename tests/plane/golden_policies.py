"""Golden cases of the batch policies that are not vLLM's, as the readable model plays them: written, not checked, here.

When a rule is meant to change, write them anew: `PYTHONPATH=.:tests/plane python tests/plane/golden_policies.py`.
"""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from golden import Case, as_recorded, as_world
from slow_model import Result, play

FOLDER = Path(__file__).parents[1] / "golden_policies"
USUAL = {
    "max_num_seqs": 6, "max_num_batched_tokens": 48, "max_model_len": 96, "num_gpu_blocks": 29, "block_size": 4,
    "enable_prefix_caching": True, "enable_chunked_prefill": True, "long_prefill_token_threshold": 0,
    "long_prefill_token_threshold_adaptive": False, "policy": "fcfs", "watermark": 0.0,
    "scheduler_reserve_full_isl": True, "max_num_active_seqs": None, "prefill_schedule_interval": 1,
    "async_scheduling": False, "step_time": {"c0": 0.006, "c1": 2.5e-05, "c2": 2e-08, "c3": 1.5e-09},
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "reserve_full": {"batch_policy": "reserve_full"},
    "reserve_full_async": {"batch_policy": "reserve_full", "async_scheduling": True, "watermark": 0.1},
    "static": {"batch_policy": "static"},
    "static_alone": {"batch_policy": "static", "max_num_seqs": 1},
    "prefill_first": {"batch_policy": "prefill_first", "max_num_batched_tokens": 24},
    "prefill_first_crowded": {
        "batch_policy": "prefill_first", "max_num_batched_tokens": 24, "num_gpu_blocks": 25, "policy": "priority",
        "scheduler_reserve_full_isl": False,
    },
}  # fmt: skip
NUM_REQUESTS = 40


def requests() -> list[dict[str, Any]]:
    """Prompts that begin alike, some of them with an earlier answer, at times that are no step's end."""
    random = np.random.default_rng(7)
    found: list[dict[str, Any]] = []
    t_s = 0.0
    for number in range(NUM_REQUESTS):
        t_s += float(random.integers(1, 20_000)) * 1e-6 + 1e-7
        prompt = [[f"system{random.integers(3)}", 10]]
        if number > 8 and random.random() < 0.4:
            before = found[int(random.integers(number - 6, number))]
            prompt = [*before["prompt"], [f"out:{before['id']}", before["output"]]]
        prompt = [*prompt, [f"u{number}", int(random.integers(1, 20))]]
        output = int(random.integers(1, 25))
        if sum(tokens for _, tokens in prompt) + output > 48:
            prompt = prompt[-1:]
        request = {"id": number, "arrival": round(t_s, 7), "prompt": prompt, "output": output}
        found.append(request | {"priority": number % 3})
    return found


def record(case: Case, result: Result, ids: list[int], serial: int) -> dict[str, Any]:
    """A request's row."""
    row, steps = result.records[serial], result.steps
    emitted = [n for n, step in enumerate(steps) for e in step.entries if e.emits and e.seq.serial == serial]
    gaps_s = sorted(np.diff([steps[number].end_s for number in emitted]).tolist())
    hits = [cached for step in steps for one, cached, resumed in step.admitted if one == serial and resumed]
    starts = [n for n in emitted if n - 1 not in emitted]
    ends = [n for n in emitted if n + 1 not in emitted]
    priority = {request["id"]: request["priority"] for request in case.requests}
    return {
        "id": ids[serial], "arrival": row["arrived_s"], "priority": priority[ids[serial]],
        "prompt_tokens": row["prompt_tokens"], "output_tokens": row["output_tokens"],
        "first_sched": row["scheduled_s"], "cached_tokens": row["cached_tokens"],
        "preemptions": row["num_preemptions"], "recached_tokens": sum(hits),
        "ttft": row["first_token_s"] - row["arrived_s"], "e2e": row["end_s"] - row["arrived_s"],
        "finish": row["end_s"], "itl_mean": sum(gaps_s) / len(gaps_s) if gaps_s else None,
        "itl_p50": gaps_s[(len(gaps_s) - 1) // 2] if gaps_s else None, "itl_max": gaps_s[-1] if gaps_s else None,
        "token_steps": " ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in zip(starts, ends, strict=True)),
    }  # fmt: skip


def write(folder: Path, config: dict[str, Any]) -> None:
    """Play a case and write its four files."""
    folder.mkdir(parents=True, exist_ok=True)
    case = Case(folder.name, USUAL | config, requests(), [], [])
    world, (rows, segments), ids = as_world(case)
    result = play(world, rows, segments=segments)
    lines = [json.dumps(as_recorded(number, step, ids)) for number, step in enumerate(result.steps)]
    records = [record(case, result, ids, serial) for serial in range(len(ids))]
    (folder / "config.json").write_text(json.dumps(case.config, indent=1) + "\n")
    each = ",\n".join(json.dumps(request) for request in case.requests)
    (folder / "requests.json").write_text(f"[\n{each}\n]\n")
    (folder / "steps.jsonl.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))
    with (folder / "requests_out.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(records, key=lambda row: row["id"]))


if __name__ == "__main__":
    for name, config in CASES.items():
        write(FOLDER / name, config)
