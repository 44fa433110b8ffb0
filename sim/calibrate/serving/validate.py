"""Validation: every row of a table of serving measurements predicted, scored and written down."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sim.calibrate.serving.knees import knees
from sim.calibrate.serving.library import Library, NotCoveredError
from sim.calibrate.serving.play import Outcome, Player
from sim.calibrate.serving.results import Result, results_of
from sim.calibrate.serving.rows import Point, Row, Table, points_of
from sim.calibrate.serving.score import by_bed, by_metric, noise, over_beds, trusted
from sim.errors import Problem, SpecError
from sim.spec import Scenario
from sim.spec.bed import Beds

Progress = Callable[[int, int], None]
ADDED = ("predicted", "ape_frac", "covered", "reason", "saturated", "predicted_cv", "ape_cv_frac", "bed", "distrust")
"""Columns that a written table has after those of the input."""
BATCH = 40
"""Points that a process takes at a time: neighbours share profiles."""
FEWEST_FOR_PROCESSES = 4 * BATCH


@dataclass(frozen=True)
class Validation:
    """A table and all that was predicted of it."""

    table: Table
    points: tuple[Point, ...]
    outcomes: tuple[Outcome, ...]
    beds: Beds
    calibrations: dict[str, dict[str, Any]]
    """Version, date, driver and grade of each calibration used, by entry."""

    @cached_property
    def results(self) -> tuple[Result, ...]:
        """Every row in the order of the table."""
        found = results_of(self.table, self.points, self.outcomes, self.beds)
        return tuple(sorted(found, key=lambda result: result.row))

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Scores and coverage as plain data: what `tokenfleet validate --json` prints."""
        covered = [result for result in self.results if result.covered]
        scored = trusted(self.results)
        bed_of = [outcome.bed for outcome in self.outcomes]
        beds = by_bed(scored)
        return {
            "rows": len(self.results),
            "covered": len(covered),
            "known_rows": self.num_known,
            "covered_known_frac": len(covered) / self.num_known if self.num_known else None,
            "by": by_metric(scored),
            "by_distrusted": by_metric(result for result in covered if result.distrust),
            "by_saturated": by_metric(result for result in covered if result.queues and not result.distrust),
            "by_bed": beds,
            "over_beds": over_beds(beds),
            "knees": self._knees(bed_of),
            "noise": noise(self.points, bed_of),
            "not_covered": self._not_covered(),
            "distrusted": _counted(result.distrust for result in self.results if result.distrust),
            "engines": self._engines(),
            "stand_ins": _counted(result.reason for result in covered if result.reason),
        }

    @cached_property
    def num_known(self) -> int:
        """Rows of models with a public configuration that the simulator has a form for."""
        return sum(len(point.rows) for point, outcome in zip(self.points, self.outcomes, strict=True) if outcome.known)

    def _not_covered(self) -> list[dict[str, Any]]:
        return _counted(result.reason for result in self.results if not result.covered)

    def _engines(self) -> list[dict[str, Any]]:
        """What the calibrations used rest on: version, date, driver, and the grade of the evidence."""
        rows = Counter(result.engine for result in self.results if result.covered)
        return [self.calibrations[name] | {"num_rows": count} for name, count in rows.most_common()]

    def _knees(self, bed_of: Sequence[str]) -> list[dict[str, Any]]:
        found: dict[tuple[str, str], list[int]] = {}
        for one in knees(self.points, [outcome.predicted for outcome in self.outcomes], bed_of):
            found.setdefault((one.bed, one.gpu), []).append(one.steps_off)
        return [
            {
                "bed": bed,
                "gpu": gpu,
                "num_sweeps": len(steps),
                "within_one_step": sum(step <= 1 for step in steps),
                "worst_steps_off": max(steps),
            }
            for (bed, gpu), steps in sorted(found.items())
        ]

    def write(self, path: Path) -> None:
        """Write every column of every row, and what was predicted of it."""
        try:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow((*self.table.columns, *ADDED))
                for result in self.results:
                    row = self.table.rows[result.row]
                    writer.writerow((*(row[name] for name in self.table.columns), *_added(result)))
        except OSError as error:
            raise SpecError(Problem(f"cannot be written: {error.strerror}", str(path))) from None


def _added(result: Result) -> Iterator[str]:
    """Yield the texts under `ADDED`."""
    covered = result.covered
    yield _text(result.predicted)
    yield _text(abs(result.error_frac) if covered else math.nan)
    yield str(covered).lower()
    yield result.reason
    yield str(result.saturated).lower()
    yield _text(result.held_out)
    yield _text(abs(result.held_out_error_frac))
    yield result.bed
    yield result.distrust


def _text(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else ""


def _counted(reasons: Iterator[str]) -> list[dict[str, Any]]:
    return [{"reason": reason, "num_rows": count} for reason, count in Counter(reasons).most_common()]


def chosen(table: Table, patterns: dict[str, str]) -> Table:
    """Return the rows whose columns hold the patterns (regular expressions, whatever the case of letters).

    Raises
    ------
    SpecError
        No row is left, or a pattern is none.
    """
    try:
        tests = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in patterns.items()}
    except re.error as error:
        raise SpecError(f"not a regular expression: {error.pattern!r}: {error}") from None

    def holds(row: Row) -> bool:
        return all(test.search(row[name]) for name, test in tests.items())

    kept = [number for number, row in enumerate(table.rows) if holds(row)]
    if not kept:
        asked = ", ".join(f"{name} {pattern}" for name, pattern in patterns.items())
        raise SpecError(f"no row of the table has {asked}")
    return Table(table.columns, tuple(table.rows[n] for n in kept), tuple(table.values[n] for n in kept))


def check_writable(paths: Iterable[Path]) -> None:
    """Try files that will be written, before anything is computed; raises SpecError."""
    problems = []
    for path in paths:
        if path.is_dir():
            problems.append(Problem("is a folder; give the name of a file", str(path)))
        elif not path.parent.is_dir():
            problems.append(Problem(f"no such folder: {path.parent}", str(path)))
    SpecError.raise_if(problems)


def scenario_of_row(table: Table, row: int) -> Scenario:
    """Return the scenario that a row, counted from 0, is played as; raises SpecError where there is none."""
    if row >= len(table.rows):
        raise SpecError(f"the table has {len(table.rows)} rows, asked for row {row + 1}")
    point = next(point for point in points_of(table) if row in point.rows)
    try:
        return Player().scenario(point)
    except NotCoveredError as error:
        raise SpecError(f"row {row + 1} is not covered: {error}") from None


def validate(table: Table, *, processes: int | None = None, progress: Progress | None = None) -> Validation:
    """Predict every row of a table.

    Parameters
    ----------
    table
        Measurements.
    processes
        How many to use; default: one for each processor. What is predicted does not depend on it.
    progress
        Called with (points done, points).
    """
    points, library = points_of(table), Library()
    outcomes: list[Outcome] = []
    for batch in _played(points, library, processes or os.cpu_count() or 1):
        outcomes += batch
        if progress is not None:
            progress(len(outcomes), len(points))
    used = {(outcome.engine, outcome.gpu) for outcome in outcomes if outcome.covered}
    return Validation(
        table, points, tuple(outcomes), library.beds, {name: _calibration(name, gpu, library) for name, gpu in used}
    )


def _calibration(name: str, gpu: str, library: Library) -> dict[str, Any]:
    """Return what a result says of the calibration it rests on."""
    engine = library.engine(name.removesuffix(f"-{gpu}"), gpu)
    evidence = engine.evidence if engine.status == "calibrated" else None
    return {
        "entry": name,
        "engine": engine.engine,
        "version": engine.version,
        "date": engine.date,
        "driver": engine.driver,
        "gpu": gpu,
        "grade": evidence.grade if evidence else "extrapolated" if engine.status == "extrapolated" else "not graded",
        "num_curves": evidence.num_curves if evidence else 0,
        "num_points": evidence.num_points if evidence else 0,
    }


def _played(points: Sequence[Point], library: Library, processes: int) -> Iterator[list[Outcome]]:
    """Yield the outcomes of the points in order, some at a time."""
    player = Player(library)
    batches = [points[begin : begin + BATCH] for begin in range(0, len(points), BATCH)]
    if processes == 1 or len(points) < FEWEST_FOR_PROCESSES:
        for batch in batches:
            yield [player.outcome(point) for point in batch]
        return
    # The first batch here: what has to be compiled once is then compiled for all.
    yield [player.outcome(point) for point in batches[0]]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin) as pool:
        yield from pool.map(_play, batches[1:])


_PLAYER: list[Player] = []


def _begin() -> None:
    """Give a process a player of its own."""
    _PLAYER.append(Player())


def _play(batch: Sequence[Point]) -> list[Outcome]:
    return [_PLAYER[0].outcome(point) for point in batch]
