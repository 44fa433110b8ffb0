"""What choices of a lifecycle change downstream, for the terminal and for a page: one line a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.report import text
from sim.study.echo import Row

HEAD: Final = (
    "choice",
    "instead of",
    "GPUs",
    "TTFT, median",
    "95 %",
    "ITL, median",
    "USD per 1M output tokens",
    "per user-month",
    "serving a month, M USD",
    "development, M USD",
    "for its life, M USD",
    "refused",
    "quality, a proxy",
)
NUM_WORDS: Final = 2
"""Columns of words before the figures."""


def cells(row: Row) -> tuple[str, ...]:
    """Return what stands in a choice's line."""
    return (
        row.choice,
        row.instead_of,
        text.number(row.num_gpus),
        text.millis(row.p50_ttft_ms),
        text.millis(row.p95_ttft_ms),
        text.millis(row.p50_itl_ms),
        text.number(row.usd_per_1m_output_tokens),
        text.number(row.usd_per_user_month),
        _millions(row.usd_per_month),
        _millions(row.development_usd),
        _millions(row.lifetime_usd),
        text.percent(row.refused_frac),
        row.why_not or row.proxy,
    )


def _millions(usd: float | None) -> str:
    return text.NONE if usd is None else f"{usd / 1e6:.1f}"


def render_choices(name: str, rows: Sequence[Row]) -> RenderableType:
    """Return the table for `rich`."""
    table = Table(title=f"What choices of {name} change downstream", title_justify="left", box=box.SIMPLE_HEAD)
    for place, title in enumerate(HEAD):
        table.add_column(title, justify="right" if NUM_WORDS <= place < len(HEAD) - 1 else "left")
    for row in rows:
        table.add_row(*map(Text, cells(row)))
    return Group(table, Text("Latencies of people; each fleet is the least for the worst hour, billed for all hours."))
