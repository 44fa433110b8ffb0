# ruff: noqa: INP001
"""The scores of docs/validation.md, from what `tokenfleet validate TABLE --json --out ROWS.csv` said.

Run: PYTHONPATH=. python docs/make_validation_scores.py SUMMARY.json ROWS.csv
It writes between the two marks of the page; what stands around them is written by hand.
"""

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Summary = Mapping[str, Any]
Rows = Sequence[Mapping[str, str]]

PAGE = Path(__file__).parent / "validation.md"
BEGIN, END = "<!-- scores: begin -->", "<!-- scores: end -->"
QUANTITIES = {"tpot": "time per token", "throughput": "throughput", "ttft": "first token"}
WORST = 2
"""Worst rows shown of each bed."""


def percent(score: Summary | None) -> str:
    """Median, 90th percentile and bias of a score in percent; nothing where there is none."""
    if not score:
        return ""
    median, p90, bias = (100.0 * score[name] for name in ("median_ape_frac", "p90_ape_frac", "median_signed_frac"))
    return f"{median:.1f}/{p90:.1f} ({bias:+.1f})"


def scores(summary: Summary) -> Iterator[str]:
    """A row for each bed, GPU, kind of model and quantity of tier A."""
    noise = {(one["bed"], one["quantity"]): one for one in summary["noise"]}
    yield "| bed | GPU | models | quantity | rows | fitted | held out | repeats differ by |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in summary["by_bed"]:
        if row["tier"] != "A" or row["part"] != "mean, p50" or row["quantity"] not in QUANTITIES:
            continue
        repeats = noise.get((row["bed"], row["quantity"]))
        floor = f"{100 * repeats['median_frac']:.2g}/{100 * repeats['p90_frac']:.2g}" if repeats else ""
        cells = (row["bed"], row["gpu"], row["architecture"], QUANTITIES[row["quantity"]], str(row["num_rows"]))
        yield "| " + " | ".join((*cells, percent(row), percent(row["cv"]), floor)) + " |"


def over_beds(summary: Summary) -> Iterator[str]:
    """Medians over beds, all of one weight."""
    yield "| models | quantity | beds | | median/p90 (bias) |"
    yield "|---|---|---|---|---|"
    for row in summary["over_beds"]:
        part = "held out" if row["part"] == "cv" else "fitted"
        cells = (row["architecture"], QUANTITIES.get(row["quantity"], row["quantity"]), str(row["num_beds"]), part)
        yield "| " + " | ".join((*cells, percent(row))) + " |"


def knees(summary: Summary) -> Iterator[str]:
    """How often the load at which first tokens leave the prefill's line is met."""
    yield "| bed | GPU | sweeps | within one step |"
    yield "|---|---|---|---|"
    for row in summary["knees"]:
        yield f"| {row['bed']} | {row['gpu']} | {row['num_sweeps']} | {row['within_one_step']} |"


def worst(rows: Rows) -> Iterator[str]:
    """The rows of tier A that are furthest off, by bed."""
    found: dict[tuple[str, str], list[Mapping[str, str]]] = {}
    for row in rows:
        counted = row["tier"] == "A" and row["ape_frac"] and not row["distrust"] and row["saturated"] != "true"
        if counted and row["metric"].endswith(("_mean", "_p50", "output_throughput")):
            found.setdefault((row["bed"], row["gpu"]), []).append(row)
    yield "| bed | GPU | row | measured | predicted | off |"
    yield "|---|---|---|---|---|---|"
    for (bed, gpu), members in sorted(found.items()):
        for row in sorted(members, key=lambda one: -float(one["ape_frac"]))[:WORST]:
            condition = f"{row['model']}, tp {row['tp']}, {row['isl']}/{row['osl']}, {row['concurrency_or_rate']}"
            value = float(row["value"]) * {"s": 1e3, "us": 1e-3}.get(row["unit"], 1.0)
            predicted = float(row["predicted"])
            cells = (bed, gpu, f"{condition}: {row['metric']}", f"{value:.4g}", f"{predicted:.4g}")
            yield "| " + " | ".join((*cells, f"{100 * (predicted / value - 1):+.0f} %")) + " |"


def engines(summary: Summary) -> Iterator[str]:
    """Calibrations used, with their grade."""
    yield "| calibration | version | grade | curves | points | rows predicted |"
    yield "|---|---|---|---|---|---|"
    for row in summary["engines"]:
        cells = (row["entry"], row["version"], row["grade"], row["num_curves"], row["num_points"], row["num_rows"])
        yield "| " + " | ".join(map(str, cells)) + " |"


def page(summary: Summary, rows: Rows) -> str:
    """The text between the marks."""
    known = f"{summary['covered']:,} of {summary['rows']:,} rows are predicted, {summary['covered_known_frac']:.1%} of"
    parts = (
        [f"{known} the {summary['known_rows']:,} of known models. Not covered:"],
        [f"* {one['reason']}: {one['num_rows']:,}" for one in summary["not_covered"]],
        ["", "Median/90th percentile (signed median) in %; tier A, means and medians, without rows scored apart.", ""],
        scores(summary),
        ["", "Medians over beds, each of the same weight:", ""],
        over_beds(summary),
        ["", "Knees, the load from which first tokens leave the line of the prefills:", ""],
        knees(summary),
        ["", "The rows furthest off:", ""],
        worst(rows),
        ["", "Calibrations that were used:", ""],
        engines(summary),
    )
    return "\n".join(line for part in parts for line in part)


def main() -> None:
    """Write the page."""
    summary = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with Path(sys.argv[2]).open(newline="", encoding="utf-8") as file:
        text = page(summary, list(csv.DictReader(file)))
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
