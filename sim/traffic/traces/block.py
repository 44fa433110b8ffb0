"""Consecutive requests of a trace, as columns: what every reader yields, every operation takes and every writer writes.

The first three columns are always there. Of the others a format has some; `None` (for hash_ids an empty list) says that
it has none, and a row whose value is not known holds the value in `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

HASH_BLOCK_TOKENS = 512  # Mooncake FAST25-release/README.md
Texts: TypeAlias = NDArray[np.object_]
Numbers: TypeAlias = NDArray[np.int64]

UNKNOWN: Final[dict[str, Any]] = {
    "user": "",
    "session": "",
    "turn": -1,
    "elapsed_s": np.nan,
    "model": "",
    "tier": "",
    "language": "",
    "use_case": "",
    "prefix": "",
    "prefix_tokens": 0,
}
"""Columns that a format may have, and what stands in a row that does not say."""


@dataclass
class TraceBlock:
    """Consecutive requests of a trace."""

    time_ns: Numbers
    """Arrival on the file's own clock [ns]."""
    prompt_tokens: Numbers
    """The whole prompt: system prompt, history and new text."""
    output_tokens: Numbers
    hash_ids: list[list[int]] = field(default_factory=list)
    """Of each request, one for each `block_tokens` of the prompt; equal ids are equal text after equal text."""
    block_tokens: int = HASH_BLOCK_TOKENS
    user: Texts | None = None
    session: Texts | None = None
    turn: Numbers | None = None
    """Position in the session, from 0."""
    elapsed_s: NDArray[np.float64] | None = None
    """Arrival to the end of the answer, as recorded [s]."""
    model: Texts | None = None
    tier: Texts | None = None
    language: Texts | None = None
    use_case: Texts | None = None
    prefix: Texts | None = None
    """Name of a text with which the prompt begins."""
    prefix_tokens: Numbers | None = None
    """How many of the prompt's tokens are the first tokens of that text."""

    def __len__(self) -> int:
        return len(self.time_ns)

    @property
    def optional(self) -> list[str]:
        """Names of the optional columns that the block has, hash_ids among them."""
        return [name for name in UNKNOWN if getattr(self, name) is not None] + ["hash_ids"] * bool(self.hash_ids)

    def take(self, rows: Any) -> TraceBlock:
        """The rows that a slice, a mask or an array of positions names."""
        names = ("time_ns", "prompt_tokens", "output_tokens", *(name for name in self.optional if name != "hash_ids"))
        columns: dict[str, Any] = {name: getattr(self, name)[rows] for name in names}
        if self.hash_ids:
            columns["hash_ids"] = [self.hash_ids[row] for row in np.arange(len(self))[rows].tolist()]
        return TraceBlock(**columns, block_tokens=self.block_tokens)

    def at(self, time_ns: Numbers) -> TraceBlock:
        """The same requests at other times."""
        return replace(self, time_ns=time_ns)

    def column(self, name: str) -> Any:
        """An optional column, of unknown values where the block has none."""
        values = getattr(self, name)
        return unknown(name, len(self)) if values is None else values


def unknown(name: str, num_rows: int) -> Any:
    """A column of values that are not known."""
    value = UNKNOWN[name]
    return np.full(num_rows, value, dtype=object if value == "" else np.dtype(type(value)))


def joined(blocks: Sequence[TraceBlock]) -> TraceBlock:
    """Blocks one after the other; blocks with hash_ids must agree on `block_tokens`."""
    if len(blocks) == 1:
        return blocks[0]
    names = {name for block in blocks for name in block.optional}
    columns: dict[str, Any] = {
        name: np.concatenate([block.column(name) for block in blocks]) for name in UNKNOWN if name in names
    }
    ids = [row for block in blocks for row in (block.hash_ids or [[] for _ in range(len(block))])]
    return TraceBlock(
        np.concatenate([block.time_ns for block in blocks]),
        np.concatenate([block.prompt_tokens for block in blocks]),
        np.concatenate([block.output_tokens for block in blocks]),
        hash_ids=ids if "hash_ids" in names else [],
        block_tokens=next((block.block_tokens for block in blocks if block.hash_ids), blocks[0].block_tokens),
        **columns,
    )


def arrays(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns {name: values} with lists made arrays."""
    made: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            made[name] = values
        elif name == "hash_ids" or UNKNOWN.get(name) == "":
            made[name] = np.empty(len(values), dtype=object)
            made[name][:] = values
        else:
            made[name] = np.array(values, dtype=np.float64 if name == "elapsed_s" else np.int64)
    return made


def block_of(columns: dict[str, Any], block_tokens: int = HASH_BLOCK_TOKENS) -> TraceBlock:
    """The block of columns {name: values}; without times, all are 0."""
    made = arrays(columns)
    made.setdefault("time_ns", np.zeros(len(made["prompt_tokens"]), dtype=np.int64))
    if "hash_ids" in made:
        made["hash_ids"] = made["hash_ids"].tolist()
    return TraceBlock(**made, block_tokens=block_tokens)
