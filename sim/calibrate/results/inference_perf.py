"""inference-perf's `summary_lifecycle_metrics.json` and `stage_N_lifecycle_metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sim.calibrate.results.measured import Fields, Measured, concurrency, rate
from sim.errors import Problem

TOOL: Final = "inference-perf"
_LATENCIES: Final = {
    "time_to_first_token": "ttft",
    "time_per_output_token": "tpot",
    "inter_token_latency": "itl",
    "request_latency": "e2e",
}
_STATISTICS: Final = {"mean": "mean", "median": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p99.9": "p99.9"}
_THROUGHPUTS: Final = {
    "output_tokens_per_sec": "output_throughput",
    "total_tokens_per_sec": "total_throughput",
    "requests_per_sec": "request_throughput",
}


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether an object is such a summary."""
    return "load_summary" in data and "successes" in data


def read(data: Mapping[str, Any], problems: list[Problem], file: str) -> Measured:
    """Return what the object says; what is wrong with it is added to `problems`."""
    fields = Fields(data, problems, file)
    load, successes = fields.inner("load_summary"), fields.inner("successes")
    found = Measured(TOOL, file, num_requests=successes.count("count"))
    found.input_tokens = _mean(successes, ("prompt_tokens", "prompt_len"))
    found.output_tokens = _mean(successes, ("output_tokens", "output_len"))
    for theirs, ours in _LATENCIES.items():
        statistics = successes.inner("latency", theirs)
        for name, statistic in _STATISTICS.items():
            value_s = statistics.number(name)
            found.add(f"{ours}_{statistic}", None if value_s is None else value_s * 1e3)
    throughput = successes.inner("throughput")
    for theirs, ours in _THROUGHPUTS.items():
        found.add(ours, throughput.number(theirs))
    if failed := fields.inner("failures").count("count"):
        found.notes.append(f"failed={failed}")
    per_s, users = load.number("requested_rate"), load.number("concurrency")
    found.load = concurrency(users) if users else rate(per_s) if per_s else None
    return found


def _mean(successes: Fields, names: tuple[str, ...]) -> float | None:
    """Return a mean length: of statistics, of the statistics of all tokens, or of a total and the count."""
    for name in names:
        if name not in successes:
            continue
        lengths = successes.inner(name)
        if isinstance(lengths.data.get("total"), Mapping):
            lengths = lengths.inner("total")
        if (mean := lengths.number("mean")) is not None:
            return mean
        total, count = lengths.number("total"), successes.number("count")
        if total and count:
            return total / count
    return None
