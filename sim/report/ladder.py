"""A ladder for the terminal: one line a rung, and how it compares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.report import text

_HEADER = ("rung", "what it switches", "against", "tokens/s", "times", "TTFT", "ITL", "ITL, p99", "per 1M tokens", "")
_FIGURES = slice(3, 9)


def render_ladder(name: str, rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return the table of a ladder for `rich`; parts of the ladder are set apart by a line."""
    table = Table(title=f"Rungs of {name}", title_justify="left", box=box.SIMPLE_HEAD)
    for i, title in enumerate(_HEADER):
        table.add_column(title, justify="right" if i in range(*_FIGURES.indices(len(_HEADER))) else "left")
    for i, row in enumerate(rows):
        if i > 0 and row["against"] is None:
            table.add_section()
        table.add_row(*map(Text, _cells(row)))
    return Group(table, Text("Output tokens/s, and times those of the rung compared with; medians of TTFT and ITL."))


def _cells(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands in a rung's line."""
    yield from (row["rung"], row["switches"], row["against"] or "")
    yield text.number(row["output_throughput"])
    yield text.number(row["output_throughput_factor"])
    yield from (text.millis(row[name]) for name in ("median_ttft_ms", "median_itl_ms", "p99_itl_ms"))
    yield text.usd(row["usd_per_1m_output_tokens"])
    yield f"not run: {row['problem']}" if row["problem"] else _expected(row)


def _expected(row: Mapping[str, Any]) -> str:
    return f"expected: {row['expected']}" if row["expected"] else ""
