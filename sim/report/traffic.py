"""The figures of traffic, from its statistics alone: rates, dispersion, lengths, gaps, turns, reuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from sim.report import palette, text, traffic_tables
from sim.report.panel import Panel, Table, five_digits

_LENGTHS = {
    "prompt_tokens": "prompt",
    "first_prompt_tokens": "prompt of a session's first turn",
    "later_prompt_tokens": "prompt of a later turn",
    "new_tokens": "new text of a turn",
    "output_tokens": "answer",
}
_QUANTILES = ("p1", "p10", "p50", "p90", "p99", "p99.9")


def panels(statistics: Mapping[str, Any]) -> list[Panel]:
    """Return every figure that the statistics have numbers for."""
    return list(_panels(statistics))


def _panels(statistics: Mapping[str, Any]) -> Iterator[Panel]:
    if statistics["rates"] is not None:
        yield rates(statistics)
        yield dispersion(statistics)
        yield lengths(statistics)
    if statistics["gap"] is not None:
        yield gaps(statistics)
    if statistics["sessions"] is not None:
        yield turns(statistics)
    if statistics["reuse"] is not None:
        yield reuse(statistics)


def rates(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of the rate over time, by tier where tiers are known."""
    found = statistics["rates"]
    width_s, by_name = found["width_s"], found["by_name"]
    figure = go.Figure()
    num = max(map(len, by_name.values()))
    unit, in_units_s = ("h", 3600.0) if num * width_s > 7200.0 else ("min", 60.0)
    at = five_digits(np.arange(num) * width_s / in_units_s)
    for i, (name, values) in enumerate(by_name.items()):
        line = {**palette.line(i), "shape": "hv"}
        figure.add_scatter(x=at, y=five_digits(np.array(values)), name=name, line=line)
    figure.update_xaxes(title=f"time [{unit}]")
    figure.update_yaxes(title="requests per second", rangemode="tozero")
    rows = tuple((f"{time:g}", *(text.number(values[k]) for values in by_name.values())) for k, time in enumerate(at))
    return Panel(
        key="rates",
        title="Rate over time",
        description=f"Requests per second in intervals of {text.time(width_s)}, by tier where the traffic tells tiers.",
        figure=palette.style(figure, 360),
        table=Table((f"time [{unit}]", *by_name), rows),
    )


def dispersion(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of the index of dispersion of counts, by window."""
    told = [row for row in statistics["arrivals"]["by_window"] if row["fano"] is not None]
    figure = go.Figure()
    x = [row["window_s"] for row in told]
    figure.add_scatter(
        x=x, y=[row["fano"] for row in told], name="this traffic", mode="lines+markers", line=palette.line(0)
    )
    figure.add_scatter(x=x, y=[1.0] * len(x), name="Poisson process", mode="lines", line=palette.line(4))
    figure.update_xaxes(type="log", title="window [s]")
    figure.update_yaxes(type="log", title="variance / mean of counts")
    rows = tuple(
        (
            text.time(row["window_s"]),
            text.number(row["num_windows"]),
            text.number(row["fano"]),
            text.number(row["peak_per_s"]),
            text.number(row["peak_to_mean"]),
        )
        for row in statistics["arrivals"]["by_window"]
    )
    return Panel(
        key="dispersion",
        title="Burstiness by window",
        description=(
            "Index of dispersion (Fano factor): variance over mean of the numbers of requests in windows of a length. "
            "A Poisson process has 1 at every length; what changes slowly, such as the hours of a day, makes it grow "
            "with the window."
        ),
        figure=palette.style(figure, 360),
        table=Table(("window", "windows", "Fano factor", "highest rate [1/s]", "highest / mean"), rows),
    )


def lengths(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of cumulative shares of lengths."""
    told = {name: title for name, title in _LENGTHS.items() if statistics[name] is not None}
    figure = _cumulative({title: statistics["curves"][name] for name, title in told.items()}, "tokens")
    header = ("length", "mean", *_QUANTILES, "highest")
    rows = tuple((title, *_row(statistics[name], "tokens", text.number)) for name, title in told.items())
    return Panel(
        key="lengths",
        title="Lengths",
        description="Share of requests at or below a number of tokens, on a logarithmic axis; zero is not shown.",
        figure=figure,
        table=Table(header, rows),
    )


def gaps(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of the times between a session's turns, and between arrivals."""
    told = {"between the turns of a session": statistics["gap"], "between arrivals": statistics["arrivals"]["spacing"]}
    figure = _cumulative({"between the turns of a session": statistics["curves"]["gap"]}, "time [s]")
    rows = tuple((name, *_row(found, "s", text.time)) for name, found in told.items() if found is not None)
    return Panel(
        key="gaps",
        title="Time between turns",
        description="Share of later turns that come within a time of the session's turn before, arrival to arrival.",
        figure=figure,
        table=Table(("time", "mean", *_QUANTILES, "highest"), rows),
    )


def turns(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of turns per session."""
    sessions = statistics["sessions"]
    counts = sessions["num_by_turns"]
    names = [*map(str, range(1, len(counts))), f"{len(counts)} or more"]
    figure = go.Figure()
    figure.add_bar(x=names, y=[count / sessions["num_sessions"] for count in counts], marker=palette.bar(0))
    figure.update_xaxes(title="turns", type="category")
    figure.update_yaxes(title="share of sessions", tickformat=".0%")
    how = (
        "Sessions are inferred from shared text: a request goes on with the last request that used its deepest shared "
        f"block, blocks of more than {sessions['max_uses']} requests left aside."
        if sessions["inferred"]
        else "Sessions are those that the traffic names."
    )
    rows = tuple(
        (name, text.number(count), text.percent(count / sessions["num_sessions"]))
        for name, count in zip(names, counts, strict=True)
    )
    return Panel(
        key="turns",
        title="Turns per session",
        description=f"Share of sessions by number of turns; mean {text.number(sessions['mean_turns'])}. {how}",
        figure=palette.style(figure, 340),
        table=Table(("turns", "sessions", "share"), rows),
    )


def reuse(statistics: Mapping[str, Any]) -> Panel:
    """Return the panel of what a prefix cache could reuse, by its size and by how long it keeps a block."""
    found = statistics["reuse"]
    by_size = found["by_cache_size"]
    figure = go.Figure()
    figure.add_scatter(
        x=[row["cache_tokens"] for row in by_size],
        y=[row["token_frac"] for row in by_size],
        name="cache of that size",
        mode="lines+markers",
        line=palette.line(0),
    )
    ends = [by_size[0]["cache_tokens"], by_size[-1]["cache_tokens"]]
    best = found["unlimited"]["token_frac"]
    figure.add_scatter(x=ends, y=[best, best], name="cache without limit", mode="lines", line=palette.line(1))
    figure.update_xaxes(type="log", title="size of the cache [tokens]", exponentformat="SI")
    figure.update_yaxes(title="share of prompt tokens reused", tickformat=".0%", rangemode="tozero")
    sample = "" if found["sample_frac"] == 1.0 else f" From {text.percent(found['sample_frac'])} of the conversations."
    return Panel(
        key="reuse",
        title="Prefix reuse",
        description=(
            f"Share of prompt tokens that one cache for all requests would already hold, in blocks of "
            f"{found['block_tokens']} tokens; the blocks used longest ago are dropped first. Answers are held only "
            f"once a prompt repeats them. The table also has caches that keep a block for a time after its last use."
            f"{sample}"
        ),
        figure=palette.style(figure, 360),
        table=traffic_tables.reuse(found),
    )


def _cumulative(curves: Mapping[str, list[float]], title: str) -> go.Figure:
    """Return cumulative shares of values given at equally spaced quantiles."""
    figure = go.Figure()
    for i, (name, values) in enumerate(curves.items()):
        share = np.linspace(0.0, 1.0, len(values))
        shown = np.array(values) > 0.0
        figure.add_scatter(
            x=five_digits(np.array(values)[shown]), y=five_digits(share[shown]), name=name, line=palette.line(i)
        )
    figure.update_xaxes(type="log", title=title, exponentformat="SI")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", title="share at or below")
    return palette.style(figure, 380)


def _row(found: Mapping[str, Any], unit: str, show: Any) -> tuple[str, ...]:
    keys = (f"mean_{unit}", *(f"{name}_{unit}" for name in _QUANTILES), f"max_{unit}")
    return tuple(show(found[key]) for key in keys)
