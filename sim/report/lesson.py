"""Figures of the notebooks: lines, bars and points in the house's style, each in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from sim.report import palette

HEIGHT = 380
"""Height of a figure [pixels]."""
GREY: Mapping[str, Any] = {"color": "#808080", "width": 2}
"""A line to compare with."""
LOGARITHMIC: Mapping[str, Any] = {"type": "log", "dtick": "D2"}
"""Of an axis: its ticks are at 1, 2 and 5 of every power of ten."""


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
    for i, (name, (xs, ys)) in enumerate(series.items()):
        mark = palette.marker(i) | {"size": 7}
        mode = "lines+markers" if points else "lines"
        figure.add_scatter(x=list(xs), y=list(ys), name=name, mode=mode, line=palette.line(i), marker=mark)
    ends = [end for xs, _ in series.values() for end in (min(xs), max(xs))]
    for name, level in (levels or {}).items():
        both = [min(ends), max(ends)]
        figure.add_scatter(x=both, y=[level, level], name=name, mode="lines", line={**GREY, "dash": "dot"})
    return _titled(figure, x, y, log)


def bars(groups: Sequence[str], series: Mapping[str, Sequence[float]], *, y: str) -> go.Figure:
    """Draw one bar a series in each group, from zero."""
    figure = go.Figure()
    for i, (name, ys) in enumerate(series.items()):
        figure.add_bar(x=list(groups), y=list(ys), name=name, marker=palette.bar(i))
    figure.update_layout(barmode="group", showlegend=len(series) > 1)
    return _titled(figure, "", y, "")


def dots(groups: Sequence[str], series: Mapping[str, Sequence[float]], *, y: str) -> go.Figure:
    """Draw one point a series in each group, on a logarithmic axis, where bars would have no beginning."""
    figure = go.Figure()
    for i, (name, ys) in enumerate(series.items()):
        figure.add_scatter(x=list(groups), y=list(ys), name=name, mode="markers", marker=palette.marker(i))
    figure.update_layout(showlegend=len(series) > 1)
    figure.update_xaxes(type="category")
    return _titled(figure, "", y, "y")


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
        figure.add_scatter(x=list(ceiling[0]), y=list(ceiling[1]), name="ceiling", mode="lines", line=GREY)
    return _titled(figure, x, y, log).update_layout(hovermode="closest")


def _titled(figure: go.Figure, x: str, y: str, log: str) -> go.Figure:
    """Give a figure the house's layout, and its axes titles and scales."""
    palette.style(figure, HEIGHT)
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    if "x" in log:
        figure.update_xaxes(LOGARITHMIC)
    if "y" in log:
        figure.update_yaxes(LOGARITHMIC)
    return figure
