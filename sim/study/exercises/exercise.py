"""What an exercise is, and how a function becomes the answer of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Exercise:
    """A question that has a number for an answer."""

    id: str
    """Number of its lesson, and its own: 03.1."""
    question: str
    how: str
    """How it is computed."""
    unit: str
    tolerance_frac: float
    """How far a given answer may be off, relative to the right one."""
    compute: Callable[[], float]

    @property
    def lesson(self) -> str:
        """Number of its lesson."""
        return self.id.partition(".")[0]


def exercise(
    id_: str, question: str, *, unit: str, tolerance_frac: float = 0.02
) -> Callable[[Callable[[], float]], Exercise]:
    """Make a function the answer of an exercise; its docstring says how it is computed."""

    def made(compute: Callable[[], float]) -> Exercise:
        how = " ".join((inspect.getdoc(compute) or "").split())
        return Exercise(id_, " ".join(question.split()), how, unit, tolerance_frac, compute)

    return made
