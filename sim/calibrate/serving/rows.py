"""Tables of serving measurements: rows as read, and the measured conditions (points) they belong to."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sim.errors import Problem, SpecError

CONDITION = (
    "source", "date", "engine", "version", "model", "precision", "gpu", "tp", "pp", "isl", "osl",
    "concurrency_or_rate",
)  # fmt: skip
"""Columns that say how a value was measured; with the notes, they tell one point from another."""
COLUMNS = (*CONDITION, "metric", "value", "unit", "notes", "tier", "group_id")
"""Columns that a table must have; others are kept and not looked at."""
_DERIVED = re.compile(r";?\s*DERIVED.*$")
_TO_MS = {"ms": 1.0, "s": 1e3, "us": 1e-3}
MAX_SHOWN = 5
"""Bad values shown one by one; the others are counted."""

Row = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of measurements."""

    columns: tuple[str, ...]
    """Columns in the order of the file."""
    rows: tuple[Row, ...]
    values: tuple[float, ...]
    """Measured value of each row; times in ms."""


@dataclass(frozen=True)
class Point:
    """One measured condition with all that was measured under it; columns as they stand in the table."""

    source: str
    date: str
    engine: str
    version: str
    model: str
    precision: str
    gpu: str
    tp: str
    pp: str
    isl: str
    osl: str
    load: str
    """Column `concurrency_or_rate`."""
    notes: str
    """Without what it says of the single value."""
    group_id: str
    tier: str
    rows: tuple[int, ...] = field(default=(), compare=False)
    """Indices of its rows in the table."""
    measured: dict[str, float] = field(default_factory=dict, compare=False)
    """Value by metric; times in ms."""

    @property
    def condition(self) -> tuple[str, ...]:
        """What tells this point from others but the notes: equal where a measurement was repeated."""
        return (
            self.source, self.engine, self.version, self.model, self.precision, self.gpu, self.tp, self.pp, self.isl,
            self.osl, self.load,
        )  # fmt: skip


def read_table(path: Path) -> Table:
    """Read a CSV file of measurements.

    Raises
    ------
    SpecError
        The file cannot be read, columns are missing, or values are no numbers: all that is wrong, with lines.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            missing = [name for name in COLUMNS if name not in columns]
            if missing:
                has = ", ".join(columns) or "nothing"
                raise SpecError(Problem(f"columns missing: {', '.join(missing)}. The file has: {has}", str(path), 1))
            rows, lines = [], []
            for row in reader:
                rows.append({name: (row[name] or "").strip() for name in columns})
                lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecError(Problem(f"cannot be read: {why}", str(path))) from None
    if not rows:
        raise SpecError(Problem("no rows", str(path), 1))
    values, problems = [], []
    for row, line in zip(rows, lines, strict=True):
        value, problem = _value(row)
        values.append(value)
        if problem:
            problems.append(Problem(problem, str(path), line, "value"))
    if len(problems) > MAX_SHOWN:
        more = Problem(f"and {len(problems) - MAX_SHOWN} more rows of the kind", str(path))
        problems = [*problems[:MAX_SHOWN], more]
    SpecError.raise_if(problems)
    return Table(columns, tuple(rows), tuple(values))


def _value(row: Row) -> tuple[float, str]:
    """Return a row's value (times in ms), and what is wrong with it."""
    try:
        value = float(row["value"])
    except ValueError:
        return math.nan, f"must be a number, got {row['value']!r}"
    if not (math.isfinite(value) and value > 0.0):
        return math.nan, f"must be a number above 0, got {row['value']}"
    return value * _TO_MS.get(row["unit"], 1.0), ""


def points_of(table: Table) -> tuple[Point, ...]:
    """Return the points of a table in the order in which they begin."""
    found: dict[tuple[str, ...], list[int]] = {}
    for number, row in enumerate(table.rows):
        key = (*(row[name] for name in CONDITION), _DERIVED.sub("", row["notes"]), row["group_id"], row["tier"])
        found.setdefault(key, []).append(number)
    return tuple(_point(table, key, numbers) for key, numbers in found.items())


def _point(table: Table, key: tuple[str, ...], numbers: Sequence[int]) -> Point:
    measured: dict[str, float] = {}
    for number in numbers:
        measured.setdefault(table.rows[number]["metric"], table.values[number])
    names = (*CONDITION[:-1], "load", "notes", "group_id", "tier")
    return Point(**dict(zip(names, key, strict=True)), rows=tuple(numbers), measured=measured)
