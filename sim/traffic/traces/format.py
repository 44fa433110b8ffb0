"""What a format is: a reader and a writer, side by side, and the shape by which it is recognised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.flaws import Flaw
from sim.traffic.traces.repair import Report

TimeUnit = Literal["s", "ms", "us"]


@dataclass(frozen=True)
class Options:
    """What a user may say about a file that the file does not say itself."""

    time_unit: TimeUnit | None = None
    """Unit of times that are written as numbers. None: the format's own."""
    block_tokens: int | None = None
    """Tokens that a hash id stands for. None: the format's own."""
    rate_per_s: float | None = None
    """Of a file without times: rate at which its requests (of conversations: the first ones) arrive [1/s]."""
    turn_gap_s: float = 123.0
    """Of a file without times: a conversation's requests arrive so long after each other [s]. Default 123: median of
    Mooncake's conversation trace (FAST 2025), arrival to arrival."""
    chars_per_token: float = 4.85
    """Of a file of text: characters that count as a token. Default 4.85: English under cl100k_base, measured on the
    FLORES-200 dev set (997 sentences)."""
    seed: int = 1
    """Of the drawn arrivals of a file without times."""


class Batch(NamedTuple):
    """Some rows of a file as they were read."""

    block: TraceBlock
    line: NDArray[np.int64]
    """Line (of a table without lines: row) of each, counted from 1."""
    flaws: list[Flaw]
    """Rows that could not be read."""


class Opened(NamedTuple):
    """A file whose beginning has been read."""

    batches: Iterator[Batch]
    timed: bool = True
    """Whether its rows say when they arrive."""


class Head(NamedTuple):
    """The beginning of a file, by which its format is told."""

    magic: bytes
    columns: frozenset[str]
    """Cells of the first line."""
    keys: frozenset[str]
    """Keys of JSON objects seen."""
    start: str
    """First character that is not white space."""


class Format(ABC):
    """A way to write a trace down."""

    name: ClassVar[str]
    shape: ClassVar[str]
    """How a file looks, for messages."""
    ordered: ClassVar[bool] = True
    """Whether rows stand in the order of their times."""
    fine: ClassVar[bool] = False
    """Whether times may be so fine that two rows that are equal in everything are one row twice."""
    unit: ClassVar[TimeUnit | None] = None
    """Unit of times, if they are written as numbers from a beginning of their own."""
    holds: ClassVar[tuple[str, ...]] = ()
    """Optional columns that it can hold."""

    @abstractmethod
    def recognises(self, head: Head) -> bool:
        """Whether a file that begins so is of this format."""

    def lacks(self, head: Head) -> list[str]:  # noqa: ARG002  (only tables can tell)
        """What a file that is of this format for the most part lacks; empty where it is not, or lacks nothing."""
        return []

    @abstractmethod
    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """Begin to read a file."""

    @abstractmethod
    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """Write a trace; returns the number of rows."""
