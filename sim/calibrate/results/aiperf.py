"""AIPerf's `profile_export_aiperf.json` and `.csv`, and GenAI-Perf's, its forerunner: the same tags and statistics."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from typing import Any, Final

from sim.calibrate.results.measured import Fields, Measured, all_at_once, concurrency, find, rate
from sim.errors import Problem

TOOL: Final = "aiperf"
_LATENCIES: Final = {
    "time_to_first_token": "ttft",
    "inter_token_latency": "tpot",  # per request, without the first token: what others call time per output token
    "inter_chunk_latency": "itl",
    "request_latency": "e2e",
}
_THROUGHPUTS: Final = {
    "output_token_throughput": "output_throughput",
    "total_token_throughput": "total_throughput",
    "request_throughput": "request_throughput",
}
_STATISTICS: Final = {"avg": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
_TO_MS: Final = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3, "sec": 1e3, "seconds": 1e3, "milliseconds": 1.0}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether an object is such a result."""
    latency = data.get("request_latency")
    return "aiperf_version" in data or (isinstance(latency, Mapping) and "avg" in latency and "unit" in latency)


def read(data: Mapping[str, Any], problems: list[Problem], file: str) -> Measured:
    """Return what the object says; what is wrong with it is added to `problems`."""
    fields = Fields(data, problems, file)
    settings = data.get("input_config")
    found = Measured("aiperf" if "aiperf_version" in data else "genai-perf", file, model=_model(settings))
    started = data.get("start_time")
    found.date = started[:10] if isinstance(started, str) else None
    found.input_tokens = fields.inner("input_sequence_length").number("avg")
    found.output_tokens = fields.inner("output_sequence_length").number("avg")
    found.num_requests = fields.inner("request_count").count("avg")
    for tag, ours in _LATENCIES.items():
        _latency(found, fields.inner(tag), ours, problems, file, tag)
    for tag, ours in _THROUGHPUTS.items():
        found.add(ours, fields.inner(tag).number("avg"))
    if errors := fields.inner("error_request_count").count("avg"):
        found.notes.append(f"failed={errors}")
    if data.get("was_cancelled"):
        problems.append(Problem("the benchmark was cancelled before its end", file))
    found.load = _load(settings, found.num_requests)
    return found


def _latency(found: Measured, statistics: Fields, ours: str, problems: list[Problem], file: str, tag: str) -> None:
    if not statistics.data:
        return
    unit = statistics.text("unit") or "ms"
    if unit not in _TO_MS:
        problems.append(Problem(f'unit "{unit}" is not known. Known: {", ".join(_TO_MS)}', file, None, tag))
        return
    for theirs, name in _STATISTICS.items():
        value = statistics.number(theirs)
        found.add(f"{ours}_{name}", None if value is None else value * _TO_MS[unit])


def _model(settings: Any) -> str | None:
    """Return the one model that was asked, under whichever name this version keeps it."""
    named = find(settings, ["model_names", "model_name", "model"])
    if named is None and isinstance(settings, Mapping):
        named = find(settings.get("models"), ["name"])
    if isinstance(named, list) and len(named) == 1:
        named = named[0]
    return named if isinstance(named, str) else None


def _load(settings: Any, num_requests: int | None) -> str | None:
    """Return the load that was asked for; a rate beats a cap on concurrency."""
    per_s, users = (find(settings, [name]) for name in ("request_rate", "concurrency"))
    if isinstance(per_s, int | float) and per_s > 0:
        return rate(per_s)
    if isinstance(users, int | float) and users > 0:
        return all_at_once(num_requests) if num_requests and users >= num_requests else concurrency(users)
    return None


_HEADING: Final = re.compile(r"^(.*?)\s*(?:\(([^()]*)\))?$")


def recognise_csv(lines: list[str]) -> bool:
    """Whether the lines of a CSV file are such a result."""
    return bool(lines) and lines[0].replace('"', "").startswith("Metric,avg")


def read_csv(lines: list[str], problems: list[Problem], file: str) -> Measured:
    """Return what a CSV export says: it has the metrics, neither the model nor the load."""
    data: dict[str, Any] = {"aiperf_version": ""}
    columns: list[str] = []
    for line, cells in enumerate(csv.reader(lines), start=1):
        if not cells:
            columns = []
        elif not columns:
            columns = cells
        elif columns[0] == "Metric":
            name, unit = _HEADING.match(cells[0]).groups()  # type: ignore[union-attr]  # the pattern matches any text
            data[name.strip().lower().replace(" ", "_")] = {"unit": unit} | {
                {"Value": "avg"}.get(column, column): _cell(cell, problems, file, line)
                for column, cell in zip(columns[1:], cells[1:], strict=False)
            }
    return read(data, problems, file)


def _cell(text: str, problems: list[Problem], file: str, line: int) -> float | None:
    cleaned = text.replace(",", "").strip()
    if cleaned in ("", "N/A", "nan"):
        return None
    try:
        return float(cleaned)
    except ValueError:
        problems.append(Problem(f'"{text}" is no number', file, line))
        return None
