"""A run's folder: written once the run is done, tried before it starts, read by reports.

`run_info.json` is what depends on the machine or the moment. All other files have the same bytes for the same scenario,
code and seed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sim.errors import Problem, SpecError
from sim.metrics.rundata import RunData
from sim.metrics.tables import histograms_from, histograms_table, timeline_rows, timeline_table

RESULT, INFO, ASSUMPTIONS = "result.json", "run_info.json", "assumptions.json"
REQUESTS, TIMELINE, HISTOGRAMS = "requests.parquet", "timeline.parquet", "histograms.parquet"
SCENARIO = "scenario.yaml"


def check_output(folder: Path) -> None:
    """Make the folder and try to write in it, so that a day is not simulated in vain.

    Raises
    ------
    SpecError
        The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(folder, error) from error


def write_run(folder: Path, run: RunData, requests: pa.Table) -> None:
    """Write all files of a run but its report.

    Parameters
    ----------
    folder
        Made if it is not there; files of an earlier run are replaced.
    run
        The finished run.
    requests
        What `sim.metrics.tables.requests_table` returns.

    Raises
    ------
    SpecError
        A file cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / RESULT, run.result)
        _write_json(folder / INFO, run.info)
        _write_json(folder / ASSUMPTIONS, list(run.assumptions))
        _write_parquet(folder / REQUESTS, requests)
        _write_parquet(folder / TIMELINE, timeline_table(run.timeline, run.pools))
        _write_parquet(folder / HISTOGRAMS, histograms_table(run.histograms))
        (folder / SCENARIO).write_text(run.scenario_yaml, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(folder, error) from error


def write_info(folder: Path, info: Mapping[str, Any]) -> None:
    """Write `run_info.json` anew, once it is known how long the other files took."""
    try:
        _write_json(folder / INFO, info)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def read_run(folder: Path) -> RunData:
    """Return the run that `write_run` wrote, without its requests.

    Raises
    ------
    SpecError
        The folder holds no complete run.
    """
    try:
        result = _read_json(folder / RESULT)
        by_tier, by_pool = result["sim"]["by_tier"], result["sim"]["by_pool"]
        return RunData(
            result=result,
            info=_read_json(folder / INFO),
            histograms=histograms_from(pq.read_table(folder / HISTOGRAMS), tuple(by_tier)),
            timeline=timeline_rows(pq.read_table(folder / TIMELINE), tuple(by_pool)),
            tiers=tuple(by_tier),
            assumptions=_read_json(folder / ASSUMPTIONS),
            scenario_yaml=(folder / SCENARIO).read_text(encoding="utf-8"),
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        message = f"holds no complete run ({error}). Give a folder that `tokenfleet run` wrote."
        raise SpecError(Problem(message, file=str(folder))) from error


def _cannot_write(folder: Path, error: OSError) -> SpecError:
    reason = error.strerror or str(error)
    message = f"cannot write there: {reason}. Give another folder with --out."
    return SpecError(Problem(message, file=str(folder)))


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_parquet(path: Path, table: pa.Table) -> None:
    pq.write_table(table, path, compression="zstd")
