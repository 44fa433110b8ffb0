"""Formats of one big JSON array, read item by item; objects one after the other or one a line do as well.

A text buffer holds a few items at a time. It grows only while an item is not complete, and then doubles, so that an
item of any size is looked at few times.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import numpy as np

from sim.traffic.traces import files
from sim.traffic.traces.block import block_of
from sim.traffic.traces.flaws import MAX_PROBLEMS, Flaw, RowError
from sim.traffic.traces.format import Batch
from sim.traffic.traces.repair import Report

BATCH_ROWS = 16_384  # assumed: rows of an array handed on at once
_BETWEEN: Final = re.compile(r"[\s,\[\]]*")
_DECODER: Final = json.JSONDecoder()


class Item(NamedTuple):
    """A value of the array; where it begins."""

    line: int
    number: int
    value: Any


class BrokenError(Exception):
    """The text from a line on is no JSON."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def items(path: Path, report: Report) -> Iterator[Item]:
    """The values of an array; raises BrokenError where the text is damaged."""
    texts = _texts(path, report)
    buffer, at, line, number = "", 0, 1, 0
    ended = False
    while True:
        found = _BETWEEN.match(buffer, at)
        begin = found.end() if found else at
        line += buffer.count("\n", at, begin)
        at = begin
        if at < len(buffer):
            try:
                value, end = _DECODER.raw_decode(buffer, at)
            except RecursionError:
                raise BrokenError(line, f"item {number + 1} is nested too deeply") from None
            except json.JSONDecodeError as error:
                if ended or len(buffer) - at > files.MAX_ITEM_BYTES:
                    message = f"item {number + 1} is no JSON: {error.msg}; is the file cut off?"
                    raise BrokenError(line + error.doc.count("\n", at, error.pos), message) from None
            else:
                # A number or a word may go on in the next piece; objects, lists and texts end where they end.
                if ended or end < len(buffer):
                    number += 1
                    yield Item(line, number, value)
                    line += buffer.count("\n", at, end)
                    at = end
                    continue
        elif ended:
            return
        buffer, at = buffer[at:], 0
        wanted = 2 * len(buffer)
        pieces = [buffer]
        size = len(buffer)
        while not ended and size <= wanted:
            piece = next(texts, None)
            ended = piece is None
            if piece is not None:
                pieces.append(piece)
                size += len(piece)
        buffer = "".join(pieces)


def _texts(path: Path, report: Report) -> Iterator[str]:
    """The file as text."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    line = 1
    for piece in files.pieces(path, report):
        try:
            text = decoder.decode(piece)
        except UnicodeDecodeError as error:
            wrong_line = line + error.object.count(b"\n", 0, error.start)
            if not report.repair:
                message = f"not UTF-8 text: byte 0x{error.object[error.start]:02x}; is it Latin-1?"
                raise BrokenError(wrong_line, message) from None
            # A letter that was cut in two by the end of the last piece is in error.object too.
            text = _mended(error.object)
            report.note("bytes", wrong_line, _num_wrong_lines(error.object))
            decoder.reset()
        line += text.count("\n")
        yield text


def _mended(data: bytes) -> str:
    lines = data.split(b"\n")
    return "\n".join(_line(line) for line in lines)


def _line(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _num_wrong_lines(data: bytes) -> int:
    return sum(line.decode("utf-8", "ignore").encode() != line for line in data.split(b"\n"))


def array_batches(
    path: Path, fields: tuple[str, ...], rows_of: Callable[[Any], Iterable[tuple[Any, ...]]], report: Report
) -> Iterator[Batch]:
    """Rows of all items; `rows_of` raises RowError."""
    rows: list[tuple[Any, ...]] = []
    lines: list[int] = []
    flaws: list[Flaw] = []

    def batch() -> Batch:
        values = zip(*rows, strict=True) if rows else ([] for _ in fields)
        made = Batch(
            block_of(dict(zip(fields, map(list, values), strict=True))), np.array(lines, dtype=np.int64), list(flaws)
        )
        report.num_rows += len(rows) + len(flaws)
        rows.clear()
        lines.clear()
        flaws.clear()
        return made

    try:
        for item in items(path, report):
            try:
                found = list(rows_of(item.value))
            except RowError as error:
                flaws.append(Flaw(item.line, error.kind, f"item {item.number}: {error}"))
                found = []
            rows += found
            lines += [item.line] * len(found)
            if len(rows) >= BATCH_ROWS or len(flaws) >= MAX_PROBLEMS:
                yield batch()
    except BrokenError as error:
        if report.repair:
            report.note("cut_off", error.line)
        else:
            flaws.append(Flaw(error.line, "row", str(error)))
    if rows or flaws:
        yield batch()


def write_array(file: IO[bytes], blocks: Iterable[list[str]]) -> int:
    """Write an array, one item a line; returns how many."""
    num_items = 0
    file.write(b"[")
    for texts in blocks:
        if texts:
            file.write(((",\n" if num_items else "\n") + ",\n".join(texts)).encode())
            num_items += len(texts)
    file.write(b"\n]\n")
    return num_items
