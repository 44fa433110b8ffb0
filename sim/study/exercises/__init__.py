"""Exercises of the lessons: what is asked, and the answer, which is computed when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sim.errors import Problem, SpecError, did_you_mean
from sim.study.exercises import machine, people, serving
from sim.study.exercises.exercise import Exercise

EXERCISES: tuple[Exercise, ...] = (*machine.EXERCISES, *people.EXERCISES, *serving.EXERCISES)
"""All of them, in the order of the lessons."""


@dataclass(frozen=True)
class Answer:
    """What an exercise comes to."""

    id: str
    question: str
    how: str
    value: float
    unit: str
    tolerance_frac: float

    def fits(self, given: float) -> bool:
        """Whether a given answer is right, within the tolerance."""
        return math.isclose(given, self.value, rel_tol=self.tolerance_frac)


@dataclass(frozen=True)
class Mark:
    """A given answer beside the right one."""

    answer: Answer
    given: float
    right: bool


def answers(ids: tuple[str, ...] | None = None) -> list[Answer]:
    """Compute the answers of all exercises, or of those with these ids; a few seconds for all."""
    return [
        Answer(one.id, one.question, one.how, float(one.compute()), one.unit, one.tolerance_frac)
        for one in EXERCISES
        if ids is None or one.id in ids
    ]


def mark(given: Mapping[str, float]) -> list[Mark]:
    """Compare given answers, by the exercises' ids, with the right ones.

    Raises
    ------
    SpecError
        Every id that is not one of an exercise, and every answer that is not a number.
    """
    known = [one.id for one in EXERCISES]
    problems = [Problem(f"no such exercise. {did_you_mean(id_, known)}", path=id_) for id_ in given if id_ not in known]
    problems += [
        Problem(f"must be a number, not {value!r}", path=id_)
        for id_, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int | float)
    ]
    SpecError.raise_if(problems)
    return [Mark(one, given[one.id], one.fits(given[one.id])) for one in answers(tuple(given))]


__all__ = ["EXERCISES", "Answer", "Exercise", "Mark", "answers", "mark"]
