"""Ranged: a number with its source and the spread of the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sim import units
from sim.spec.sourced import Kind, Sourced, sourced


class Ranged(Sourced):
    """A sourced number with the lowest and the highest value that the evidence allows."""

    low: float
    """Lowest value; the number itself where no spread is known."""
    high: float
    """Highest value; the number itself where no spread is known."""

    @classmethod
    def of(cls, number: Sourced, low: float | None = None, high: float | None = None) -> Self:
        """Return a sourced number with its spread."""
        made = cls(number, number.source, number.kind, number.note)
        made.low = float(number) if low is None else low
        made.high = float(number) if high is None else high
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return value, spread (if any), source, kind and note (if any), as they are written in YAML."""
        spread = {"low": self.low, "high": self.high} if self.low < self.high else {}
        return super().to_dict() | spread

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        writer = core_schema.plain_serializer_function_ser_schema(cls.to_dict)
        return core_schema.is_instance_schema(cls, serialization=writer)


def ranged(unit: str, *, zero: bool = False) -> BeforeValidator:
    """Return the validator of a number in `unit` with source and spread; positive unless `zero` says otherwise."""
    read_sourced = sourced(unit, zero=zero).func

    def read(value: Any) -> Any:
        if isinstance(value, Ranged):
            return value
        if not isinstance(value, Mapping):
            return Ranged.of(_call(read_sourced, value))
        number = _call(read_sourced, {name: item for name, item in value.items() if name not in ("low", "high")})
        ends = [units.parse(value[name], unit) if name in value else float(number) for name in ("low", "high")]
        if not ends[0] <= number <= ends[1]:
            raise ValueError(f"low <= value <= high must hold, got {ends[0]:g}, {number:g}, {ends[1]:g}")
        return Ranged.of(number, *ends)

    return BeforeValidator(read)


def _call(reader: Any, value: Any) -> Sourced:
    return cast("Sourced", reader(value))


def assumed(value: float, low: float | None = None, high: float | None = None, *, why: str = "") -> Ranged:
    """Return a number that nobody published, for defaults; `why` follows the word assumed."""
    return given(value, f"assumed: {why}" if why else "assumed", "assumed", low, high)


def given(value: float, source: str, kind: Kind, low: float | None = None, high: float | None = None) -> Ranged:
    """Return a number with its source and spread, for defaults and tables in code."""
    return Ranged.of(Sourced(value, source, kind), low, high)
