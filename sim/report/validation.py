"""A validation for the terminal, and drawn: predicted against measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from sim.calibrate.serving.results import Result
from sim.calibrate.serving.score import GATED
from sim.errors import Problem, SpecError
from sim.report import palette

MOST_REASONS = 20
_UNITS = {"tpot": "ms", "ttft": "ms", "throughput": "per s"}


def render_validation(summary: Mapping[str, Any]) -> RenderableType:
    """Return the tables of a validation's summary for `rich`."""
    known, frac = summary["known_rows"], summary["covered_known_frac"]
    covered = f"{summary['covered']:,} of {summary['rows']:,} rows predicted"
    covered += f"; {frac:.1%} of the {known:,} rows of known models" if frac is not None else ""
    parts = [
        _scores("Beds, mean and p50", (row for row in summary["by_bed"] if row["part"] == "mean, p50"), _BED),
        _scores("Beds, p90 to p99", (row for row in summary["by_bed"] if row["part"] != "mean, p50"), _BED),
        _over_beds(summary["over_beds"]),
        _scores("By GPU, metric and tier", summary["by"], _METRIC),
        _scores("Rows not trusted", summary["by_distrusted"], _METRIC),
        _scores("Queueing times of saturated points", summary["by_saturated"], _METRIC),
        _plain("Knees of sweeps", summary["knees"]),
        _plain("Noise: repeats of one condition", summary["noise"]),
        _plain("Calibrations", summary["engines"]),
        _plain("Not covered", summary["not_covered"][:MOST_REASONS]),
        _plain("Not trusted, because", summary["distrusted"]),
        _plain("Calibrations that stand in", summary["stand_ins"][:MOST_REASONS]),
    ]
    return Group(*(part for part in parts if part is not None), Text(covered))


_BED = ("tier", "bed", "gpu", "architecture", "quantity")
_METRIC = ("gpu", "metric", "tier")
_ERRORS = ("median_ape_frac", "p90_ape_frac", "median_signed_frac")
_TITLES = ("median", "p90", "signed")


def _scores(
    title: str, rows: Iterator[dict[str, Any]] | Sequence[dict[str, Any]], names: Sequence[str]
) -> Table | None:
    """Return a table of scores, fitted and held out side by side."""
    table = _table(title)
    for name in names:
        table.add_column(name)
    for name in ("rows", *_TITLES, *(f"{name}, held out" for name in _TITLES), "rows, held out"):
        table.add_column(name, justify="right")
    for row in rows:
        held_out = row["cv"] or {}
        table.add_row(
            *(str(row[name]) for name in names),
            f"{row['num_rows']:,}",
            *_shares(row),
            *(_shares(held_out) if held_out else ("",) * len(_ERRORS)),
            f"{held_out['num_rows']:,}" if held_out else "",
        )
    return table if table.row_count else None


def _over_beds(rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """Return the medians over beds."""
    table = _table("Medians over beds, each of one weight")
    for name in ("architecture", "quantity", "part"):
        table.add_column(name)
    for name in ("beds", *_TITLES):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(row["architecture"], row["quantity"], row["part"], str(row["num_beds"]), *_shares(row))
    return table if table.row_count else None


def _plain(title: str, rows: Sequence[Mapping[str, Any]]) -> Table | None:
    """Return rows as they are."""
    if not rows:
        return None
    table = _table(title)
    for name in rows[0]:
        table.add_column(name)
    for row in rows:
        table.add_row(*(f"{value:.1%}" if isinstance(value, float) else str(value) for value in row.values()))
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)


def _shares(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{row[name]:+.1%}" if "signed" in name else f"{row[name]:.1%}" for name in _ERRORS)


def figure_of(results: Sequence[Result]) -> go.Figure:
    """Return predicted against measured, one panel for each quantity, one series for each bed; trusted rows only."""
    figure = make_subplots(rows=1, cols=len(GATED), subplot_titles=[f"{name} [{_UNITS[name]}]" for name in GATED])
    shown = [one for one in results if one.covered and not one.distrust and not one.queues and not one.is_tail]
    beds = sorted({one.bed for one in shown})
    for column, quantity in enumerate(GATED, 1):
        here = [one for one in shown if one.quantity == quantity]
        for number, bed in enumerate(beds):
            rows = [one for one in here if one.bed == bed]
            figure.add_scattergl(
                x=[one.measured for one in rows],
                y=[one.predicted for one in rows],
                text=[f"{one.gpu}, {one.metric}, row {one.row + 1}" for one in rows],
                mode="markers",
                name=bed,
                legendgroup=bed,
                showlegend=column == 1,
                marker=palette.marker(number) | {"size": 5, "opacity": 0.6},
                row=1,
                col=column,
            )
        if here:
            ends = [min(one.measured for one in here), max(one.measured for one in here)]
            line = {"color": "#808080", "width": 1}
            figure.add_scatter(
                x=ends, y=ends, mode="lines", line=line, showlegend=False, hoverinfo="skip", row=1, col=column
            )
    palette.style(figure, 560)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(type="log", title="measured")
    figure.update_yaxes(type="log", title="predicted")
    return figure


def write_figure(results: Sequence[Result], path: Path) -> None:
    """Write the figure as one HTML file that needs nothing else; raises SpecError."""
    try:
        figure_of(results).write_html(path)
    except OSError as error:
        raise SpecError(Problem(f"cannot be written: {error.strerror}", str(path))) from None
