"""Recorded scheduler cases: what a real engine's scheduler did with some requests, step by step, read and checked.

A case is a folder of four files::

    config.json        the scheduler's settings, all written out, and the coefficients of the step time
    requests.json      [{"id", "arrival", "prompt": [[segment, tokens], ...], "output", "priority"?}, ...]
    steps.jsonl.gz     one object for each step that scheduled a token
    requests_out.csv   one row for each request

Two prompt tokens are equal if their segment's name and their place in it are; `out:5` names the output of request 5.
"""

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from sim.cost.step_times import StepTimes
from sim.errors import Problem, TraceError, did_you_mean
from sim.plane.world import (
    BATCH_POLICIES,
    ONLY_VLLM_V1,
    POLICIES,
    SYNCHRONOUS,
    TABLE_STEPS,
    Pool,
    Visit,
    World,
)
from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, NO_LIMIT, SEGMENT, Chunk, TrafficClass

CONFIG, REQUESTS, STEPS, RECORDS = FILES = ("config.json", "requests.json", "steps.jsonl.gz", "requests_out.csv")
MAX_PROBLEMS = 20  # of one file
_MOST = 2**31 - 1
T = TypeVar("T")
Rule = tuple[Callable[[Any], bool], str]


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded run."""

    name: str
    config: Mapping[str, Any]
    requests: Sequence[Mapping[str, Any]]
    """In order of arrival, then of id."""
    steps: Sequence[Mapping[str, Any]]
    records: Mapping[int, Mapping[str, Any]]
    """Rows of requests_out.csv by id; an empty cell is None."""


def find_cases(folders: Iterable[str | Path]) -> list[Path]:
    """The folders of cases among and right below those given; raises TraceError where there is none."""
    found: list[Path] = []
    problems = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            problems.append(Problem("no such folder", str(folder)))
            continue
        cases = [each for each in (folder, *sorted(folder.iterdir())) if any((each / name).is_file() for name in FILES)]
        if not cases:
            problems.append(Problem(f"no recorded case here or one folder below: {', '.join(FILES)}", str(folder)))
        found += cases
    TraceError.raise_if(problems)
    return list(dict.fromkeys(found))


def read_case(folder: Path) -> Case:
    """Read one case; raises TraceError with all that is wrong with its files."""
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, reader in zip(FILES, (_config, _requests, _steps, _records), strict=True):
        try:
            found[name] = reader(_text(folder / name), str(folder / name))
        except TraceError as error:
            problems += error.problems
    TraceError.raise_if(problems)
    config, requests, steps, records = found.values()
    _check_together(folder, config, requests, records)
    return Case(folder.name, config, requests, steps, records)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text: byte 0x{error.object[error.start]:02x}"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        message = f"the gzip file is damaged or cut off: {error}"
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
    raise TraceError(Problem(message, str(path)))


# ------------------------------------------------------------------ what a value must be


def _is_int(value: Any) -> bool:
    return type(value) is int


def _is_time(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _are_lists(value: Any, width: int) -> bool:
    return isinstance(value, list) and all(isinstance(row, list) and len(row) == width for row in value)


def _is_prompt(value: Any) -> bool:
    return bool(value) and _are_lists(value, 2) and all(isinstance(name, str) and _is_count(n) for name, n in value)


def _is_count(value: Any) -> bool:
    return _is_int(value) and 1 <= value <= _MOST


def _are_entries(value: Any) -> bool:
    return _are_lists(value, 3) and all(_is_int(number) for row in value for number in row)


COUNT: Rule = (_is_count, "a whole number from 1 on")
NATURAL: Rule = (lambda value: _is_int(value) and 0 <= value <= _MOST, "a whole number from 0 on")
WHOLE: Rule = (_is_int, "a whole number")
SECONDS: Rule = (_is_time, "a time from 0 on [s]")
FLAG: Rule = (lambda value: isinstance(value, bool), "true or false")
IDS: Rule = (lambda value: isinstance(value, list) and all(map(_is_int, value)), "a list of ids")
ENTRIES: Rule = (_are_entries, "a list of [id, whole number, whole number]")

CONFIG_KEYS: Mapping[str, Rule] = {
    "max_num_seqs": COUNT,
    "max_num_batched_tokens": COUNT,
    "max_model_len": COUNT,
    "num_gpu_blocks": (lambda value: _is_int(value) and 2 <= value <= _MOST, "a whole number from 2 on"),
    "block_size": COUNT,
    "enable_prefix_caching": FLAG,
    "enable_chunked_prefill": FLAG,
    "long_prefill_token_threshold": NATURAL,
    "long_prefill_token_threshold_adaptive": FLAG,
    "policy": (lambda value: value in POLICIES, " or ".join(POLICIES)),
    "watermark": (lambda value: _is_time(value) and value < 1, "a number from 0 to 1"),
    "scheduler_reserve_full_isl": FLAG,
    "max_num_active_seqs": (lambda value: value is None or _is_count(value), "null or a whole number from 1 on"),
    "prefill_schedule_interval": COUNT,
    "async_scheduling": FLAG,
    "step_time": (lambda value: isinstance(value, dict), "an object with c0, c1, c2 and c3"),
}
OPTIONAL_KEYS: Mapping[str, Rule] = {
    "batch_policy": (lambda value: value in BATCH_POLICIES, " or ".join(BATCH_POLICIES)),
}
STEP_TIME_KEYS: Mapping[str, Rule] = dict.fromkeys(("c0", "c1", "c2", "c3"), SECONDS)
REQUEST_KEYS: Mapping[str, Rule] = {
    "id": NATURAL,
    "arrival": SECONDS,
    "prompt": (_is_prompt, "a list of [segment, tokens]"),
    "output": COUNT,
}
STEP_KEYS: Mapping[str, Rule] = {
    "step": NATURAL,
    "t_sched": SECONDS,
    "t_start": SECONDS,
    "t_end": SECONDS,
    "sched": ENTRIES,
    "admit": ENTRIES,
    "preempt": IDS,
    "running": NATURAL,
    "waiting": NATURAL,
    "free": NATURAL,
    "hashed": NATURAL,
    "finish": IDS,
    "free_end": NATURAL,
}
RECORD_TYPES: Mapping[str, Callable[[str], Any]] = {
    "id": int,
    "arrival": float,
    "priority": int,
    "prompt_tokens": int,
    "output_tokens": int,
    "first_sched": float,
    "cached_tokens": int,
    "preemptions": int,
    "recached_tokens": int,
    "ttft": float,
    "e2e": float,
    "finish": float,
    "itl_mean": float,
    "itl_p50": float,
    "itl_max": float,
    "token_steps": str,
}
MAY_BE_EMPTY = ("itl_mean", "itl_p50", "itl_max")


def _misfits(data: Mapping[str, Any], rules: Mapping[str, Rule], place: str = "") -> Iterable[tuple[str, str]]:
    """(dotted path, message) of each key that is absent or wrong."""
    for name, (fits, wanted) in rules.items():
        if name not in data:
            yield place + name, "missing"
        elif not fits(data[name]):
            yield place + name, f"must be {wanted}, got {json.dumps(data[name])[:80]}"


def _unknown(data: Mapping[str, Any], rules: Mapping[str, Rule], place: str = "") -> Iterable[tuple[str, str]]:
    for name in data:
        if name not in rules:
            yield place + name, f"unknown key. {did_you_mean(name, rules)}"


# ------------------------------------------------------------------ the four files


def _parsed(text: str, file: str, kind: type[T], what: str, line: int | None = None) -> T:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TraceError(Problem(f"not JSON: {error}", file, line)) from None
    if not isinstance(data, kind):
        raise TraceError(Problem(f"must be {what}, got {json.dumps(data)[:80]}", file, line))
    return data


def _config(text: str, file: str) -> dict[str, Any]:
    data: dict[str, Any] = _parsed(text, file, dict, "an object")
    rules = {**CONFIG_KEYS, **{name: rule for name, rule in OPTIONAL_KEYS.items() if name in data}}
    found = [*_unknown(data, rules), *_misfits(data, rules)]
    if isinstance(coefficients := data.get("step_time"), dict):
        found += _unknown(coefficients, STEP_TIME_KEYS, "step_time.")
        found += _misfits(coefficients, STEP_TIME_KEYS, "step_time.")
    if not found and data["max_num_batched_tokens"] < data["max_num_seqs"]:
        found.append(("max_num_batched_tokens", f"must be at least max_num_seqs ({data['max_num_seqs']})"))
    if not found and (policy := data.get("batch_policy", "vllm_v1")) != "vllm_v1":
        strange = ONLY_VLLM_V1 + ("async_scheduling",) * (policy in SYNCHRONOUS)
        given = {name: data[name] or 0 for name in strange if name in data}
        found = [(name, f"not known to {policy}") for name, value in given.items() if value != getattr(Pool, name)]
    TraceError.raise_if(Problem(message, file, path=path) for path, message in found)
    return data


def _requests(text: str, file: str) -> list[dict[str, Any]]:
    data: list[Any] = _parsed(text, file, list, "a list")
    found: list[tuple[str, str]] = []
    seen: set[int] = set()
    for number, request in enumerate(data):
        if not isinstance(request, dict):
            found.append((f"[{number}]", "must be an object"))
            continue
        rules = {**REQUEST_KEYS, "priority": WHOLE} if "priority" in request else REQUEST_KEYS
        found += _misfits(request, rules, f"[{number}].")
        if type(name := request.get("id")) is int:
            if name in seen:
                found.append((f"[{number}].id", f"{name} is another request's id too"))
            seen.add(name)
    if not data:
        found.append(("", "no requests"))
    TraceError.raise_if(Problem(message, file, path=path) for path, message in found[:MAX_PROBLEMS])
    return sorted(data, key=lambda request: (request["arrival"], request["id"]))


def _steps(text: str, file: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for line, row in enumerate(text.splitlines(), 1):
        try:
            step: dict[str, Any] = _parsed(row, file, dict, "an object", line)
        except TraceError as error:
            problems.extend(error.problems)
            continue
        problems += [Problem(message, file, line, path) for path, message in _misfits(step, STEP_KEYS)]
        if step.get("step") != len(steps):
            problems.append(Problem(f"expected step {len(steps)}, got {step.get('step')}", file, line, "step"))
        steps.append(step)
        if len(problems) >= MAX_PROBLEMS:
            break
    TraceError.raise_if(problems[:MAX_PROBLEMS])
    return steps


def _records(text: str, file: str) -> dict[int, dict[str, Any]]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in RECORD_TYPES if name not in (rows.fieldnames or ())]:
        raise TraceError(Problem(f"the header lacks {', '.join(missing)}", file, 1))
    records: dict[int, dict[str, Any]] = {}
    problems: list[Problem] = []
    for row in rows:
        record: dict[str, Any] = {}
        for name, kind in RECORD_TYPES.items():
            cell = row[name] or ""
            try:
                record[name] = None if cell == "" and name in MAY_BE_EMPTY else kind(cell)
            except ValueError:
                wanted = "a whole number" if kind is int else "a number"
                problems.append(Problem(f'must be {wanted}, got "{cell}"', file, rows.line_num, name))
        records[record.get("id", -1)] = record
    TraceError.raise_if(problems[:MAX_PROBLEMS])
    return records


def _check_together(
    folder: Path, config: Mapping[str, Any], requests: Sequence[Mapping[str, Any]], records: Mapping[int, Any]
) -> None:
    """What no file shows alone."""
    problems = []
    for request in requests:
        name, length = request["id"], sum(tokens for _, tokens in request["prompt"])
        if length >= config["max_model_len"]:
            message = f"request {name}: a prompt of {length} tokens leaves no room in max_model_len"
            problems.append(Problem(message, str(folder / REQUESTS)))
        if name not in records:
            problems.append(Problem(f"no row for request {name}", str(folder / RECORDS)))
    known = {request["id"] for request in requests}
    problems += [
        Problem(f"{REQUESTS} has no request {name}", str(folder / RECORDS)) for name in records if name not in known
    ]
    TraceError.raise_if(problems[:MAX_PROBLEMS])


# ------------------------------------------------------------------ as the plane's input


def as_world(case: Case, cache: str = "extents") -> tuple[World, Chunk]:
    """A case as a world of one replica and its arrivals, whose users are the requests' ids; row n has serial n."""
    config = case.config
    max_seqs = max(config["max_num_seqs"], config["max_num_active_seqs"] or 0)
    same = set(CONFIG_KEYS) - {"policy", "max_num_active_seqs", "step_time"}
    pool = Pool(
        name="main",
        step_times=StepTimes.linear(
            **config["step_time"],
            max_tokens=max(config["max_num_batched_tokens"], max_seqs),
            max_seqs=max_seqs,
        ),
        num_replicas=1,
        scheduling_policy=config["policy"],
        max_num_active_seqs=config["max_num_active_seqs"] or 0,
        batch_policy=config.get("batch_policy", "vllm_v1"),
        cache=cache,
        **{name: config[name] for name in same},
    )
    priorities = sorted({request.get("priority", 0) for request in case.requests})
    never_drawn = np.zeros(TABLE_STEPS + 1)
    classes = [
        TrafficClass(
            name=f"priority {priority}",
            tier="recorded",
            path="main",
            priority=priority,
            prefix_tokens=0,
            prefix_group="",
            user_tokens=never_drawn,
            output_tokens=never_drawn,
            gap_s=never_drawn,
            patience_s=None,
            min_think_s=0.0,
            keep_history=False,
            max_context_tokens=NO_LIMIT,
            is_program=True,
        )
        for priority in priorities
    ]
    world = World(pools=(pool,), paths={"main": (Visit(0),)}, classes=classes)
    rows = np.zeros(len(case.requests), dtype=ARRIVAL)
    rows["t_s"] = [request["arrival"] for request in case.requests]
    rows["user"] = [request["id"] for request in case.requests]
    rows["num_turns"], rows["bucket"] = 1, -1
    rows["user_tokens"] = [sum(tokens for _, tokens in request["prompt"]) for request in case.requests]
    rows["output_tokens"] = [request["output"] for request in case.requests]
    rows["class_id"] = [priorities.index(request.get("priority", 0)) for request in case.requests]
    rows["num_segments"] = [len(request["prompt"]) for request in case.requests]
    keys: dict[str, int] = {}
    segments = [
        (keys.setdefault(name, segment_key(name, world.seed)), tokens, 0)
        for request in case.requests
        for name, tokens in request["prompt"]
    ]
    return world, Chunk(rows, np.array(segments, dtype=SEGMENT))


def segment_key(name: str, seed: int) -> int:
    """The key of a recorded segment; `out:5` has that of what request 5 puts out when the plane plays it."""
    label, _, number = name.partition(":")
    if label == "out" and number.isdecimal():
        word, none = draws.key(seed, draws.CONTENT), np.uint64(0)
        return int(draws.bits(word, np.uint64(int(number)), none, none))
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")
