"""Ranges: how far a number of the scenario may be off, for studies of what that does to the results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from sim.errors import did_you_mean
from sim.spec.base import Spec, Text, quantity
from sim.spec.text import Path, parse_path

Number = Annotated[float, quantity("1")]


class Range(Spec):
    """The spread of the evidence for one number, in the unit of its field."""

    low: Number
    """Lowest value that the evidence allows; at most the scenario's own."""
    high: Number
    """Highest value that the evidence allows; at least the scenario's own."""
    source: Annotated[Text, Field(min_length=7)]
    """Where the two come from, or the word assumed."""


def range_problems(ranges: Mapping[str, Range], data: Any) -> Iterator[tuple[Path, str]]:
    """Yield (path, message) for each range of a number that does not exist, or that lies outside."""
    for name, spread in ranges.items():
        found: Any = data
        for part in parse_path(name):
            known = found if isinstance(found, Mapping) else {}
            is_there = part in found if known else isinstance(found, list) and part in range(len(found))
            if not is_there:
                yield ("ranges", name), f"no such field: {part}. {did_you_mean(str(part), known)}".strip()
                break
            found = found[part]
        else:
            if not isinstance(found, int | float) or isinstance(found, bool):
                yield ("ranges", name), f"must name a number, found {'nothing' if found is None else repr(found)}"
            elif not spread.low <= found <= spread.high:
                yield ("ranges", name), f"must hold the scenario's own {found:g}, got {spread.low:g} to {spread.high:g}"


def without_ranges(data: Any, changed: Path) -> None:
    """Take the ranges of a changed value, and of all below it, out of a scenario's data: they were the old one's."""
    ranges = data.get("ranges") if isinstance(data, dict) else None
    if not isinstance(ranges, dict):
        return
    path = tuple(str(part) for part in changed)
    for name in [name for name in ranges if tuple(name.split("."))[: len(path)] == path]:
        del ranges[name]
