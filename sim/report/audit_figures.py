"""The pictures of an audit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

from sim.lifecycle.scaling import EPOCH, HOFFMANN, LossLaw
from sim.metrics.summary import MONTH_S
from sim.report import palette
from sim.report.figures import panels as run_panels
from sim.report.panel import Panel, Table, five_digits
from sim.study.audit import Audit

FROM_THE_DAY = ("ttft", "itl", "timeline", "utilisation", "breakdown")
"""Pictures of the simulated day that stage 7 shows."""
POINTS = 61
DAY_S = 86_400.0


def panels(audit: Audit) -> list[Panel]:
    """Return the pictures of an audit."""
    day = {panel.key: panel for panel in run_panels(audit.day.data)}
    return [iso_flop(audit), loss(audit), bill(audit), *(day[key] for key in FROM_THE_DAY if key in day)]


def iso_flop(audit: Audit) -> Panel:
    """Predicted loss by parameters, for the budget of the run."""
    flops = audit.stages["scaling"]["compute of the budget"].value
    sizes = np.geomspace(1e10, 1e12, POINTS)
    figure = go.Figure()
    rows = []
    for i, law in enumerate((EPOCH, HOFFMANN)):
        losses = np.array([law.loss(n, flops / (6.0 * n)) for n in sizes])
        line = palette.line(i)
        figure.add_scatter(x=five_digits(sizes), y=five_digits(losses), name=law.name, mode="lines", line=line)
        best, tokens = law.optimum(flops)
        rows.append((law.name, f"{best:.4g}", f"{tokens:.4g}", f"{law.loss(best, tokens):.4g}"))
    chosen = audit.stages["architecture"]["parameters"].value
    figure.add_vline(x=chosen, line_dash="dot", annotation_text="decided on")
    figure.update_xaxes(type="log", title="parameters")
    figure.update_yaxes(title="predicted loss [nat a token]")
    return Panel(
        "iso-flop",
        "Loss by size, for the budget",
        f"Each point spends {flops:.3g} FLOP; where a curve is lowest is the best size by that law.",
        palette.style(figure, 380),
        Table(("law", "best parameters", "best tokens", "loss [nat a token]"), tuple(rows)),
    )


def loss(audit: Audit) -> Panel:
    """Predicted loss while training."""
    law: LossLaw = EPOCH
    size = audit.stages["architecture"]["parameters"].value
    tokens = audit.stages["pretraining"]["training tokens"].value
    seen = np.geomspace(tokens / 1000.0, tokens, POINTS)
    losses = np.array([law.loss(size, d) for d in seen])
    figure = go.Figure()
    figure.add_scatter(x=five_digits(seen), y=five_digits(losses), mode="lines", name=law.name, line=palette.line(0))
    figure.update_xaxes(type="log", title="tokens seen")
    figure.update_yaxes(title="predicted loss [nat a token]")
    shown = np.linspace(0, POINTS - 1, 7).astype(int)
    return Panel(
        "loss",
        "Loss by tokens seen",
        "What training should look like from far away: a run that leaves this curve has a reason.",
        palette.style(figure, 360),
        Table(("tokens seen", "loss [nat a token]"), tuple((f"{seen[i]:.3g}", f"{losses[i]:.4f}") for i in shown)),
    )


def bill(audit: Audit) -> Panel:
    """Dollars of a release, stage by stage, and of serving it."""
    rows = list(_bills(audit))
    names, values = zip(*rows, strict=True)
    figure = go.Figure(go.Bar(x=five_digits(np.array(values)), y=names, orientation="h", marker=palette.bar(0)))
    figure.update_xaxes(title="USD")
    figure.update_yaxes(autorange="reversed", automargin=True)
    return Panel(
        "bill",
        "The bill of a release and of its life",
        "Development stage by stage, and serving for as long as the release lives.",
        palette.style(figure, 400),
        Table(("stage", "USD"), tuple((name, f"{value:,.0f}") for name, value in rows)),
    )


def _bills(audit: Audit) -> Iterator[tuple[str, float]]:
    release = audit.stages["release"]
    total = release["development"].value
    for figure in release.figures:
        if figure.name.endswith(": part"):
            yield figure.name.removesuffix(": part").replace("_", " "), figure.value * total
    months = release["life"].value
    daily = audit.day.result["sim"]["cost"]["total_usd"] / audit.scale
    yield f"serving, {months:g} months", daily * months * MONTH_S / DAY_S
