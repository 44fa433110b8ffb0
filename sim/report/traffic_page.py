"""Traffic as one HTML file that needs nothing else, and as a text for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

import sim
from sim.report import text, traffic_tables
from sim.report.page import fill, write_page
from sim.report.panel import Table
from sim.report.traffic import panels
from sim.traffic.traces.repair import KINDS

PAGE, STATISTICS = "traffic.html", "traffic.json"
_ENDLESS = 1000  # [columns] wider than any table
_WHOLE_NAME = 24  # [columns] a name that long leaves a terminal of 80 columns room for numbers


def write_folder(statistics: Mapping[str, Any], folder: Path) -> None:
    """Write statistics and their page into a folder that is there; raises SpecError where that cannot be."""
    write_page(json.dumps(statistics, indent=2, allow_nan=False) + "\n", folder / STATISTICS)
    write_traffic_page(statistics, folder / PAGE)


def write_traffic_page(statistics: Mapping[str, Any], path: Path) -> None:
    """Write the page of some statistics; raises SpecError where that cannot be."""
    page = fill(
        "traffic.html.j2",
        panels(statistics),
        traffic=statistics["traffic"],
        version=sim.__version__,
        warnings=list(_notes(statistics)),
        headline=traffic_tables.headline(statistics),
        shares=traffic_tables.shares(statistics),
        users=traffic_tables.users(statistics),
        identity=traffic_tables.identity(statistics),
        errors=_errors(statistics),
    )
    write_page(page, path)


def render_traffic(statistics: Mapping[str, Any]) -> RenderableType:
    """Return statistics as text for `rich`."""
    traffic, reuse = statistics["traffic"], statistics["reuse"]
    tables: list[RenderableType] = [
        _table(f"Traffic: {traffic['name']}", Table(("", ""), traffic_tables.headline(statistics))),
        _Either(
            _table("Lengths and times", traffic_tables.lengths(statistics)),
            _table("Lengths and times", traffic_tables.lengths_in_short(statistics)),
        ),
    ]
    if reuse is not None:
        tables.append(_table("Prefix reuse", traffic_tables.reuse(reuse)))
    tables += [_table(f"By {name}", table) for name, table in traffic_tables.shares(statistics).items()]
    if (users := traffic_tables.users(statistics)) is not None:
        tables.append(_table("Who sends how much", users))
    notes = [Text(note, style="yellow") for note in _notes(statistics)]
    return Group(*tables, *notes, Text(_errors(statistics), style="dim"))


def render_compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> RenderableType:
    """Return the statistics of two kinds of traffic side by side."""
    notes = [Text(note, style="yellow") for found in (one, other) for note in _notes(found)]
    return Group(_table("Traffic compared", traffic_tables.compared(one, other)), *notes)


@dataclass(frozen=True)
class _Either:
    """A table, or a narrower one where it does not fit."""

    wide: RichTable
    narrow: RichTable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the one that fits."""
        asked = console.measure(self.wide, options=options.update(max_width=_ENDLESS)).maximum
        yield self.wide if asked <= options.max_width else self.narrow


def _notes(statistics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a reader should know before believing the numbers."""
    if (note := statistics["traffic"]["note"]) is not None:
        yield f"{note[:1].upper()}{note[1:]}."
    rows = statistics["traffic"]["rows"]
    if rows is not None and rows["left_out"]:
        yield f"Left out: {'; '.join(f'{text.number(count)} {reason}' for reason, count in rows['left_out'].items())}."
    if rows is not None and rows["repairs"]:
        done = "; ".join(f"{text.number(count)} {KINDS[kind]}" for kind, count in rows["repairs"].items())
        yield f"Repaired before it was read: {done}."
    reuse = statistics["reuse"]
    if reuse is not None and reuse["sample_frac"] == 1.0 and reuse["num_requests"] < statistics["num_requests"]:
        yield (
            f"Text is told of the first {text.number(reuse['num_requests'])} requests only: reuse, and sessions that "
            "are inferred from it, are theirs."
        )


def _errors(statistics: Mapping[str, Any]) -> str:
    """Return how exact the quantiles are."""
    worst = max(
        (found["quantile_error_frac"] for found in statistics.values() if isinstance(found, dict) and _is_told(found)),
        default=0.0,
    )
    if worst == 0.0:
        return "Quantiles are those of the values themselves."
    return f"Quantiles of more than a million values are within a relative {worst:.2g} of the values' own."


def _is_told(found: Mapping[str, Any]) -> bool:
    return "quantile_error_frac" in found


def _table(title: str, content: Table) -> RichTable:
    table = RichTable(
        box=box.SIMPLE, title=title, title_justify="left", show_header=any(content.header), collapse_padding=True
    )
    for i, name in enumerate(content.header):
        # Names of people and languages stay whole; headers of numbers can be broken at their words.
        short = i == 0 and max((len(row[0]) for row in content.rows), default=0) <= _WHOLE_NAME
        table.add_column(Text(name), justify="left" if i == 0 else "right", no_wrap=short)
    for row in content.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table
