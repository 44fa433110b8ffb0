"""Formats of one request a line: a fast way for chunks without a flaw, and a careful one that names the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.traffic.traces.block import HASH_BLOCK_TOKENS, arrays, block_of
from sim.traffic.traces.files import Chunk
from sim.traffic.traces.flaws import MAX_PROBLEMS, Flaw, RowError
from sim.traffic.traces.format import Batch
from sim.traffic.traces.repair import Report

Columns = dict[str, Any]


class LineReader(NamedTuple):
    """How the lines of a file become columns."""

    fields: tuple[str, ...]
    """Columns of a TraceBlock, in the order of a parsed row."""
    parse: Callable[[str], tuple[Any, ...]]
    """A line as a row; raises RowError."""
    fast: Callable[[bytes], Columns | None] = lambda _: None
    """A whole chunk as columns, or None where something is not as it should be."""
    keep: Callable[[Columns], tuple[str, NDArray[np.bool_]] | None] = lambda _: None
    """Rows that the format's own rule keeps, and why the others are left out."""
    block_tokens: int = HASH_BLOCK_TOKENS


def batches(chunks: Iterator[Chunk], reader: LineReader, report: Report) -> Iterator[Batch]:
    """Read chunk by chunk; blank lines count only if something follows them."""
    blanks: list[int] = []
    for chunk in chunks:
        columns = reader.fast(chunk.data)
        if columns is not None:
            line = np.arange(chunk.first_line, chunk.first_line + len(columns["prompt_tokens"]))
            flaws, blanks = _blank(blanks), []
        else:
            columns, line, flaws = _careful(chunk, reader, blanks, report)
        report.num_rows += len(line) + sum(flaw.kind != "blank" for flaw in flaws)
        if (rule := reader.keep(columns)) is not None:
            reason, kept = rule
            if not kept.all():
                report.left_out[reason] += int(len(kept) - kept.sum())
            columns, line = {name: values[kept] for name, values in columns.items()}, line[kept]
        if len(line) or flaws:
            yield Batch(block_of(columns, reader.block_tokens), line, flaws)


def _blank(lines: list[int]) -> list[Flaw]:
    return [Flaw(line, "blank", "expected a request, got a blank line") for line in lines]


def _careful(
    chunk: Chunk, reader: LineReader, blanks: list[int], report: Report
) -> tuple[Columns, NDArray[np.int64], list[Flaw]]:
    """Rows of a chunk one by one; `blanks` are the blank lines since the last row."""
    rows, lines, flaws = [], [], []
    for number, data in enumerate(chunk.data.removesuffix(b"\n").split(b"\n"), chunk.first_line):
        if not data.strip():
            blanks.append(number)
            continue
        if blanks:
            flaws += _blank(blanks)
            blanks.clear()
        try:
            row = reader.parse(_text(data, number, report))
        except RowError as error:
            flaws.append(Flaw(number, error.kind, str(error)))
            if len(flaws) >= MAX_PROBLEMS and not report.repair:
                break
        else:
            rows.append(row)
            lines.append(number)
    values = zip(*rows, strict=True) if rows else ([] for _ in reader.fields)
    return arrays(dict(zip(reader.fields, map(list, values), strict=True))), np.array(lines, dtype=np.int64), flaws


def _text(data: bytes, number: int, report: Report) -> str:
    try:
        return data.decode().rstrip("\r")
    except UnicodeDecodeError as error:
        if report.repair:
            report.note("bytes", number)
            return data.decode("latin-1").rstrip("\r")
        message = f"not UTF-8 text: byte 0x{data[error.start]:02x}; is it a compressed file, or Latin-1?"
        raise RowError(message) from None
