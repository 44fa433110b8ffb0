"""All figures of a run."""

from __future__ import annotations

import plotly.graph_objects as go

from sim.metrics.records import ENDINGS
from sim.metrics.rundata import RunData
from sim.report import distributions, palette, text, timelines
from sim.report.panel import Panel, Table

_PARTS = {
    "admission": "before admission (classifiers)",
    "queue": "queue",
    "prefill": "prefill, to the first token",
    "transfer": "transfer to the decode pool, its queue included",
    "decode": "decode, to the last token",
}


def panels(run: RunData) -> list[Panel]:
    """Return every figure with its description and table, in the report's order."""
    return [
        *(distributions.panel(run, which) for which in distributions.DISTRIBUTIONS),
        breakdown(run),
        endings(run),
        arrivals(run),
        timelines.timeline(run),
        timelines.utilisation(run),
    ]


def figures(run: RunData) -> dict[str, go.Figure]:
    """Return every figure of a run by its key: ttft, itl, e2el, cost, breakdown, endings, arrivals ..."""
    return {panel.key: panel.figure for panel in panels(run)}


def breakdown(run: RunData) -> Panel:
    """Return the panel of where the mean end-to-end latency of each tier goes."""
    by_tier = run.result["sim"]["by_tier"]
    figure = go.Figure()
    rows = []
    parts = {part: label for part, label in _PARTS.items() if f"mean_{part}_ms" in by_tier[run.tiers[0]]}
    for i, (part, label) in enumerate(parts.items()):
        means_s = [(by_tier[tier][f"mean_{part}_ms"] or 0.0) / 1000.0 for tier in run.tiers]
        figure.add_bar(y=list(run.tiers), x=means_s, name=label, orientation="h", marker=palette.bar(i))
        rows.append((label, *map(text.time, means_s)))
    total = [text.millis(by_tier[tier]["mean_e2el_ms"]) for tier in run.tiers]
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="mean time [s]")
    figure.update_yaxes(autorange="reversed", type="category")
    palette.style(figure, 180 + 45 * len(run.tiers))
    figure.update_layout(hovermode="y unified")
    return Panel(
        key="breakdown",
        title="Where the time goes",
        description=(
            "Mean end-to-end latency of completed requests by tier, in the parts it is made of. Whatever "
            "interrupts a request, such as preemption, counts in the part it interrupts."
        ),
        figure=figure,
        table=Table(("part", *run.tiers), (*rows, ("end to end", *total))),
    )


def endings(run: RunData) -> Panel:
    """Return the panel of how requests ended, by tier: shares, on a logarithmic axis."""
    by_tier = run.result["sim"]["by_tier"]
    figure = go.Figure()
    for i, ending in enumerate(ENDINGS):
        counts = [(tier, by_tier[tier][f"num_{ending}"]) for tier in run.tiers]
        some = [(tier, num / by_tier[tier]["num_requests"]) for tier, num in counts if num]
        if some:
            figure.add_scatter(
                x=[share for _, share in some],
                y=[tier for tier, _ in some],
                mode="markers",
                name=text.words(ending),
                marker=palette.marker(i),
            )
    figure.update_xaxes(type="log", tickformat="~p", title="share of the tier's requests", dtick=1)
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=list(reversed(run.tiers)))
    palette.style(figure, 180 + 45 * len(run.tiers))
    figure.update_layout(hovermode="y unified")
    rows = tuple(
        (text.words(ending), *(text.number(by_tier[tier][f"num_{ending}"]) for tier in run.tiers)) for ending in ENDINGS
    )
    return Panel(
        key="endings",
        title="How requests ended",
        description=(
            "Share of each tier's requests by ending, on a logarithmic axis so that rare endings show. Every request "
            "ends in exactly one way; the table has the counts."
        ),
        figure=figure,
        table=Table(("ending", *run.tiers), rows),
    )


def arrivals(run: RunData) -> Panel:
    """Return the panel of requests by hour and tier."""
    by_tier = run.result["sim"]["by_tier"]
    hourly = [by_tier[tier]["hourly_arrivals"] for tier in run.tiers]
    figure = go.Figure()
    for i, (tier, counts) in enumerate(zip(run.tiers, hourly, strict=True)):
        figure.add_bar(x=list(range(len(counts))), y=counts, name=tier, marker=palette.bar(i))
    figure.update_layout(barmode="stack")
    figure.update_xaxes(title="hour of the run")
    figure.update_yaxes(title="requests")
    rows = tuple((str(hour), *map(text.number, counts)) for hour, counts in enumerate(zip(*hourly, strict=True)))
    return Panel(
        key="arrivals",
        title="Requests by hour",
        description="Measured requests by the hour in which they arrived, stacked by tier.",
        figure=palette.style(figure, 360),
        table=Table(("hour", *run.tiers), rows),
    )
