"""ServeGen's description of clients: how often each sends in each window of time, how burstily, and how long.

The original (alibaba/ServeGen, data/CATEGORY/MODEL) is a folder with two files a client:

chunk-N-trace.csv     no header; window's start [s], rate [1/s], CV of inter-arrival times, Gamma or Weibull (nothing:
                      no traffic), and that distribution's shape and scale
chunk-N-dataset.json  {"window's start": {"input_tokens": "{length: probability, ...}", "output_tokens": ...}, ...}

A single table (CSV, plain or gzip, sorted by client) with the header client,t_s,rate_rps,iat_cv,arrival_dist,p1,p2
holds the same windows, without lengths. Clients come one at a time.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces.files import chunks
from sim.traffic.traces.flaws import MAX_PROBLEMS, MAX_TOKENS
from sim.traffic.traces.repair import Report

WINDOW: Final = np.dtype(
    [
        ("t_s", "f8"),  # its start
        ("rate_per_s", "f8"),
        ("iat_cv", "f8"),
        ("weibull", "?"),  # else gamma
        ("shape", "f8"),
        ("scale_s", "f8"),
    ]
)
HEADER: Final = "client,t_s,rate_rps,iat_cv,arrival_dist,p1,p2"
_TRACE: Final = re.compile(r"chunk-(\d+)-trace\.csv(\.gz)?")
_PATTERNS: Final = {"gamma": False, "weibull": True}


@dataclass
class Client:
    """Windows with traffic of one client, and its lengths."""

    number: int
    windows: NDArray[np.void]
    """dtype WINDOW, in order of time."""
    lengths: dict[float, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]] = field(default_factory=dict)
    """{start [s]: {field: (values, probabilities)}}, as far as they are known."""


def read_clients(path: str | Path) -> Iterator[Client]:
    """Yield the clients of a folder or a table, by number.

    Raises
    ------
    TraceError
        A file cannot be read or has wrong rows.
    """
    path = Path(path)
    if not path.is_dir():
        yield from _table(path)
        return
    found = sorted((int(match[1]), file) for file in path.iterdir() if (match := _TRACE.fullmatch(file.name)))
    if not found:
        raise TraceError(Problem("has no files chunk-N-trace.csv: it describes no clients", str(path)))
    for number, file in found:
        rows = [row for _, (_, row) in _rows(file, 6)]
        yield Client(number, _windows(rows), _lengths(file, number))


def write_clients(folder: str | Path, clients: Iterable[Client]) -> int:
    """Write clients as the original does; returns how many."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    num_clients = 0
    for client in clients:
        num_clients += 1
        lines = [
            f"{w['t_s']:.0f},{w['rate_per_s']!r},{w['iat_cv']!r},{'Weibull' if w['weibull'] else 'Gamma'},"
            f"{w['shape']!r},{w['scale_s']!r}\n"
            for w in (dict(zip(WINDOW.names or (), row, strict=True)) for row in client.windows.tolist())
        ]
        (folder / f"chunk-{client.number}-trace.csv").write_text("".join(lines))
        said = {
            f"{t_s:.0f}": {
                name: str(dict(zip(_keys(values), probabilities.tolist(), strict=True)))
                for name, (values, probabilities) in fields.items()
            }
            for t_s, fields in client.lengths.items()
        }
        (folder / f"chunk-{client.number}-dataset.json").write_text(json.dumps(said) + "\n")
    return num_clients


def _keys(values: NDArray[np.float64]) -> list[float]:
    """Lengths as whole numbers; ratios as they are."""
    return [int(value) if value == int(value) else value for value in values.tolist()]


def _table(path: Path) -> Iterator[Client]:
    client: int | None = None
    seen: set[int] = set()
    rows: list[tuple[float, ...]] = []
    for line, (number, row) in _rows(path, 7):
        if number != client:
            if client is not None:
                yield Client(client, _windows(rows))
            if number in seen:
                raise TraceError(Problem(f"client {number} comes again; sort the table by client", str(path), line))
            seen.add(number)
            client, rows = number, []
        rows.append(row)
    if client is not None:
        yield Client(client, _windows(rows))


def _windows(rows: list[tuple[float, ...]]) -> NDArray[np.void]:
    return np.array(rows, dtype=WINDOW)


def _rows(path: Path, width: int) -> Iterator[tuple[int, tuple[int, tuple[float, ...]]]]:
    """(line, (client, window)) of each row with traffic; of a file with 6 columns, the client is 0."""
    problems: list[Problem] = []
    last: tuple[int, float] = (-1, -1.0)
    for chunk in chunks(path, Report()):
        for line, data in enumerate(chunk.data.decode("utf-8", "replace").splitlines(), chunk.first_line):
            if width == 7 and line == 1:
                if data.strip().removeprefix("\ufeff") != HEADER:
                    raise TraceError(Problem(f'expected the header {HEADER}, got "{data[:80]}"', str(path), 1))
                continue
            if not data.strip():
                continue
            try:
                found = _row(data.split(","), width, last)
            except ValueError as error:
                problems.append(Problem(str(error), str(path), line))
                if len(problems) == MAX_PROBLEMS:
                    raise TraceError(*problems) from None
            else:
                if found is not None:
                    last = (found[0], found[1][0])
                    if not problems:
                        yield line, found
    TraceError.raise_if(problems)


def _row(cells: list[str], width: int, last: tuple[int, float]) -> tuple[int, tuple[float, ...]] | None:
    if len(cells) != width:
        raise ValueError(f"expected {width} values, got {len(cells)}; is the row cut off?")
    *client, t_s, rate, cv, pattern, shape, scale = (cell.strip() for cell in cells)
    if not pattern:
        return None
    if pattern.lower() not in _PATTERNS:
        raise ValueError(f'the arrival pattern must be Gamma or Weibull, got "{pattern}"')
    numbers = [float(text) for text in (t_s, rate, cv, shape, scale)]
    if not all(np.isfinite(numbers)) or min(numbers) < 0.0:
        raise ValueError(f"expected numbers from 0 on, got {','.join(cells)[:80]}")
    start, rate_per_s, iat_cv, shape_, scale_s = numbers
    row = (start, rate_per_s, iat_cv, _PATTERNS[pattern.lower()], shape_, scale_s)
    number = int(client[0]) if client else 0
    if number == last[0] and start <= last[1]:
        raise ValueError(f"windows must be in order of time, got {start:g} s after {last[1]:g} s")
    return number, row


def _lengths(trace: Path, number: int) -> dict[float, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]]:
    """The lengths of a client beside its trace, if they are there."""
    path = trace.with_name(f"chunk-{number}-dataset.json")
    if not path.exists():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        found = {}
        for t_s, fields in said.items():
            # The mappings are Python's own notation within JSON; an empty one says that the window has no data.
            tables = {name: ast.literal_eval(text) for name, text in fields.items()}
            if all(tables.values()):
                found[float(t_s)] = {name: _distribution(name, table) for name, table in tables.items()}
    except (ValueError, AttributeError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise TraceError(Problem(f"is no ServeGen data set: {error}", str(path))) from None
    except OSError as error:
        raise TraceError(Problem(f"cannot be read: {error.strerror or error}", str(path))) from None
    return dict(sorted(found.items()))


def _distribution(name: str, table: dict[float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    values = np.array(sorted(table), dtype=np.float64)
    probabilities = np.array([table[value] for value in sorted(table)], dtype=np.float64)
    if np.any(values < 0) or np.any(values > MAX_TOKENS) or np.any(probabilities < 0):
        raise ValueError(f"{name} has values or probabilities out of range")
    if abs(probabilities.sum() - 1.0) > 1e-3:
        raise ValueError(f"probabilities of {name} add up to {probabilities.sum():g}, not 1")
    return values, probabilities
