"""A result for the terminal: vLLM's block of `bench serve`, then a table by tier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from sim.report import money, tables, text
from sim.report.panel import Table

_WIDTH = 50
_TOTALS = (
    ("Successful requests:", "completed"),
    ("Failed requests:", "failed"),
    ("Benchmark duration (s):", "duration"),
    ("Total input tokens:", "total_input_tokens"),
    ("Total generated tokens:", "total_output_tokens"),
    ("Request throughput (req/s):", "request_throughput"),
    ("Request goodput (req/s):", "request_goodput"),
    ("Output token throughput (tok/s):", "output_throughput"),
    ("Peak output token throughput (tok/s):", "max_output_tokens_per_s"),
    ("Peak concurrent requests:", "max_concurrent_requests"),
    ("Total token throughput (tok/s):", "total_token_throughput"),
)
_LATENCIES = (
    ("ttft", "Time to First Token"),
    ("tpot", "Time per Output Token (excl. 1st token)"),
    ("itl", "Inter-token Latency"),
    ("e2el", "End-to-end Latency"),
)
_STATISTICS = (("Mean", "mean"), ("Median", "median"), ("P99", "p99"))


def render_result(result: Mapping[str, Any], info: Mapping[str, Any]) -> RenderableType:
    """Return a run's result as text for `rich`: vLLM's labels, the verdict, and a table by tier."""
    saturated = result["sim"]["saturation"]["verdict"] == "saturated"
    return Group(
        Text("\n".join(_block(result))),
        Text(tables.verdict(result), style="bold red" if saturated else "bold green"),
        *_warning(text.not_answered(result)),
        *_line(text.retried(result)),
        _table("By tier", tables.by_tier(result)),
        *(_table("By language", found) for found in [tables.by_language_in_short(result)] if found is not None),
        Text(_costs(result)),
        *_line(money.in_short(result)),
        *_line(text.safety(result)),
        *_line(text.cached(result)),
        *_line(text.calibrated(result)),
        *_warning(text.extrapolated(result)),
        Text(_pace(info), style="dim"),
    )


def _line(sentence: str | None) -> Iterator[Text]:
    """Yield the sentence, if there is one."""
    if sentence is not None:
        yield Text(sentence)


def _warning(sentence: str | None) -> Iterator[Text]:
    """Yield the sentence if there is one."""
    if sentence is not None:
        yield Text(sentence, style="yellow")


def _block(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of vLLM's console block (vllm/benchmarks/serve.py); what does not exist is left out."""
    yield " Serving Benchmark Result ".center(_WIDTH, "=")
    for label, key in _TOTALS:
        if result[key] is not None:
            yield f"{label:<40} {_number(result[key]):<10}".rstrip()
    for name, title in _LATENCIES:
        yield title.center(_WIDTH, "-")
        for word, statistic in _STATISTICS:
            value = result[f"{statistic}_{name}_ms"]
            yield f"{f'{word} {name.upper()} (ms):':<40} {_number(value):<10}".rstrip()
    yield "=" * _WIDTH


def _number(value: float | None) -> str:
    if value is None:
        return text.NONE
    return str(value) if isinstance(value, int) else f"{value:.2f}"


def _table(title: str, content: Table) -> RichTable:
    table = RichTable(box=box.SIMPLE, title=title, title_justify="left", collapse_padding=True)
    for i, name in enumerate(content.header):
        table.add_column(Text(name), justify="left" if i == 0 else "right")
    for row in content.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _costs(result: Mapping[str, Any]) -> str:
    cost, energy = result["sim"]["cost"], result["sim"]["energy"]
    return (
        f"Cost: {text.usd(cost['total_usd'])} (idle {text.usd(cost['idle_usd'])}), "
        f"{text.usd(cost['usd_per_1m_output_tokens'])} per 1M output tokens; "
        f"{text.number(energy['gpu_hours'])} GPU hours, {text.number(energy['total_kwh'])} kWh."
    )


def _pace(info: Mapping[str, Any]) -> str:
    """Return how the run went on this machine, from what is known of it."""
    parts = []
    if (wall_s := info.get("wall_s")) is not None:
        parts.append(f"simulated in {text.time(wall_s)}")
    if (rate := info.get("requests_per_wall_s")) is not None:
        parts.append(f"{text.number(rate)} requests per second of wall time")
    if (clock := info.get("clock")) is not None:
        parts.append(f"{clock} clock")
    return ", ".join(parts)
