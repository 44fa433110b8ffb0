"""Formats that are tables of comma-separated values with a header."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces import files
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.files import Chunk
from sim.traffic.traces.flaws import (
    MAX_TOKENS,
    RowError,
    count,
    decimal,
    instant,
    instants,
    stamp,
    too_late,
    whole,
)
from sim.traffic.traces.format import Format, Head, Opened, Options, TimeUnit
from sim.traffic.traces.lines import Columns, LineReader, batches
from sim.traffic.traces.repair import Report

_FIRST_NS: Final = 0
_LAST_NS: Final = int(np.datetime64("2200-01-01", "ns").astype(np.int64))


class Column(NamedTuple):
    """A column of a file and the column of a TraceBlock that it is."""

    header: str
    field: str
    kind: Literal["count", "stamp", "time", "seconds", "text"]
    required: bool = True
    minimum: int = 1
    """Least count."""
    others: tuple[str, ...] = ()
    """Other headers that mean the same."""


class Table(Format):
    """Comma-separated values; columns are found by their header, in any order, and others are passed over."""

    columns: ClassVar[tuple[Column, ...]]

    def keep(self, columns: Columns) -> tuple[str, NDArray[np.bool_]] | None:  # noqa: ARG002  (most keep all)
        """Which rows the format's own rule keeps, and why it leaves the others out; None: all."""
        return None

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return not self._missing(head)

    def lacks(self, head: Head) -> list[str]:
        """See Format."""
        missing = self._missing(head)
        num_required = sum(column.required for column in self.columns)
        return missing if 2 * len(missing) < num_required else []

    def _missing(self, head: Head) -> list[str]:
        """Required columns that the header does not have."""
        return [each.header for each in self.columns if each.required and not _header(each, head.columns)]

    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """See Format."""
        chunks = files.chunks(path, report)
        first = next(chunks, Chunk(1, b""))
        line, _, rest = first.data.partition(b"\n")
        names = [cell.strip() for cell in line.decode("utf-8", "replace").split(",")]
        if missing := [column for column in self.columns if column.required and not _header(column, names)]:
            raise self._no_header(path, line, missing)
        found = {_header(column, names): column for column in self.columns if _header(column, names)}
        unit = options.time_unit or self.unit or "s"
        reader = LineReader(
            tuple(column.field for column in found.values()),
            _parser(names, found, unit),
            _vectorised(names, found, unit),
            self.keep,
        )

        def remaining() -> Iterable[Chunk]:
            if rest:
                yield Chunk(2, rest)
            yield from chunks

        timed = any(column.field == "time_ns" for column in found.values())
        return Opened(batches(iter(remaining()), reader, report), timed)

    def _no_header(self, path: Path, line: bytes, missing: Sequence[Column]) -> TraceError:
        expected = ",".join(column.header for column in self.columns if column.required)
        text = line.decode("utf-8", "replace").strip()
        given = f'"{text[:80]}"' if text else "nothing"
        lacks = f"; {', '.join(column.header for column in missing)} missing" if text else ""
        return TraceError(Problem(f"expected the header {expected}, got {given}{lacks}", str(path), 1))

    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """See Format."""
        header: list[str] | None = None
        num_rows = 0
        for block in blocks:
            cells = self.cells(block, num_rows)
            if header is None:
                header = list(cells)
                file.write((",".join(header) + "\n").encode())
            rows = zip(*(cells[name] for name in header), strict=True)
            file.write("".join([f"{','.join(row)}\n" for row in rows]).encode())
            num_rows += len(block)
        if header is None:
            file.write((",".join(column.header for column in self.columns) + "\n").encode())
        return num_rows

    def cells(self, block: TraceBlock, num_before: int) -> dict[str, list[str]]:  # noqa: ARG002  (some count rows)
        """The columns of the file as text, after so many rows; the first block says which there are."""
        return {column.header: _cells(block, column) for column in self.columns}


def _header(column: Column, names: Iterable[str]) -> str:
    """The header of a column as it stands in a file, or nothing."""
    known = set(names)
    return next((name for name in (column.header, *column.others) if name in known), "")


def _parser(names: list[str], found: dict[str, Column], unit: TimeUnit) -> Callable[[str], tuple[Any, ...]]:
    """How a line becomes a row."""
    places = [(names.index(header), header, column) for header, column in found.items()]

    def value(cell: str, header: str, column: Column) -> Any:
        match column.kind:
            case "count":
                return count(whole(cell), header, column.minimum)
            case "stamp":
                return stamp(cell, header)
            case "time":
                return instant(decimal(cell), header, unit)
            case "seconds":
                return _seconds(cell, header)
            case "text":
                return cell.strip()

    def parse(text: str) -> tuple[Any, ...]:
        cells = text.split(",")
        if len(cells) != len(names):
            raise RowError(f"expected {len(names)} values, got {len(cells)}; is the row cut off?")
        return tuple(value(cells[place], header, column) for place, header, column in places)

    return parse


def _seconds(cell: str, header: str) -> float:
    """A duration [s], or NaN where the cell is empty."""
    value = decimal(cell) if cell.strip() else np.nan
    if isinstance(value, str) or value < 0.0:
        raise RowError(f'{header} must be a duration from 0 on [s], got "{cell}"', "time")
    return value


def _vectorised(names: list[str], found: dict[str, Column], unit: TimeUnit) -> Callable[[bytes], Columns | None]:
    """How a chunk becomes columns at once; None if a value is not as it should be."""

    def fast(data: bytes) -> Columns | None:
        import pyarrow as pa
        from pyarrow import csv

        # Arrow takes 0x5 for 5.
        if len(set(names)) < len(names) or not data or b"0x" in data or b"0X" in data:
            return None
        types = {
            "count": pa.int64(),
            "stamp": pa.string(),
            "time": pa.float64(),
            "seconds": pa.float64(),
            "text": pa.string(),
        }
        try:
            table = csv.read_csv(
                pa.BufferReader(data),
                csv.ReadOptions(column_names=names, use_threads=False, block_size=len(data) + 1),
                csv.ParseOptions(quote_char=False, double_quote=False, ignore_empty_lines=False),
                csv.ConvertOptions(
                    column_types={header: types[column.kind] for header, column in found.items()},
                    include_columns=list(found),
                    null_values=[""],
                    strings_can_be_null=False,
                ),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != data.count(b"\n") + (not data.endswith(b"\n")) or not _decodes(data):
            return None
        columns: Columns = {}
        for header, column in found.items():
            values = _checked(table.column(header), column, unit)
            if values is None:
                return None
            columns[column.field] = values
        return columns

    return fast


def _decodes(data: bytes) -> bool:
    """Whether a chunk is UTF-8 in the columns too that nobody reads."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _checked(column: Any, about: Column, unit: TimeUnit) -> Any:
    """A column of a table as an array, or None if a value is out of range."""
    if about.kind == "text":
        return _stripped(column)
    if about.kind == "seconds":
        values = column.to_numpy()  # null, where nothing is said, becomes NaN
        return None if np.any(values < 0.0) else values
    if column.null_count:
        return None
    if about.kind == "stamp":
        return _instants(column)
    values = column.to_numpy()
    if about.kind == "time":
        return None if too_late(values, unit) else instants(values, unit)
    return values if np.all((values >= about.minimum) & (values <= MAX_TOKENS)) else None


def _instants(column: Any) -> Any:
    """Dates and times as nanoseconds, or None if a text is not a whole one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    # Arrow would take a date alone, or one without seconds.
    if not pc.all(pc.equal(pc.utf8_slice_codeunits(column, 16, 17), ":")).as_py():
        return None
    first = column[0].as_py()
    try:
        instants = column.cast(pa.timestamp("ns", "UTC" if first.endswith(("Z", "+00:00")) else None))
    except pa.ArrowInvalid:
        return None
    values = instants.cast("int64").to_numpy()
    return values if np.all((values >= _FIRST_NS) & (values < _LAST_NS)) else None


def _stripped(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column).to_numpy(zero_copy_only=False)


def _cells(block: TraceBlock, column: Column) -> list[str]:
    """A column of a block as the cells of a file."""
    if column.kind == "stamp":
        return _stamps(block.time_ns)
    if column.kind == "time":
        return seconds(block.time_ns)
    if column.kind == "count" and column.field in {"prompt_tokens", "output_tokens"}:
        return list(map(str, getattr(block, column.field).tolist()))
    values = block.column(column.field)
    if column.kind == "seconds":
        return ["" if np.isnan(value) else repr(value) for value in values.tolist()]
    for row, value in enumerate(values.tolist()):
        if "," in value or "\n" in value or "\r" in value:
            what = f'{column.field} "{value[:80]}" of row {row + 1}'
            raise TraceError(f"{what} cannot stand in a table: it holds a comma or a line end")
    texts: list[str] = values.tolist()
    return texts


def _stamps(time_ns: NDArray[np.int64]) -> list[str]:
    """UTC dates and times, with 7 digits as in Azure's 2023 traces or, where it needs them, 9."""
    if np.any((time_ns < _FIRST_NS) | (time_ns >= _LAST_NS)):
        raise TraceError("times must be from 1970 to 2199 to be written as dates")
    texts = np.datetime_as_string(time_ns.astype("M8[ns]"))
    digits = 27 if np.all(time_ns % 100 == 0) else 29
    return [text[:digits].replace("T", " ") for text in texts.tolist()]


def seconds(time_ns: NDArray[np.int64], unit: TimeUnit = "s") -> list[str]:
    """Times as decimal numbers of a unit, without zeros at the end."""
    if np.any(time_ns < 0):
        raise TraceError("times must be from 0 on to be written as numbers; shift the trace")
    digits = {"s": 9, "ms": 6, "us": 3}[unit]
    units, rest = np.divmod(time_ns, 10**digits)
    return [
        f"{a}.{b:0{digits}d}".rstrip("0") if b else f"{a}" for a, b in zip(units.tolist(), rest.tolist(), strict=True)
    ]
