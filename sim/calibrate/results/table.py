"""Rows of the table of serving measurements: what files say joined with what the user adds."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sim.calibrate.results.files import read_files
from sim.calibrate.results.measured import UNITS, Measured
from sim.errors import Problem, SpecError

COLUMNS: Final = (
    "source", "date", "engine", "version", "model", "precision", "gpu", "tp", "pp", "isl", "osl",
    "concurrency_or_rate", "metric", "value", "unit", "url_or_path", "notes", "tier", "group_id",
)  # fmt: skip
"""Columns of the table; docs/validation.md says what each means."""
TIER: Final = "A"
"""Online serving on a current engine, measured request by request."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the user says about the files; it goes before what they say of themselves. None: left to the file."""

    engine: str | None = None
    version: str | None = None
    model: str | None = None
    precision: str | None = None
    gpu: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    isl: str | None = None
    """Mean prompt length [tokens], or `dist:NAME`."""
    osl: str | None = None
    load: str | None = None
    """`concurrency=N`, `rate=R req/s`, or as the table has it."""
    notes: str = ""
    """Settings of the server that the files do not hold, as its command line has them."""


_OPTIONS: Final = {
    "engine": ("--engine", "such as vllm"),
    "version": ("--engine-version", "such as 0.12.0"),
    "model": ("--model", "a name from `tokenfleet list models`"),
    "precision": ("--precision", "of the weights: bf16, fp8, ..."),
    "gpu": ("--gpu", "a name from `tokenfleet list hardware`"),
    "tp": ("--tensor-parallel-size", "GPUs that share each layer"),
    "isl": ("--isl", "mean prompt length [tokens]"),
    "osl": ("--osl", "mean answer length [tokens]"),
    "concurrency_or_rate": ("--load", '"concurrency=16" or "rate=4 req/s"'),
}


def rows(measured: Iterable[Measured], conditions: Conditions) -> list[dict[str, str]]:
    """Return one row a value.

    Raises
    ------
    SpecError
        Neither the files nor the user say something that a row needs: all that is missing, and for which files.
    """
    found: list[dict[str, str]] = []
    missing: dict[str, list[str]] = {}
    for one in measured:
        shared = _shared(one, conditions)
        for name in _OPTIONS:
            if not shared[name]:
                missing.setdefault(name, []).append(one.file)
        found += [
            shared | {"metric": metric, "value": f"{value:.8g}", "unit": UNITS.get(metric, "ms")}
            for metric, value in one.values.items()
        ]
    SpecError.raise_if(_ask(name, files) for name, files in missing.items())
    return found


def _ask(name: str, files: Sequence[str]) -> Problem:
    option, what = _OPTIONS[name]
    distinct = list(dict.fromkeys(files))
    where = distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"
    return Problem(f"missing: {where} does not say it. Give {option}: {what}", option)


def _shared(one: Measured, said: Conditions) -> dict[str, str]:
    """Return the columns that all values of one load have in common."""
    tensor = said.tensor_parallel_size or one.tensor_parallel_size
    columns = {
        "source": f"own ({one.tool})",
        "date": one.date or "",
        "engine": said.engine or one.engine or "",
        "version": said.version or one.version or "",
        "model": said.model or one.model or "",
        "precision": said.precision or "",
        "gpu": said.gpu or "",
        "tp": str(tensor) if tensor else "",
        "pp": str(said.pipeline_parallel_size or one.pipeline_parallel_size or 1),
        "isl": said.isl or (f"{one.input_tokens:.0f}" if one.input_tokens else ""),
        "osl": said.osl or (f"{one.output_tokens:.0f}" if one.output_tokens else ""),
        "concurrency_or_rate": said.load or one.load or "",
    }
    place = one.file if one.line is None else f"{one.file}:{one.line}"
    requests = [f"{one.num_requests} requests"] if one.num_requests else []
    notes = "; ".join([*requests, *one.notes, *([said.notes] if said.notes else [])])
    curve = "|".join(columns[name] for name in ("model", "gpu", "tp", "precision", "isl", "osl", "engine"))
    group_id = f"u{hashlib.sha256(curve.encode()).hexdigest()[:8]}"
    return columns | {"url_or_path": place, "notes": notes, "tier": TIER, "group_id": group_id}


def import_results(paths: Sequence[str | Path], conditions: Conditions) -> list[dict[str, str]]:
    """Return the rows of result files; raises SpecError with all that is wrong or missing."""
    return rows(read_files(paths), conditions)


def write_table(table: Sequence[dict[str, str]], path: str | Path) -> None:
    """Write rows as the CSV that `sim.calibrate.serving.rows` reads; raises SpecError where the file exists."""
    try:
        with Path(path).open("x", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({name: row[name] for name in COLUMNS} for row in table)
    except FileExistsError:
        raise SpecError(f"{path}: exists already; measurements are never overwritten. Give another name") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None
