"""A measurement folder: `measurements.csv`, one row a point; `provenance.json`; a README of one paragraph."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sim.calibrate.microbench.points import COLUMNS, Row, as_record, from_record
from sim.errors import Problem, SpecError

MEASUREMENTS: Final = "measurements.csv"
PROVENANCE: Final = "provenance.json"
README: Final = """\
Operator timings of {gpu}, measured by `tokenfleet microbench`. Each row of `measurements.csv` is one call of one
operator; `provenance.json` says on what and how it was measured. `tokenfleet calibrate microbench` makes a profile of
it.

| column | meaning [unit] |
|---|---|
{columns}
"""


class Writer:
    """A new measurement folder; each row is on the disk before the next point begins."""

    def __init__(self, folder: Path, provenance: dict[str, Any]) -> None:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise SpecError(f"{folder}: exists already. Measurements are never overwritten: give another --out")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._provenance = provenance
        self.describe(complete=False)
        columns = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items())
        (folder / "README.md").write_text(README.format(gpu=provenance["gpu"], columns=columns))
        self._file = (folder / MEASUREMENTS).open("w", newline="", encoding="utf-8")
        self._csv = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._csv.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, row: Row) -> None:
        """Add one row."""
        self._csv.writerow(as_record(row))
        self._file.flush()

    def describe(self, **more: Any) -> None:
        """Add to the provenance and write it."""
        self._provenance |= more
        (self.folder / PROVENANCE).write_text(json.dumps(self._provenance, indent=2, sort_keys=False) + "\n")


@dataclass(frozen=True, slots=True)
class Measurements:
    """A measurement folder as it was read."""

    folder: Path
    rows: tuple[Row, ...]
    provenance: dict[str, Any]

    @property
    def measured(self) -> tuple[Row, ...]:
        """Rows that have a time."""
        return tuple(row for row in self.rows if row.median_s is not None)

    @property
    def source(self) -> str:
        """Text that says where these numbers come from."""
        known = self.provenance
        return (
            f"tokenfleet microbench, {known.get('date', 'no date')}, {known.get('gpu', 'unknown device')}, "
            f"driver {known.get('driver')}, CUDA {known.get('cuda')}, torch {known.get('torch')}"
        )


def read(folder: str | Path) -> Measurements:
    """Read a measurement folder.

    Raises
    ------
    SpecError
        A file is missing or holds something else; each wrong row with its line.
    """
    folder = Path(folder)
    path = folder / MEASUREMENTS
    try:
        text = path.read_text(encoding="utf-8")
        provenance = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"{folder}: no measurement folder ({error}). `tokenfleet microbench` writes {MEASUREMENTS} and {PROVENANCE}"
        ) from None
    except json.JSONDecodeError as error:
        raise SpecError(Problem(f"no JSON: {error.msg}", str(folder / PROVENANCE), error.lineno)) from None
    if not isinstance(provenance, dict):
        raise SpecError(Problem("expected an object", str(folder / PROVENANCE)))
    rows, problems = [], []
    for line, record in enumerate(csv.DictReader(text.splitlines()), start=2):
        try:
            rows.append(from_record(record))
        except ValueError as error:
            problems.append(Problem(str(error), str(path), line))
    SpecError.raise_if(problems[:20])
    if not any(row.median_s is not None for row in rows):
        raise SpecError(Problem("holds no measured row", str(path)))
    return Measurements(folder, tuple(rows), provenance)
