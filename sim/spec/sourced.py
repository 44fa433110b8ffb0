"""Sourced: a number that remembers where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, cast, get_args

from pydantic import BeforeValidator, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sim import units
from sim.errors import did_you_mean

Kind: TypeAlias = Literal["datasheet", "measured", "published", "assumed"]
"""How a number earned its place: by the maker, by an instrument, by a dated page, or not yet."""
UNSOURCED: Final = "assumed: given without a source"


class Sourced(float):
    """A number that remembers where it comes from; in arithmetic it is a plain float."""

    FIELDS: ClassVar = ("value", "source", "kind", "note")
    source: str
    """Document, repository or measurement that the number was read from."""
    kind: Kind
    """How the number earned its place."""
    note: str
    """What a reader must know to use it; empty where there is nothing to say."""

    def __new__(cls, value: float, source: str = UNSOURCED, kind: Kind = "assumed", note: str = "") -> Self:
        """Return `value` with where it comes from."""
        number = super().__new__(cls, value)
        number.source, number.kind, number.note = source, kind, note
        return number

    def to_dict(self) -> dict[str, Any]:
        """Return value, source, kind and (if any) note, as they are written in YAML."""
        data = {"value": float(self), "source": self.source, "kind": self.kind, "note": self.note}
        return {name: item for name, item in data.items() if item != ""}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        writer = core_schema.plain_serializer_function_ser_schema(Sourced.to_dict)
        return core_schema.is_instance_schema(cls, serialization=writer)


_EXAMPLE: Final = "{value: 3.35 TB/s, source: where it was read, kind: datasheet}"


def sourced(unit: str, *, zero: bool = False) -> BeforeValidator:
    """Return the validator of a number in `unit` with its source; it must be positive unless `zero` says otherwise."""

    def read(value: Any) -> Any:
        if isinstance(value, Sourced):
            return value
        entry = value if isinstance(value, Mapping) else {"value": value, "kind": "assumed"}
        unknown = [name for name in entry if name not in Sourced.FIELDS]
        faults = [f"unknown field {name}. {did_you_mean(name, Sourced.FIELDS)}" for name in unknown]
        faults += [f"{name} is missing" for name in ("value", "kind") if name not in entry]
        kind, source = entry.get("kind"), str(entry.get("source") or "")
        if "kind" in entry and kind not in get_args(Kind):
            faults.append(f'kind: "{kind}" is not allowed. Allowed: {", ".join(get_args(Kind))}')
        if not source and kind != "assumed":
            faults.append("source is missing: say where the number was read, or kind: assumed")
        number = 0.0
        try:
            number = units.parse(entry.get("value", 1.0), unit)
        except ValueError as error:
            faults.append(str(error))
        else:
            if number < 0.0 or (number == 0.0 and not zero):
                faults.append(f"value must be {'>=' if zero else '>'} 0, got {number:g}")
        if faults:
            raise ValueError(f"{'; '.join(faults)}. Write {_EXAMPLE}")
        return Sourced(number, source or UNSOURCED, cast("Kind", kind), str(entry.get("note") or ""))

    return BeforeValidator(read)
