"""An audit as one HTML file that needs nothing else, as Markdown, and as text for the terminal."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import sim
from sim.lifecycle.figures import Figure
from sim.report.audit_figures import panels
from sim.report.page import fill, write_page
from sim.report.panel import Table
from sim.study.audit import Answer, Audit
from sim.study.audit_questions import STAGES

PAGE, TEXT, PLAIN = "audit.html", "audit.md", "audit.json"
HEADER = ("figure", "value", "range", "unit", "source")
LEGEND = (
    "Every figure has its unit, and where it is from: computed, a source, or the word assumed. T, G, M: 1e12, 1e9, 1e6."
)
KINDS = {"numbers": "answered with numbers", "judgement": "a judgement, with the numbers that bear on it"}


def write_audit(audit: Audit, folder: Path) -> None:
    """Write an audit's three files into a folder that is there; raises SpecError where that cannot be."""
    write_page(json.dumps(audit.to_dict(), indent=2, allow_nan=False) + "\n", folder / PLAIN)
    write_page(markdown(audit), folder / TEXT)
    write_page(page(audit), folder / PAGE)


def page(audit: Audit) -> str:
    """Return the audit as the text of an HTML file."""
    return fill(
        "audit.html.j2",
        panels(audit),
        name=audit.name,
        description=audit.stages.spec.description,
        version=sim.__version__,
        headline=headline(audit),
        stages=by_stage(audit),
        kinds=KINDS,
        legend=LEGEND,
        table=table,
    )


def by_stage(audit: Audit) -> dict[str, list[Answer]]:
    """The answers of each stage, by its number and title."""
    return {
        f"Stage {number}: {title}": [answer for answer in audit.answers if answer.question.stage == number]
        for number, title in STAGES.items()
    }


def headline(audit: Audit) -> list[tuple[str, str]]:
    """The figures that the first glance should meet."""
    found = {(answer.question.key, figure.name): figure for answer in audit.answers for figure in answer.figures}
    release = audit.stages["release"]
    wanted = [
        ("Best tokens for this size", found.get(("2a", "best tokens for this size (epoch)"))),
        ("Tokens that the budget buys", found.get(("2a", "tokens that the budget buys at this size"))),
        ("Development of a release", release["development"]),
        ("Bill of a day's serving", found.get(("7a", "bill"))),
        ("Cost of output", found.get(("7a", "cost of output"))),
    ]
    return [(title, f"{number(figure.value)} {figure.unit}") for title, figure in wanted if figure is not None]


def table(answer: Answer) -> Table:
    """The figures of an answer."""
    return Table(HEADER, tuple(tuple(_row(figure)) for figure in answer.figures))


def _row(figure: Figure) -> Iterator[str]:
    yield figure.name
    yield number(figure.value)
    yield "" if figure.low is None or figure.high is None else f"{number(figure.low)} to {number(figure.high)}"
    yield figure.unit if figure.unit != "1" else "(a plain number)"
    yield figure.source if not figure.note else f"{figure.source}; {figure.note}"


def number(value: float) -> str:
    """A number with four digits that count; thousands and powers as people read them."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    size = abs(value)
    if size >= 1e15 or size < 1e-3:
        return f"{value:.3e}"
    for power, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= power:
            return f"{value / power:.4g}{name}"
    return f"{value:,.0f}" if size >= 1e4 or value == int(value) else f"{value:.4g}"


def markdown(audit: Audit) -> str:
    """Return the audit as Markdown."""
    lines = [
        f"# Lifecycle audit: {audit.name}",
        "",
        audit.stages.spec.description,
        "",
        f"Written by tokenfleet {sim.__version__}. {LEGEND}",
        "",
        *(f"- {title}: {value}" for title, value in headline(audit)),
    ]
    for title, answers in by_stage(audit).items():
        lines += ["", f"## {title}"]
        for answer in answers:
            lines += ["", *_answer(answer)]
    return "\n".join(lines) + "\n"


def _answer(answer: Answer) -> Iterator[str]:
    question = answer.question
    yield f"### {question.key}. {question.asked}"
    yield ""
    yield f"*{KINDS[question.kind].capitalize()}.*"
    if answer.figures:
        yield ""
        yield "| " + " | ".join(HEADER) + " |"
        yield "|" + "---|" * len(HEADER)
        for row in table(answer).rows:
            yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""
    yield f"What the numbers say: {question.says}"
    yield ""
    yield f"What they cannot say: {question.cannot}"
