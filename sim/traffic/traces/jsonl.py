"""Formats of one JSON object a line."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

from sim.traffic.traces import files
from sim.traffic.traces.block import HASH_BLOCK_TOKENS, TraceBlock
from sim.traffic.traces.flaws import RowError, shown
from sim.traffic.traces.format import Format, Head, Opened, Options
from sim.traffic.traces.lines import LineReader, batches
from sim.traffic.traces.repair import Report


class JsonLines(Format):
    """One JSON object a line; keys that it does not know are passed over."""

    keys: ClassVar[tuple[str, ...]]
    """Keys that every object must have."""
    fields: ClassVar[tuple[str, ...]]
    """Columns of a TraceBlock that an object gives."""
    hash_block_tokens: ClassVar[int] = HASH_BLOCK_TOKENS

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return head.start == "{" and set(self.keys) <= head.keys

    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """See Format."""

        def parse(text: str) -> tuple[Any, ...]:
            return self.row(decoded(text, self.keys), options)

        reader = LineReader(self.fields, parse, block_tokens=options.block_tokens or self.hash_block_tokens)
        return Opened(batches(files.chunks(path, report), reader, report), "time_ns" in self.fields)

    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """See Format."""
        num_rows = 0
        for block in blocks:
            file.write("".join([f"{text}\n" for text in self.texts(block)]).encode())
            num_rows += len(block)
        return num_rows

    @abstractmethod
    def row(self, data: dict[str, Any], options: Options) -> tuple[Any, ...]:
        """An object as a row; raises RowError."""

    @abstractmethod
    def texts(self, block: TraceBlock) -> Iterator[str]:
        """The lines of a block."""


def decoded(text: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """The object that a line holds, with all of its keys."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"not a JSON object: {error}; is the row cut off?") from None
    return with_keys(data, keys)


def with_keys(data: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    """A value that is an object with certain keys."""
    if not isinstance(data, dict):
        raise RowError(f"expected a JSON object, got {shown(data)}")
    for name in keys:
        if name not in data:
            raise RowError(f"{name} is missing; the row has {', '.join(data) or 'nothing'}")
    return data
