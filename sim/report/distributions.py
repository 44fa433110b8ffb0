"""How latencies and costs are spread: cumulative share and histogram, by tier."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from sim.metrics.collector import COST_BIN_USD, SLO_PARTS
from sim.metrics.histogram import EDGES, NUM_BINS, quantile
from sim.metrics.rundata import RunData
from sim.report import palette, text
from sim.report.panel import Panel, Table, five_digits

_BINS_PER_BAR = 8  # eight bars an octave are wide enough to see
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Distribution(NamedTuple):
    """A quantity whose distribution is drawn."""

    key: str
    title: str
    what: str
    axis: str
    one: str


DISTRIBUTIONS = (
    Distribution(
        "ttft",
        "Time to first token",
        "Time from a request's arrival to its first token, over completed requests",
        "TTFT [s]",
        "requests",
    ),
    Distribution(
        "itl",
        "Inter-token latency",
        "Every single gap between two tokens, pooled over all requests",
        "ITL [s]",
        "gaps",
    ),
    Distribution(
        "e2el",
        "End-to-end latency",
        "Time from a request's arrival to its last token, over completed requests",
        "E2EL [s]",
        "requests",
    ),
    Distribution(
        "cost",
        "Cost of a request",
        "What a completed request's own shares of steps cost, before idle time is spread",
        "cost [USD]",
        "requests",
    ),
)


def panel(run: RunData, which: Distribution) -> Panel:
    """Return the panel of one distribution: cumulative share left, histogram right, logarithmic in the value."""
    unit = COST_BIN_USD if which.key == "cost" else 1.0
    target = "; a diamond marks a tier's target" if which.key in SLO_PARTS else ""
    figure = make_subplots(
        rows=1,
        cols=2,
        horizontal_spacing=0.09,
        subplot_titles=(f"share of {which.one} at or below", f"share of {which.one} per octave"),
    )
    for i, tier in enumerate(run.tiers):
        counts = run.histograms[tier][which.key]
        total = int(counts.sum())
        if total == 0:
            continue
        value, share = _cumulative(counts, unit)
        figure.add_scatter(x=value, y=share, name=tier, legendgroup=tier, line=palette.line(i), row=1, col=1)
        left, height = _bars(counts, unit)
        figure.add_scatter(
            x=left,
            y=height,
            name=tier,
            legendgroup=tier,
            showlegend=False,
            line={**palette.line(i), "shape": "hv"},
            row=1,
            col=2,
        )
        limit_s = (run.result["sim"]["by_tier"][tier]["slo"] or {}).get(f"{which.key}_s")
        if limit_s is not None:
            figure.add_scatter(
                x=[limit_s],
                y=[counts[EDGES[1:] <= limit_s].sum() / total],
                mode="markers",
                name=f"{tier} target",
                legendgroup=tier,
                showlegend=False,
                marker={**palette.marker(i), "symbol": "diamond-open", "size": 12, "line_width": 3},
                row=1,
                col=1,
            )
    figure.update_xaxes(type="log", title=which.axis, exponentformat="SI")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return Panel(
        key=which.key,
        title=which.title,
        description=(
            f"{which.what}, by tier. Left: share of {which.one} at or below a value{target}. "
            "Right: share per octave (a doubling of the value) around a value."
        ),
        figure=palette.style(figure, 380),
        table=_table(run, which, unit),
    )


def _cumulative(counts: NDArray[np.int64], unit: float) -> tuple[list[float], list[float]]:
    """Return upper edges and cumulative shares of the bins from the first filled one to the last."""
    filled = np.flatnonzero(counts)
    inside = slice(filled[0], filled[-1] + 1)
    share = np.cumsum(counts)[inside] / counts.sum()
    x = np.concatenate([EDGES[filled[:1]], EDGES[1:][inside]])
    return five_digits(x * unit), five_digits(np.concatenate([[0.0], share]))


def _bars(counts: NDArray[np.int64], unit: float) -> tuple[list[float], list[float]]:
    """Return left edges of eight bars an octave and their shares per octave, with an empty bar on either side."""
    edges = EDGES[::_BINS_PER_BAR]
    share = counts.reshape(NUM_BINS // _BINS_PER_BAR, _BINS_PER_BAR).sum(axis=1) / counts.sum()
    density = share / np.log2(edges[1:] / edges[:-1])
    filled = np.flatnonzero(share)
    inside = slice(max(0, filled[0] - 1), filled[-1] + 2)
    return five_digits(edges[:-1][inside] * unit), five_digits(density[inside])


def _table(run: RunData, which: Distribution, unit: float) -> Table:
    show = text.usd if which.key == "cost" else text.time
    header = ("tier", *(f"p{100 * q:g}" for q in _QUANTILES), which.one)
    rows = []
    for tier in run.tiers:
        counts = run.histograms[tier][which.key]
        total = int(counts.sum())
        values = [show(quantile(counts, q) * unit if total else None) for q in _QUANTILES]
        rows.append((tier, *values, text.number(total)))
    return Table(header, tuple(rows))
