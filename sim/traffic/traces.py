"""Readers of recorded traces: block by block, with every mistake named by file and line.

azure     CSV with TIMESTAMP,ContextTokens,GeneratedTokens; times with up to 100 ns digits (Azure LLM inference traces)
mooncake  JSON lines with timestamp [ms], input_length, output_length and hash_ids, one for each 512 prompt tokens

Either may be compressed with gzip. Times must not decrease.
"""

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError

BLOCK_LINES = 65_536
HASH_BLOCK_TOKENS = 512  # Mooncake FAST25-release/README.md
MAX_PROBLEMS = 20
AZURE_HEADER: Final = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]
# numpy alone would also take "NaT", "2023", or a year that overflows nanoseconds.
_STAMP: Final = re.compile(r"(?:19[7-9]|20\d|21\d)\d-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d{1,9})?", re.ASCII)
_GZIP = b"\x1f\x8b"
_MAX_TOKENS = 2**31 - 1
_MAX_MS = 2**62 // 10**6


@dataclass
class TraceBlock:
    """Consecutive requests of a trace."""

    time_ns: NDArray[np.int64]  # on the file's own clock
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    hash_ids: list[list[int]] = field(default_factory=list)  # of each request, where the format has them


class _RowError(Exception):
    """What is wrong with one row."""


def read_trace(path: str | Path, trace_format: str) -> Iterator[TraceBlock]:
    """Yield the requests of a trace.

    Parameters
    ----------
    path
        The file.
    trace_format
        azure or mooncake.

    Raises
    ------
    TraceError
        The file cannot be read, is empty, or has wrong rows (the first 20 of a block are named).
    """
    parse = {"azure": _azure_row, "mooncake": _mooncake_row}[trace_format]
    last_ns, num_rows = None, 0
    for first_line, lines in _blocks(path, trace_format):
        rows, problems = [], []
        for number, text in enumerate(lines, first_line):
            try:
                row = parse(text)
                _check_order(last_ns, row[0])
            except _RowError as error:
                problems.append(Problem(str(error), str(path), number))
                if len(problems) == MAX_PROBLEMS:
                    break
            else:
                last_ns = row[0]
                rows.append(row)
        TraceError.raise_if(problems)
        if rows:
            num_rows += len(rows)
            time_ns, prompt, output, hash_ids = zip(*rows, strict=True)
            kept = list(hash_ids) if trace_format == "mooncake" else []
            yield TraceBlock(np.array(time_ns), np.array(prompt), np.array(output), kept)
    if num_rows == 0:
        raise TraceError(Problem("the trace has no requests", str(path)))


def _check_order(last_ns: int | None, time_ns: int) -> None:
    if last_ns is not None and time_ns < last_ns:
        raise _RowError(f"the time goes back by {(last_ns - time_ns) / 1e9:g} s; sort the trace by time")


def _blocks(path: str | Path, trace_format: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the first line, lines), blank lines at the end left out."""
    number = 0
    try:
        with _opened(path) as file:
            if trace_format == "azure":
                _check_header(file.readline().decode("utf-8-sig"), path)
                number = 1
            held_blanks: list[str] = []
            block: list[str] = []
            begin = number + 1
            for line in file:
                text = line.decode("utf-8" if number else "utf-8-sig").rstrip("\r\n")
                number += 1
                if not text.strip():
                    # Blank lines matter only if something follows them.
                    held_blanks.append(text)
                    continue
                block += [*held_blanks, text]
                held_blanks = []
                if len(block) >= BLOCK_LINES:
                    yield begin, block
                    begin, block = number + 1, []
            yield begin, block
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text: byte 0x{error.object[error.start]:02x}; is it a compressed file?"
        raise TraceError(Problem(message, str(path), number + 1)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(Problem(f"the gzip file is damaged or cut off: {error}", str(path))) from None
    except OSError as error:
        raise TraceError(Problem(f"cannot be read: {error.strerror or error}", str(path))) from None


def _opened(path: str | Path) -> IO[bytes]:
    with Path(path).open("rb") as file:
        compressed = file.read(2) == _GZIP
    opener: Callable[..., Any] = gzip.open if compressed else open
    stream: IO[bytes] = opener(path, "rb")
    return stream


def _check_header(line: str, path: str | Path) -> None:
    header = [name.strip() for name in line.split(",")]
    if header != AZURE_HEADER:
        given = f'"{line.strip()[:80]}"' if line.strip() else "nothing"
        message = f"expected the header {','.join(AZURE_HEADER)}, got {given}"
        raise TraceError(Problem(message, str(path), 1))


Row = tuple[int, int, int, list[int]]


def _azure_row(text: str) -> Row:
    cells = text.split(",")
    if len(cells) != len(AZURE_HEADER):
        raise _RowError(f"expected {len(AZURE_HEADER)} values, got {len(cells)}; is the row cut off?")
    stamp = cells[0].strip().removesuffix("+00:00").removesuffix("Z")
    try:
        time_ns = int(np.datetime64(stamp, "ns").astype(np.int64)) if _STAMP.fullmatch(stamp) else None
    except ValueError:
        time_ns = None
    if time_ns is None:
        raise _RowError(f'TIMESTAMP must be a UTC time such as 2023-11-16 18:15:46.6805900, got "{cells[0]}"')
    return time_ns, _count(cells[1], "ContextTokens"), _count(cells[2], "GeneratedTokens"), []


def _mooncake_row(text: str) -> Row:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _RowError(f"not a JSON object: {error}; is the row cut off?") from None
    if not isinstance(row, dict):
        raise _RowError(f"expected a JSON object, got {text[:80]}")
    for name in ("timestamp", "input_length", "output_length"):
        if name not in row:
            raise _RowError(f"{name} is missing; the row has {', '.join(row) or 'nothing'}")
    time = row["timestamp"]
    if isinstance(time, bool) or not isinstance(time, int | float) or not 0 <= time < _MAX_MS:
        raise _RowError(f"timestamp must be a time from 0 on [ms], got {json.dumps(time)}")
    hash_ids = row.get("hash_ids", [])
    if not isinstance(hash_ids, list) or not all(type(block) is int and 0 <= block < 2**63 for block in hash_ids):
        raise _RowError("hash_ids must be a list of whole numbers from 0 on")
    prompt, output = _count(row["input_length"], "input_length"), _count(row["output_length"], "output_length")
    return round(time * 1_000_000), prompt, output, hash_ids


def _count(value: Any, name: str) -> int:
    """A number of tokens, at least 1."""
    try:
        count = int(value) if isinstance(value, str) else value
    except ValueError:
        count = None
    if type(count) is not int or not 1 <= count <= _MAX_TOKENS:
        given = value if isinstance(value, str) else json.dumps(value)
        raise _RowError(f"{name} must be a whole number from 1 on, got {given or 'nothing'}")
    return count
