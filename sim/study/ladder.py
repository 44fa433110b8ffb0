"""A ladder of overrides: each rung played for itself, and compared with the one it names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim import catalog
from sim.errors import Problem, SpecError, TokenfleetError
from sim.fleet.run import Run
from sim.spec import Scenario
from sim.spec.ladder import Rung

TABLE, PLAIN = "ladder.csv", "ladder.json"
FIGURES = ("output_throughput", "request_throughput", "median_ttft_ms", "p99_ttft_ms", "median_itl_ms", "p99_itl_ms")
"""Keys of a result that stand in the table as they are."""
COMPARED = ("output_throughput", "median_ttft_ms", "median_itl_ms", "usd_per_1m_output_tokens")
"""Columns that are also given as a multiple of the rung compared with."""


@dataclass(frozen=True)
class Climbed:
    """What became of a rung."""

    rung: Rung
    run: Run | None
    error: TokenfleetError | None = None
    """Why it cannot run: the model does not fit, or a part does not go with it."""


def load_rungs(name: str | Path, set: Sequence[str] = ()) -> dict[str, Scenario]:  # noqa: A002  (as in `sim.load`)
    """Return the scenario of each rung by its name, in order; raises SpecError with what is wrong with any of them."""
    problems: list[Problem] = []
    rungs: dict[str, Scenario] = {}
    for rung in catalog.load(name, set).ladder:
        try:
            rungs[rung.override] = catalog.load(name, set, [rung.override])
        except SpecError as error:
            problems += error.problems
    SpecError.raise_if(dict.fromkeys(problems))
    return rungs


def climb(
    ladder: Sequence[Rung], rungs: Mapping[str, Scenario], play: Callable[[str, Scenario], Run]
) -> Iterator[Climbed]:
    """Yield each rung when it has been played; one that cannot run is no mistake but an answer.

    Parameters
    ----------
    ladder
        The rungs in order.
    rungs
        Their scenarios by name.
    play
        Runs a scenario, given the rung's name. Rungs that are the same scenario are played once.

    Raises
    ------
    TokenfleetError
        The first rung's, where none of them can run.
    """
    played: dict[str, Run] = {}
    errors: list[TokenfleetError] = []
    for rung in ladder:
        scenario = rungs[rung.override]
        if scenario.digest not in played:
            try:
                played[scenario.digest] = play(rung.override, scenario)
            except TokenfleetError as error:
                errors.append(error)
                yield Climbed(rung, None, error)
                continue
        yield Climbed(rung, played[scenario.digest])
    if errors and not played:
        raise errors[0]


def table(climbed: Sequence[Climbed]) -> list[dict[str, Any]]:
    """Return a row a rung, its keys as docs/nomenclature.md defines them."""
    rows: dict[str, dict[str, Any]] = {}
    for one in climbed:
        rung, row = one.rung, _figures(one.run)
        below = rows.get(rung.against or "", {})
        for name in COMPARED:
            row[f"{name}_factor"] = _ratio(row[name], below.get(name))
        words = {"rung": rung.override, "switches": rung.switches, "against": rung.against, "expected": rung.expected}
        rows[rung.override] = {**words, "problem": None if one.error is None else str(one.error), **row}
    return list(rows.values())


def _figures(run: Run | None) -> dict[str, Any]:
    """Return the figures of a run, or as many empty ones."""
    if run is None:
        return dict.fromkeys((*FIGURES, "usd_per_1m_output_tokens", "running_mean"))
    result = run.result
    return {
        **{name: result[name] for name in FIGURES},
        "usd_per_1m_output_tokens": result["sim"]["cost"]["usd_per_1m_output_tokens"],
        "running_mean": sum(pool["running_mean"] for pool in result["sim"]["by_pool"].values()),
    }


def _ratio(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def write_table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the table as CSV and as JSON into a folder; raises SpecError where that cannot be."""
    try:
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        text = json.dumps({"ladder": list(rows)}, indent=2, allow_nan=False, ensure_ascii=False)
        (folder / PLAIN).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SpecError(Problem(f"cannot write there: {error.strerror or error}", file=str(folder))) from error
