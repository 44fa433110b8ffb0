"""A run as one HTML file that needs nothing else: no network, no other files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from sim.errors import Problem, SpecError
from sim.metrics.rundata import RunData
from sim.report import money, tables, text
from sim.report.figures import panels
from sim.report.panel import Panel, Table

CONFIG = {"showSendToCloud": False, "displaylogo": False, "responsive": True}
"""plotly.js offers to send a figure to its makers' cloud unless it is told not to."""


def write_report(run: RunData, path: Path) -> None:
    """Write the report of a run.

    Raises
    ------
    SpecError
        The file cannot be written.
    """
    write_page(render(run), path)


def write_page(page: str, path: Path) -> None:
    """Write a page; raises SpecError where that cannot be."""
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        message = f"cannot write there: {error.strerror or error}. Give another path."
        raise SpecError(Problem(message, file=str(path))) from error


def render(run: RunData) -> str:
    """Return the report of a run as the text of an HTML file."""
    return fill(
        "report.html.j2",
        panels(run),
        result=run.result,
        verdict=tables.verdict(run.result),
        saturated=run.result["sim"]["saturation"]["verdict"] == "saturated",
        warnings=[s for s in (text.not_answered(run.result), text.extrapolated(run.result)) if s is not None],
        headline=tables.headline(run.result),
        by_tier=tables.by_tier(run.result),
        by_pool=tables.by_pool(run.result),
        by_language=tables.by_language(run.result),
        accounts=[found for found in accounts(run.result) if found[1] is not None],
        assumptions=tables.assumptions(run),
        identity=tables.identity(run),
        scenario_yaml=run.scenario_yaml,
    )


def accounts(result: Mapping[str, Any]) -> list[tuple[str, Table | None]]:
    """Return the tables of the money section with their captions; None where there is nothing to show."""
    return [
        ("The bill, contract by contract", money.ledger(result)),
        ("What the cost was spent on, idle time included", money.spent_on(result)),
        ("Revenue, margin, and what public APIs charge", money.margins(result)),
        ("Energy and carbon", money.emissions(result)),
    ]


def fill(template: str, panels: Sequence[Panel], **parts: Any) -> str:
    """Return a template of the folder templates/ filled with figures, the house's style and script, and other parts."""
    figures = {
        panel.key: {"data": figure["data"], "layout": figure["layout"]}
        for panel in panels
        for figure in (json.loads(panel.figure.to_json()),)
    }
    return _template(template).render(
        panels=panels,
        figures=_json(figures),
        config=_json(CONFIG),
        plotlyjs=Markup(get_plotlyjs()),  # noqa: S704  (the library's own file, not a user's text)
        style=_asset("report.css"),
        script=_asset("report.js"),
        **parts,
    )


@cache
def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("table.html.j2") + _asset(name))


def _asset(name: str) -> Markup:
    return Markup((files("sim.report") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704


def _json(value: Any) -> Markup:
    """Return JSON that cannot end the script element it stands in."""
    written = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(written.replace("<", "\\u003c"))  # noqa: S704
