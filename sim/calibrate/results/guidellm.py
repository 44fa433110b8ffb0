"""GuideLLM's `benchmarks.json`: one report, a benchmark for each strategy of its sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sim.calibrate.results.measured import Fields, Measured, all_at_once, concurrency, find, rate
from sim.errors import Problem

TOOL: Final = "guidellm"
_LATENCIES: Final = (
    ("time_to_first_token_ms", "ttft", 1.0),
    ("inter_token_latency_ms", "tpot", 1.0),  # per request, without the first token; `time_per_output_token_ms` is not
    ("request_latency", "e2e", 1e3),  # [s]
)
_PERCENTILES: Final = {"p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99", "p999": "p99.9"}
"""GuideLLM's p999 is the 99.9th percentile, its p01 the first."""


def recognise(data: Mapping[str, Any]) -> bool:
    """Whether an object is such a report."""
    metadata = data.get("metadata")
    named = isinstance(metadata, Mapping) and "guidellm_version" in metadata
    return "benchmarks" in data and (named or find(data["benchmarks"], ["type_"]) is not None)


def read(data: Mapping[str, Any], problems: list[Problem], file: str) -> list[Measured]:
    """Return each benchmark of the report; what is wrong is added to `problems`."""
    fields = Fields(data, problems, file)
    settings = [data.get("config"), data.get("args")]
    return [_benchmark(one, settings, file) for one in fields.each("benchmarks")]


def _benchmark(fields: Fields, settings: list[Any], file: str) -> Measured:
    model = find([fields.data.get("config"), *settings], ["model"])
    found = Measured(TOOL, file, model=model if isinstance(model, str) else None)
    metrics = fields.inner("metrics")

    def successful(name: str) -> Fields:
        return metrics.inner(name, "successful")

    totals = metrics.inner("request_totals")
    found.num_requests = totals.count("successful")
    found.input_tokens = successful("prompt_token_count").number("mean")
    found.output_tokens = successful("output_token_count").number("mean")
    for name, ours, to_ms in _LATENCIES:
        statistics = successful(name)
        percentiles = statistics.inner("percentiles")
        _add(found, f"{ours}_mean", statistics.number("mean"), to_ms)
        _add(found, f"{ours}_p50", statistics.number("median"), to_ms)
        for theirs, quantile in _PERCENTILES.items():
            _add(found, f"{ours}_{quantile}", percentiles.number(theirs), to_ms)
    found.add("request_throughput", successful("requests_per_second").number("mean"))
    found.add("output_throughput", successful("output_tokens_per_second").number("mean"))
    found.add("total_throughput", successful("tokens_per_second").number("mean"))
    for what in ("incomplete", "errored"):
        if number := totals.count(what):
            found.notes.append(f"{what}={number}")
    found.load = _load(found, fields)
    return found


def _add(found: Measured, metric: str, value: float | None, factor: float) -> None:
    found.add(metric, None if value is None else value * factor)


def _load(found: Measured, fields: Fields) -> str | None:
    """Return the load of a strategy: synchronous, concurrent, throughput, constant or poisson."""
    strategy = fields.inner("config", "strategy") if "config" in fields else fields.inner("args", "strategy")
    kind = strategy.text("type_")
    if kind == "synchronous":
        return concurrency(1)
    if kind == "concurrent":
        users = strategy.number("streams")
        return concurrency(users) if users else None
    if kind in ("constant", "poisson"):
        if kind == "constant":
            found.notes.append("requests at equal intervals")
        per_s = strategy.number("rate")
        return rate(per_s) if per_s else None
    if kind == "throughput":
        cap = strategy.number("max_concurrency")
        if cap:
            return concurrency(cap)
        return all_at_once(found.num_requests) if found.num_requests else None
    return None
