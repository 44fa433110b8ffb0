"""Colours, dashes and layout that read in light and dark, in grey, and with any colour vision.

The hues are from Okabe and Ito, "Color Universal Design" (2008), some of them darkened, so that every colour has a
contrast of at least 3 to 1 against both of the page's backgrounds (WCAG 2.2, 1.4.11). No two series differ by colour
alone: lines differ in their dashes, points in their symbols, bars in their patterns.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C2699B", "#808080", "#A07800")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "hourglass", "bowtie")
PATTERNS = ("", "/", "x", ".", "-", "+")
BACKGROUNDS = ("#ffffff", "#14171c")
"""The page's background, light and dark; the style sheet repeats them."""


def line(i: int) -> dict[str, Any]:
    """Return the line style of series i."""
    return {"color": COLOURS[i % len(COLOURS)], "dash": DASHES[i % len(DASHES)], "width": 2}


def marker(i: int) -> dict[str, Any]:
    """Return the point style of series i."""
    return {"color": COLOURS[i % len(COLOURS)], "symbol": SYMBOLS[i % len(SYMBOLS)], "size": 10}


def bar(i: int) -> dict[str, Any]:
    """Return the bar style of series i."""
    shape = PATTERNS[i % len(PATTERNS)]
    return {"color": COLOURS[i % len(COLOURS)], "pattern": {"shape": shape, "solidity": 0.3}}


def style(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure the house's layout: no background of its own, so that the page's shows through."""
    figure.update_layout(
        template=go.layout.Template(),
        height=height,
        margin={"l": 70, "r": 20, "t": 50, "b": 90},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13, "color": "#808080"},
        legend={
            "orientation": "h",
            "traceorder": "normal",
            "x": 0,
            "y": 0,
            "yref": "container",
            "yanchor": "bottom",
        },
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#808080", "activecolor": COLOURS[0]},
        hovermode="x unified",
    )
    figure.update_xaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False)
    figure.update_yaxes(gridcolor="rgba(128,128,128,0.25)", zeroline=False)
    return figure
