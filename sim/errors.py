"""Errors that a user of tokenfleet can meet.

::

    TokenfleetError              everything raised on purpose; the CLI prints it and exits with 2
    +-- SpecError                a specification is wrong (file, line, dotted path, what to try)
    |   +-- CatalogError         no entry of that name, or its file cannot be read
    +-- UnitError                a quantity is not what the field measures (also a ValueError)
    +-- CapacityError            the model does not fit the hardware
    +-- TraceError               a recorded trace cannot be read

Any other exception is a bug of ours (exit code 3). An error holds *all* problems of the phase that found them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is, what is wrong and what to try."""

    message: str
    """What was given, what is allowed, what to try."""
    file: str | None = None
    """File name as the user would type it, or the command-line option that carried the value."""
    line: int | None = None
    """Line in the file, counted from 1."""
    path: str = ""
    """Dotted path of the field, such as ``fleet.pools.main.replicas``."""

    def __str__(self) -> str:
        line = f"line {self.line}" if self.file is None else f"{self.file}:{self.line}"
        where = line if self.line is not None else self.file
        what = f"{self.path}: {self.message}" if self.path else self.message
        return f"{where}  {what}" if where else what


class TokenfleetError(Exception):
    """A mistake that the user can mend: one or many problems, one a line."""

    exit_code = 2

    def __init__(self, *problems: Problem | str) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = tuple(p if isinstance(p, Problem) else Problem(p) for p in problems)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    @classmethod
    def raise_if(cls, problems: Iterable[Problem | str]) -> None:
        """Raise one error that holds all `problems`; return where there are none."""
        if found := tuple(problems):
            raise cls(*found)


class SpecError(TokenfleetError):
    """A specification is wrong."""


class CatalogError(SpecError):
    """A named entry does not exist or cannot be read."""


class UnitError(TokenfleetError, ValueError):
    """A text is no quantity, or measures something else than what was asked for."""


class CapacityError(TokenfleetError):
    """The model does not fit the hardware."""


class TraceError(TokenfleetError):
    """A recorded trace cannot be read."""


def did_you_mean(word: str, known: Iterable[str], *, what: str = "Known") -> str:
    """Return a sentence that helps with an unknown `word`: the nearest known name, else all of them.

    >>> did_you_mean("max_num_seq", ["max_num_seqs", "replicas"])
    'Did you mean max_num_seqs?'
    >>> did_you_mean("zzz", ["b", "a"])
    'Known: a, b.'
    """
    names = sorted(set(known))
    folded = {name.casefold(): name for name in names}
    if near := difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6):
        return f"Did you mean {folded[near[0]]}?"
    return f"{what}: {', '.join(names)}." if names else f"{what}: none."
