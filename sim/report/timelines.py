"""The day as it went: gauges of every pool, interval by interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from sim.metrics.rundata import RunData
from sim.report import palette, text
from sim.report.panel import Panel, Table, five_digits

_TIME_UNITS = (("h", 3600.0, 7200.0), ("min", 60.0, 120.0), ("s", 1.0, 0.0))


def _gauges(rows: NDArray[np.void]) -> dict[str, NDArray[np.float64]]:
    """Return the gauges of one pool's rows, by the name of their axis."""
    width_s = rows["width_s"]
    return {
        "arrivals [1/s]": rows["num_arrived"] / width_s,
        "waiting": rows["waiting_mean"],
        "running": rows["running_mean"],
        "KV blocks used": rows["kv_used_mean_frac"],
        "power [kW]": rows["energy_j"] / width_s / 1000.0,
        "replicas": rows["num_replicas"],
    }


def timeline(run: RunData) -> Panel:
    """Return the panel of every pool's gauges over the day."""
    unit, unit_s = _time_unit(run)
    names = list(_gauges(run.timeline[:0]))
    figure = make_subplots(rows=len(names), cols=1, shared_xaxes=True, vertical_spacing=0.025)
    lines = []
    for i, pool in enumerate(run.pools):
        rows = _measured(run, i)
        gauges = _gauges(rows)
        for row, (name, values) in enumerate(gauges.items(), 1):
            figure.add_scatter(
                x=five_digits(rows["t_s"] / unit_s),
                y=five_digits(values),
                name=pool,
                legendgroup=pool,
                showlegend=row == 1,
                line={**palette.line(i), "shape": "hv"},
                row=row,
                col=1,
            )
            figure.update_yaxes(title=name, rangemode="tozero", row=row, col=1)
        cells = zip(rows["t_s"], *gauges.values(), strict=True)
        lines += [(f"{t / unit_s:.4g}", pool, *map(text.number, values)) for t, *values in cells]
    figure.update_yaxes(tickformat=".0%", row=names.index("KV blocks used") + 1, col=1)
    figure.update_xaxes(title=f"time [{unit}]", row=len(names), col=1)
    return Panel(
        key="timeline",
        title="The run over time",
        description=(
            "Arrivals, requests waiting, sequences running, share of KV-cache blocks in use, electrical power of the "
            "GPUs, and replicas: one line a pool, means over each interval. The table has every interval."
        ),
        figure=palette.style(figure, 900),
        table=Table((f"start [{unit}]", "pool", *names), tuple(lines)),
    )


def utilisation(run: RunData) -> Panel:
    """Return the panel of how busy the pools were, and where they could not keep up."""
    unit, unit_s = _time_unit(run)
    figure = make_subplots(rows=1, cols=1)
    lines = []
    for i, pool in enumerate(run.pools):
        rows = _measured(run, i)
        figure.add_scatter(
            x=five_digits(rows["t_s"] / unit_s),
            y=five_digits(rows["busy_frac"]),
            name=pool,
            legendgroup=pool,
            line={**palette.line(i), "shape": "hv"},
        )
        saturated = rows[rows["saturated"] != 0]
        if len(saturated):
            figure.add_scatter(
                x=five_digits(saturated["t_s"] / unit_s),
                y=five_digits(saturated["busy_frac"]),
                mode="markers",
                name=f"{pool} saturated",
                legendgroup=pool,
                marker={**palette.marker(i), "symbol": "x"},
            )
        lines += [
            (
                f"{row['t_s'] / unit_s:.4g}",
                pool,
                text.percent(float(row["busy_frac"])),
                text.percent(None if np.isnan(row["margin_frac"]) else float(row["margin_frac"])),
                "yes" if row["saturated"] else "no",
            )
            for row in rows
        ]
    figure.update_yaxes(tickformat=".0%", range=[0, 1.05], title="busy")
    figure.update_xaxes(title=f"time [{unit}]")
    return Panel(
        key="utilisation",
        title="Fleet utilisation",
        description=(
            "Share of provisioned replica time in which a step ran, by pool. A cross marks an interval in which the "
            "pool was saturated: its backlog grew and its queue never emptied."
        ),
        figure=palette.style(figure, 360),
        table=Table((f"start [{unit}]", "pool", "busy", "margin", "saturated"), tuple(lines)),
    )


def _measured(run: RunData, pool: int) -> NDArray[np.void]:
    rows = run.timeline
    chosen = np.flatnonzero((rows["pool"] == pool) & (rows["t_s"] >= 0.0))
    return rows[chosen[np.argsort(rows["t_s"][chosen], kind="stable")]]


def _time_unit(run: RunData) -> tuple[str, float]:
    """Return the unit in which the run's length is a handy number, and its seconds."""
    end_s = float(run.result["duration"])
    return next((name, unit_s) for name, unit_s, least_s in _TIME_UNITS if end_s >= least_s)
