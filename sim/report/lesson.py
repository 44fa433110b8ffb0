"""Figures of the notebooks: lines and bars in the house's style, each in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from sim.report import palette

HEIGHT = 380
"""Height of a figure [pixels]."""


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: str = "",
    points: bool = True,
    levels: Mapping[str, float] | None = None,
) -> go.Figure:
    """Draw one line a series.

    Parameters
    ----------
    series
        By name: its x and its y.
    x, y
        Titles of the axes, with their units.
    log
        Which axes are logarithmic: any of `x` and `y`.
    points
        Mark the points.
    levels
        Horizontal lines, by name: what the series are compared with.
    """
    figure = go.Figure()
    mode = "lines+markers" if points else "lines"
    for i, (name, (xs, ys)) in enumerate(series.items()):
        mark = palette.marker(i) | {"size": 7}
        figure.add_scatter(x=list(xs), y=list(ys), name=name, mode=mode, line=palette.line(i), marker=mark)
    for name, level in (levels or {}).items():
        figure.add_hline(y=level, line={"color": "#808080", "dash": "dot"}, annotation={"text": name})
    return _titled(figure, x, y, log)


def bars(
    groups: Sequence[str], series: Mapping[str, Sequence[float]], *, y: str, log: str = "", stacked: bool = False
) -> go.Figure:
    """Draw one bar a series in each group, beside each other or stacked."""
    figure = go.Figure()
    for i, (name, ys) in enumerate(series.items()):
        figure.add_bar(x=list(groups), y=list(ys), name=name, marker=palette.bar(i))
    figure.update_layout(barmode="stack" if stacked else "group", showlegend=len(series) > 1)
    return _titled(figure, "", y, log)


def scatter(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log: str = "",
    ceiling: tuple[Sequence[float], Sequence[float]] | None = None,
) -> go.Figure:
    """Draw points, and a line that they cannot be above, if any."""
    figure = go.Figure()
    for i, (name, (xs, ys)) in enumerate(series.items()):
        figure.add_scatter(x=list(xs), y=list(ys), name=name, mode="markers", marker=palette.marker(i))
    if ceiling is not None:
        style: dict[str, Any] = {"color": "#808080", "width": 2}
        figure.add_scatter(x=list(ceiling[0]), y=list(ceiling[1]), name="ceiling", mode="lines", line=style)
    return _titled(figure, x, y, log).update_layout(hovermode="closest")


def _titled(figure: go.Figure, x: str, y: str, log: str) -> go.Figure:
    """Give a figure the house's layout, and its axes titles and scales."""
    palette.style(figure, HEIGHT)
    figure.update_xaxes(title=x, type="log" if "x" in log else None)
    figure.update_yaxes(title=y, type="log" if "y" in log else None)
    return figure
