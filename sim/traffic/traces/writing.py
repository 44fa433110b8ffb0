"""A trace written down, in any format, block by block."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from sim.errors import Problem, TraceError
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.formats import format_of

_DATES_NS = 2 * 365 * 86400 * 10**9


class Written(NamedTuple):
    """What became of a trace that was written."""

    num_rows: int
    lost: tuple[str, ...]
    """Columns that the format cannot hold."""


def write_trace(path: str | Path, blocks: Iterable[TraceBlock], trace_format: str = "parquet") -> Written:
    """Write a trace; gzip where the name ends in .gz. Nothing is left behind where it fails.

    Times that are dates count from the first request on in formats whose times are numbers: those that begin later than
    two years after 0, where such numbers would no longer tell 10 ns apart.

    Raises
    ------
    TraceError
        The file cannot be written, or the format cannot hold a time or a text.
    """
    path = Path(path)
    kind = format_of(path, trace_format)
    if kind.name == "parquet" and path.suffix == ".gz":
        raise TraceError(Problem("parquet is compressed within; leave the .gz out", str(path)))
    lost: dict[str, None] = {}

    def watched() -> Iterator[TraceBlock]:
        start_ns: int | None = None
        for block in blocks:
            if start_ns is None and len(block):
                first_ns = int(block.time_ns[0])
                start_ns = first_ns if kind.unit is not None and first_ns > _DATES_NS else 0
            if start_ns:
                block = block.at(block.time_ns - start_ns)
            lost.update(dict.fromkeys(name for name in block.optional if name not in kind.holds))
            yield block

    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            # No time stamp and no name inside: equal traces become equal files.
            packed: Any = gzip.GzipFile("", "wb", 6, file, mtime=0) if path.suffix == ".gz" else None
            target: IO[bytes] = packed or file
            num_rows = kind.write(target, watched())
            if packed is not None:
                packed.close()
        part.replace(path)
    except OSError as error:
        raise TraceError(Problem(f"cannot be written: {error.strerror or error}", str(path))) from None
    finally:
        part.unlink(missing_ok=True)
    return Written(num_rows, tuple(lost))
