"""Distribution: how a length or a time varies, in inference-perf's words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from sim.spec.base import NonNegativeNumber, Seconds, Spec, Text, quantity

_NEEDS: Final = {
    "constant": {"mean"},
    "lognormal": {"mean", "standard_deviation"},
    "gamma": {"mean", "standard_deviation"},
    "weibull": {"mean", "standard_deviation"},
    "exponential": {"mean"},
    "geometric": {"mean"},
    "uniform": {"min", "max"},
    "percentiles": {"percentiles"},
}
"""Parameters that each family needs. `min` and `max` may also clip any of them."""

Percentile = Annotated[float, quantity("1"), Field(ge=0, le=100)]


class Distribution(Spec):
    """How a quantity varies from one draw to the next; a bare number stands for a constant.

    `mean` and `standard_deviation` are those of the quantity itself (not of its logarithm), before `min` and `max`
    clip it. Field names: kubernetes-sigs/inference-perf, workload-catalog schema.
    """

    distribution_type: Literal[
        "constant", "lognormal", "gamma", "weibull", "exponential", "geometric", "uniform", "percentiles"
    ]
    """Family. `geometric` counts 1, 2, ...; `percentiles` is an empirical table, linear between its points."""
    mean: NonNegativeNumber | None = None
    """Mean before clipping. Needed by all families but uniform and percentiles."""
    standard_deviation: NonNegativeNumber | None = None
    """Standard deviation before clipping. Needed by lognormal, gamma and weibull."""
    min: NonNegativeNumber = 0.0
    """Smallest value; smaller draws are clipped. Default 0."""
    max: NonNegativeNumber | None = None
    """Largest value; larger draws are clipped. Default: no limit."""
    percentiles: Annotated[dict[Percentile, NonNegativeNumber], Field(min_length=2)] | Text | None = None
    """Value at each percentile {0: .., 50: .., 100: ..}, or the name of a table of the workload data."""

    @model_validator(mode="before")
    @classmethod
    def _bare_number(cls, value: Any) -> Any:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return {"distribution_type": "constant", "mean": value}
        return value

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is missing, superfluous or out of order."""
        kind, needs = self.distribution_type, _NEEDS[self.distribution_type]
        for name in ("mean", "standard_deviation", "max", "percentiles"):
            given = getattr(self, name) is not None
            if name in needs and not given:
                yield name, f"missing; distribution_type {kind} needs it"
            elif given and name not in needs | {"max"}:
                yield name, f"not used by distribution_type {kind} (it needs {', '.join(sorted(needs))}); remove it"
        if self.max is not None and self.max < self.min:
            yield "max", f"must be >= min ({self.min:g}), got {self.max:g}"
        elif self.mean is not None and not self.min <= self.mean <= (self.mean if self.max is None else self.max):
            upper = "" if self.max is None else f" and <= max ({self.max:g})"
            yield "mean", f"must be >= min ({self.min:g}){upper}, got {self.mean:g}"
        if kind == "geometric" and self.mean is not None and self.mean < 1:
            yield "mean", f"must be >= 1 for a count that begins at 1, got {self.mean:g}"
        if kind in ("lognormal", "gamma", "weibull", "exponential") and self.mean == 0:
            yield "mean", f"must be > 0 for distribution_type {kind}, got 0"
        if isinstance(self.percentiles, Mapping):
            yield from self._table_problems(sorted(self.percentiles.items()))

    def _table_problems(self, points: list[tuple[float, float]]) -> Iterator[tuple[str, str]]:
        for (low, value), (high, next_value) in pairwise(points):
            if next_value < value:
                yield "percentiles", f"must not fall: {next_value:g} at {high:g} after {value:g} at {low:g}"
        if points[0][0] != 0 or points[-1][0] != 100:
            yield "percentiles", f"must begin at 0 and end at 100, got {points[0][0]:g} to {points[-1][0]:g}"


MAX_TOKENS: Final = 1_000_000_000
"""Longest length in tokens: lengths are kept in 32 bits, and no model reads a thousandth of it."""
Tokens = Annotated[NonNegativeNumber, Field(le=MAX_TOKENS)]


class TokenDistribution(Distribution):
    """A distribution of lengths [tokens]; draws are rounded to whole numbers, at least 1."""

    mean: Tokens | None = None
    """Mean before clipping [tokens]."""
    standard_deviation: Tokens | None = None
    """Standard deviation before clipping [tokens]."""
    min: Tokens = 0.0
    """Shortest length [tokens]. Default 0."""
    max: Tokens | None = None
    """Longest length [tokens]. Default: no limit but 1e9."""
    percentiles: Annotated[dict[Percentile, Tokens], Field(min_length=2)] | Text | None = None
    """Length [tokens] at each percentile, or the name of a table of the workload data."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield also lengths that can never reach one token."""
        yield from super().problems()
        longest = {"mean": self.mean if self.distribution_type == "constant" else None, "max": self.max}
        if isinstance(self.percentiles, Mapping):
            longest["percentiles"] = max(self.percentiles.values())
        for name, tokens in longest.items():
            if tokens is not None and tokens < 1:
                yield name, f"must reach 1 token, got {tokens:g}"


class TimeDistribution(Distribution):
    """A distribution of times [s]; its values may carry units, such as ``mean: 2 min``."""

    mean: Seconds | None = None
    """Mean before clipping [s]."""
    standard_deviation: Seconds | None = None
    """Standard deviation before clipping [s]."""
    min: Seconds = 0.0
    """Shortest time [s]. Default 0."""
    max: Seconds | None = None
    """Longest time [s]. Default: no limit."""
    percentiles: Annotated[dict[Percentile, Seconds], Field(min_length=2)] | Text | None = None
    """Time [s] at each percentile, or the name of a table of the workload data."""
