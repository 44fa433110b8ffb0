"""Our own format: a parquet file of one row a request, described column by column in docs/traces.md.

`arrived_s` counts seconds from the instant in the file's metadata; every other column but the two lengths may be null,
or missing. The metadata says `tokenfleet_trace` (the version, 1), `start_ns` (the instant of arrived_s = 0, nanoseconds
on the trace's own clock) and `block_tokens` (tokens that a hash id stands for).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces.block import HASH_BLOCK_TOKENS, UNKNOWN, TraceBlock, joined
from sim.traffic.traces.flaws import MAX_TOKENS, Flaw
from sim.traffic.traces.format import Batch, Format, Head, Opened, Options
from sim.traffic.traces.repair import Report

VERSION = 1
ROW_GROUP_ROWS = 65_536
_MAX_S = 2**62 / 1e9
_TEXTS: Final = tuple(name for name, value in UNKNOWN.items() if value == "")
_REQUIRED: Final = ("arrived_s", "prompt_tokens", "output_tokens")


def _schema() -> Any:
    import pyarrow as pa

    kinds = {"turn": pa.int64(), "prefix_tokens": pa.int64(), "elapsed_s": pa.float64()}
    return pa.schema(
        [
            pa.field("arrived_s", pa.float64(), nullable=False),
            pa.field("prompt_tokens", pa.int64(), nullable=False),
            pa.field("output_tokens", pa.int64(), nullable=False),
            *(pa.field(name, kinds.get(name, pa.string())) for name in UNKNOWN),
            pa.field("hash_ids", pa.list_(pa.int64())),
        ]
    )


class Parquet(Format):
    """arrived_s, prompt_tokens, output_tokens and whatever else is known."""

    name = "parquet"
    shape = "parquet with arrived_s, prompt_tokens, output_tokens (docs/traces.md)"
    fine = True
    holds = (*UNKNOWN, "hash_ids")

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return head.magic == b"PAR1"

    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """See Format."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            message = str(getattr(error, "strerror", None) or error).partition("\n")[0]
            raise TraceError(Problem(f"cannot be read: {message}", str(path))) from None
        names = file.schema_arrow.names
        if missing := [name for name in _REQUIRED if name not in names]:
            message = f"expected the columns {', '.join(_REQUIRED)}; {', '.join(missing)} missing"
            raise TraceError(Problem(message, str(path)))
        said = {key: _number(path, file, key, default) for key, default in _METADATA.items()}
        if said["tokenfleet_trace"] > VERSION:
            message = f"a trace of version {said['tokenfleet_trace']}; this program reads up to {VERSION}"
            raise TraceError(Problem(message, str(path)))
        known = [name for name in _schema().names if name in names]
        block_tokens = options.block_tokens or said["block_tokens"]
        return Opened(_batches(path, file, known, said["start_ns"], block_tokens, report))

    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """See Format."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        groups = _grouped(blocks)
        first = next(groups, None)
        if first is None:
            raise TraceError("a trace without requests cannot be written as parquet")
        start_ns, block_tokens, num_rows = int(first.time_ns[0]), first.block_tokens, 0
        said = {"tokenfleet_trace": VERSION, "start_ns": start_ns, "block_tokens": block_tokens}
        schema = _schema().with_metadata({key: str(value) for key, value in said.items()})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            for block in chain([first], groups):
                if block.hash_ids and block.block_tokens != block_tokens:
                    message = f"hash ids of {block_tokens} and of {block.block_tokens} tokens cannot share a file"
                    raise TraceError(message)
                writer.write_table(pa.table(_columns(block, start_ns), schema=schema), row_group_size=len(block))
                num_rows += len(block)
        return num_rows


_METADATA: Final = {"tokenfleet_trace": VERSION, "start_ns": 0, "block_tokens": HASH_BLOCK_TOKENS}


def _number(path: Path, file: Any, key: str, default: int) -> int:
    """A whole number of a file's metadata."""
    text = (file.schema_arrow.metadata or {}).get(key.encode(), str(default).encode())
    try:
        return int(text)
    except ValueError:
        message = f"{key} in its metadata must be a whole number, got {text.decode('utf-8', 'replace')!r}"
        raise TraceError(Problem(message, str(path))) from None


def _grouped(blocks: Iterable[TraceBlock]) -> Iterator[TraceBlock]:
    """Blocks of a row group each, so that a trace thinned to few rows a block does not become many groups."""
    held: list[TraceBlock] = []
    for block in blocks:
        if held and held[0].block_tokens != block.block_tokens:
            yield joined(held)
            held = []
        held += [block] if len(block) else []
        if sum(map(len, held)) >= ROW_GROUP_ROWS:
            yield joined(held)
            held = []
    if held:
        yield joined(held)


def _columns(block: TraceBlock, start_ns: int) -> dict[str, Any]:
    """What a block looks like in the file: null where nothing is known."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "arrived_s": (block.time_ns - start_ns) / 1e9,
        "prompt_tokens": block.prompt_tokens,
        "output_tokens": block.output_tokens,
    }
    for name, value in UNKNOWN.items():
        values = getattr(block, name)
        if values is None:
            columns[name] = pa.nulls(len(block), _schema().field(name).type)
        else:
            unknown = np.isnan(values) if name == "elapsed_s" else values == value
            columns[name] = pa.array(values, _schema().field(name).type, mask=np.asarray(unknown, dtype=bool))
    columns["hash_ids"] = block.hash_ids or pa.nulls(len(block), _schema().field("hash_ids").type)
    return columns


def _batches(
    path: Path, file: Any, names: list[str], start_ns: int, block_tokens: int, report: Report
) -> Iterator[Batch]:
    import pyarrow as pa

    schema = pa.schema([_schema().field(name).with_nullable(True) for name in names])
    row = 1
    try:
        for part in file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=names):
            table = pa.Table.from_batches([part]).select(names).cast(schema)
            report.num_rows += table.num_rows
            yield _batch(table, row, start_ns, block_tokens)
            row += table.num_rows
    except (pa.ArrowException, OSError) as error:
        message = f"cannot be read: {str(error).partition(chr(10))[0]}"
        raise TraceError(Problem(message, str(path), row)) from None


def _batch(table: Any, first_row: int, start_ns: int, block_tokens: int) -> Batch:
    """A part of the file, its wrong rows named and left out."""
    row = np.arange(first_row, first_row + table.num_rows)
    good = np.ones(table.num_rows, dtype=bool)
    flaws: list[Flaw] = []

    def refuse(wrong: NDArray[np.bool_], kind: str, what: str, given: Any) -> None:
        found = np.flatnonzero(wrong & good).tolist()
        flaws.extend(Flaw(int(row[at]), kind, f"{what}, got {given[at].as_py()}") for at in found)
        good[wrong] = False

    arrived = table.column("arrived_s")
    times_s = arrived.to_numpy()
    in_range = (times_s > -_MAX_S) & (times_s < _MAX_S)
    refuse(~in_range, "time", "arrived_s must be a time [s]", arrived)
    lengths = {}
    for name in ("prompt_tokens", "output_tokens"):
        column = table.column(name)
        refuse(column.is_null().to_numpy(), "row", f"{name} must be a whole number from 1 on", column)
        lengths[name] = column.fill_null(0).to_numpy()
        refuse(lengths[name] < 1, "length", f"{name} must be a whole number from 1 on", column)
        refuse(lengths[name] > MAX_TOKENS, "length", f"{name} must be at most {MAX_TOKENS:,}", column)
    columns = _optional(table)
    for name in ("turn", "prefix_tokens", "elapsed_s"):
        if name in columns:
            refuse(columns[name] < min(UNKNOWN[name], 0), "row", f"{name} must not be negative", table.column(name))
    if "prefix_tokens" in columns:
        longer = columns["prefix_tokens"] > lengths["prompt_tokens"]
        refuse(longer, "row", "prefix_tokens must not exceed prompt_tokens", table.column("prefix_tokens"))
    if "hash_ids" in columns:
        wrong = np.array([any(value is None or value < 0 for value in ids) for ids in columns["hash_ids"]], dtype=bool)
        refuse(wrong, "row", "hash_ids must be whole numbers from 0 on", table.column("hash_ids"))
    # Whole seconds apart from the rest: the sum of two large floats would lose nanoseconds.
    time_ns = np.rint(np.where(in_range, times_s, 0.0) * 1e9).astype(np.int64) + start_ns
    block = TraceBlock(time_ns, **lengths, **columns, block_tokens=block_tokens)
    return Batch(block, row, []) if not flaws else Batch(block.take(good), row[good], flaws)


def _optional(table: Any) -> dict[str, Any]:
    """The columns that hold something."""
    columns: dict[str, Any] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in _REQUIRED or column.null_count == len(column):
            continue
        if name == "hash_ids":
            columns[name] = [ids or [] for ids in column.to_pylist()]
        elif name in _TEXTS:
            columns[name] = column.fill_null("").to_numpy(zero_copy_only=False)
        else:
            columns[name] = column.fill_null(UNKNOWN[name]).to_numpy()
    return columns


PARQUET: Final = Parquet()
