"""Figures: what a stage of the lifecycle comes to, each with its unit, spread and source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from sim.lifecycle.scaling import LossLaw
from sim.spec.base import Spec
from sim.spec.ranged import Ranged, given

COMPUTED: Final = "computed"
ASSUMED: Final = "assumed"

_UNITS: Final = {"usd_per_hour": "USD/h", "usd": "USD", "tokens": "tokens", "hours": "h", "months": "months"}
"""Part of a field's name -> its unit."""


@dataclass(frozen=True)
class Figure:
    """One number of a stage."""

    name: str
    """What it is called, unique in its stage."""
    value: float
    unit: str
    source: str
    """Where it was read, `computed: ` and its equation, or the word assumed."""
    low: float | None = None
    """Lowest value that the spread of its inputs allows; None: no spread is known."""
    high: float | None = None
    note: str = ""

    @property
    def number(self) -> Ranged:
        """The figure as an input of others, with its spread."""
        return given(self.value, self.source, "assumed" if ASSUMED in self.source else "published", self.low, self.high)

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as plain data."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}


@dataclass(frozen=True)
class Stage:
    """One stage of the lifecycle and its figures."""

    name: str
    title: str
    figures: tuple[Figure, ...] = field(default_factory=tuple)

    def __getitem__(self, name: str) -> Figure:
        """Return a figure by name; KeyError where there is none."""
        found = {figure.name: figure for figure in self.figures}
        if name not in found:
            raise KeyError(f"{self.name} has no figure {name!r}; it has {', '.join(found)}")
        return found[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a figure of that name."""
        return any(figure.name == name for figure in self.figures)


def stated(name: str, number: Ranged, unit: str, note: str = "") -> Figure:
    """Return the figure of a number that was given, with its own source and spread."""
    low, high = (number.low, number.high) if number.low < number.high else (None, None)
    is_said = number.kind != ASSUMED or number.source.startswith(ASSUMED)
    source = number.source if is_said else f"{ASSUMED}: {number.source}"
    return Figure(name, float(number), unit, source, low, high, note or number.note)


def inputs(prefix: str, spec: Spec) -> Iterator[Figure]:
    """Yield the numbers with a source that a part of the specification gives, under their own names."""
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Ranged):
            unit = next((unit for part, unit in _UNITS.items() if part in name), "1")
            yield stated(f"{prefix}: {name}", value, unit)


def computed(
    name: str, unit: str, equation: str, rule: Callable[..., float], *inputs: Any, note: str = "", source: str = ""
) -> Figure:
    """Return the figure that a rule gives, with what the spread of its inputs does to it.

    Parameters
    ----------
    name, unit, note
        As in `Figure`.
    equation
        The rule as people write it.
    rule
        Function of the inputs.
    inputs
        Numbers, numbers with a spread (`Ranged`) and laws with errors (`LossLaw`). Spreads are taken as independent:
        each input goes to its ends alone, and the deviations (of the logarithm, where all values are positive) are
        added in squares, upward and downward.
    source
        Where the rule was published.
    """
    value = rule(*inputs)
    ups, downs = 0.0, 0.0
    moved = [
        [rule(*inputs[:place], end, *inputs[place + 1 :]) for end in ends]
        for place, one in enumerate(inputs)
        for ends in _ends(one)
    ]
    in_logs = value > 0.0 and all(0.0 < other < math.inf for pair in moved for other in pair)
    scale: Callable[[float], float] = math.log if in_logs else float
    for pair in moved:
        deviations = [scale(other) - scale(value) for other in pair]
        ups += max(*deviations, 0.0) ** 2
        downs += min(*deviations, 0.0) ** 2
    low, high = scale(value) - math.sqrt(downs), scale(value) + math.sqrt(ups)
    low, high = (math.exp(low), math.exp(high)) if in_logs else (low, high)
    low, high = min(low, value), max(high, value)  # the logarithm rounds
    where = f"{COMPUTED}: {equation}" + (f" ({source})" if source else "")
    if ASSUMED not in where and any(isinstance(one, Ranged) and one.kind == ASSUMED for one in inputs):
        where += f", from {ASSUMED} inputs"
    if not ups and not downs:
        return Figure(name, value, unit, where, note=note)
    return Figure(name, value, unit, where, low, high, note)


def _ends(one: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the lower and upper end of each spread of an input."""
    if isinstance(one, LossLaw):
        yield from one.alternatives()
    elif isinstance(one, Ranged) and one.low < one.high:
        yield one.low, one.high
