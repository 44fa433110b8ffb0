"""The bytes of a trace file, plain or gzip, in chunks of whole lines: memory does not grow with the file."""

import codecs
import contextlib
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from sim.errors import Problem, TraceError
from sim.traffic.traces.repair import Report

CHUNK_BYTES = 4 << 20  # assumed: large enough that a chunk's overhead is small, small enough to be cheap to hold
MAX_ITEM_BYTES = 256 << 20  # assumed: a longer line or item is no request
GZIP_MAGIC = b"\x1f\x8b"
_HEAD_BYTES = 64  # by which UTF-16 is told
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


class Chunk(NamedTuple):
    """Some whole lines of a file; only the last line of the last chunk may lack its end."""

    first_line: int
    data: bytes


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to read, unpacked if it is gzip; raises TraceError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            compressed = file.read(2) == GZIP_MAGIC
            file.seek(0)
            unpacked: Any = gzip.GzipFile(fileobj=file) if compressed else file
            yield unpacked
    except BROKEN as error:
        raise TraceError(Problem(f"the gzip file is damaged or cut off: {error}", str(path))) from None
    except OSError as error:
        raise TraceError(Problem(f"cannot be read: {error.strerror or error}", str(path))) from None


def pieces(path: str | Path, report: Report) -> Iterator[bytes]:
    """The file in UTF-8 without a byte-order mark; for repair, of a damaged gzip file what can be unpacked."""
    with opened(path) as file:
        held: list[bytes] = []
        size, number = 0, 1
        first, broken = True, None
        recode: codecs.IncrementalDecoder | None = None
        while broken is None:
            try:
                data = file.read1(CHUNK_BYTES)  # type: ignore[attr-defined]
            except BROKEN as error:
                broken, data = error, b""
            held.append(data)
            size += len(data)
            if data and size < max(CHUNK_BYTES, _HEAD_BYTES):
                continue
            whole, held, size = b"".join(held), [], 0
            if first:
                whole, recode = _begun(whole, path, report)
                first = False
            if recode is not None:
                whole = recode.decode(whole, final=not data).encode()
                report.note("recoded", 1, whole.count(b"\n") + (not data))
            number += whole.count(b"\n")
            if whole:
                yield whole
            if not data and broken is None:
                return
        if not report.repair:
            message = f"the gzip file is damaged or cut off: {broken}"
            raise TraceError(Problem(message, str(path), number if number > 1 else None))
        report.note("cut_off", number)


def _begun(data: bytes, path: str | Path, report: Report) -> tuple[bytes, codecs.IncrementalDecoder | None]:
    """The first bytes without their mark, and what decodes them if they are UTF-16."""
    name = utf16(data)
    if name is None:
        return data.removeprefix(codecs.BOM_UTF8), None
    if not report.repair:
        what = f"byte 0x{data[0]:02x}" if data[0] >= 0xFE else "NUL bytes"
        raise TraceError(Problem(f"not UTF-8 text: {what}, as in UTF-16", str(path), 1))
    data = data.removeprefix(codecs.BOM_UTF16_LE).removeprefix(codecs.BOM_UTF16_BE)
    return data, codecs.getincrementaldecoder(name)("replace")


def utf16(data: bytes) -> str | None:
    """The kind of UTF-16 that a file begins with, if any."""
    head = data[:_HEAD_BYTES]
    if head.startswith(codecs.BOM_UTF16_LE) or (len(head) > 3 and not any(head[1::2]) and all(head[::2])):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE) or (len(head) > 3 and not any(head[::2]) and all(head[1::2])):
        return "utf-16-be"
    return None


def chunks(path: str | Path, report: Report) -> Iterator[Chunk]:
    """The file in whole lines; a last line without an end goes with those before it."""
    number, rest = 1, b""
    ready: Chunk | None = None
    for piece in pieces(path, report):
        if ready is not None:
            yield ready
            number += ready.data.count(b"\n")
            ready = None
        data = rest + piece
        cut = data.rfind(b"\n") + 1
        rest = data[cut:]
        if len(rest) > MAX_ITEM_BYTES:
            message = f"a line of more than {MAX_ITEM_BYTES >> 20} MiB; is it another format?"
            raise TraceError(Problem(message, str(path), number + data.count(b"\n")))
        if cut:
            ready = Chunk(number, data[:cut])
    if report.counts["cut_off"]:
        rest = b""
    if ready is not None or rest:
        yield Chunk(number, (b"" if ready is None else ready.data) + rest)
