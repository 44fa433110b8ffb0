# ruff: noqa: INP001  (a script, in no package)
"""Writes the table of docs/validation.md that says what the engines' calibrations claim, from the entries themselves.

Run `python docs/make_calibration_table.py` after an entry has changed; a test compares. It writes between the two marks
of the page; what stands around them is written by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sim import catalog
from sim.cost.calibration import load_engine
from sim.spec.engine import EngineSpec
from sim.spec.evidence import FitError

PAGE = Path(__file__).with_name("validation.md")
BEGIN, END = "<!-- calibrations: begin -->", "<!-- calibrations: end -->"
QUANTITIES = {"tpot": "time per token", "throughput": "throughput", "ttft": "first token"}


def table() -> str:
    """Return the text between the marks."""
    engines = [load_engine(*name.split("-", 1)) for name in catalog.list_entries("engines")]
    measured = [engine for engine in engines if engine.errors]
    heads = ("entry", "version", "measured", "grade", "curves", "points", *QUANTITIES.values())
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cells(engine)) + " |" for engine in sorted(measured, key=order)]
    others = ", ".join(f"`{engine.name}`" for engine in engines if not engine.errors)
    return "\n".join((*lines, "", f"Carried over from another GPU or version, nothing measured: {others}."))


def order(engine: EngineSpec) -> tuple[bool, str]:
    """Calibrated entries first."""
    return engine.status != "calibrated", engine.name


def cells(engine: EngineSpec) -> Iterator[str]:
    """Yield the cells of an entry's line."""
    evidence = engine.evidence if engine.status == "calibrated" else None
    yield from (f"`{engine.name}`", engine.version, engine.date)
    if evidence:
        yield from (evidence.grade, str(evidence.num_curves), str(evidence.num_points))
    else:
        yield from ("extrapolated", "", str(max(error.num_points for error in engine.errors.values())))
    yield from (shown(engine.errors.get(quantity)) for quantity in QUANTITIES)


def shown(error: FitError | None) -> str:
    """Median/90th percentile and bias in percent; nothing where it was not measured."""
    if error is None:
        return ""
    bias = "" if error.bias_frac is None else f" ({100 * error.bias_frac:+.1f})"
    return f"{100 * error.median_frac:.1f}/{100 * error.p90_frac:.1f}{bias}"


def page(text: str) -> str:
    """Return a page with the table between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
