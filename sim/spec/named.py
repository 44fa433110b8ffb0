"""Data files that hold several things of one kind, each under its name."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

from sim.errors import Problem, SpecError
from sim.spec.base import Spec
from sim.spec.text import read_text

S = TypeVar("S", bound=Spec)


def read_named(kind: type[S], what: str, text: str, filename: str | None = None) -> dict[str, S]:
    """Return what a YAML text holds by name; an entry that does not say its `name` has the one it stands under.

    Raises
    ------
    SpecError
        Every problem of every entry, with its line.
    """
    document = read_text(text, filename)
    if not isinstance(document.data, dict):
        raise SpecError(Problem(f"expected named {what} (name: then indented lines)", filename, 1))
    problems: list[Problem] = []
    found: dict[str, S] = {}
    for name in document.data:
        part = document.at((name,))
        if isinstance(part.data, dict):
            part.data.setdefault("name", name)
        try:
            found[name] = kind.from_document(part)
        except SpecError as error:
            problems += [dataclasses.replace(problem, path=f"{name}.{problem.path}") for problem in error.problems]
    SpecError.raise_if(problems)
    return found
