"""What every specification is: frozen, closed, documented, replaceable by dotted path, with a digest.

Quantities are annotated types that take a number (already in the unit of the field) or a text with a unit, such as
``horizon: 24 h`` or ``memory_bytes: 80 GiB``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sim import units
from sim.errors import SpecError
from sim.spec.explain import problems_of
from sim.spec.text import Document, Path, parse_path, read_text, write_text


@dataclass(frozen=True)
class Reader:
    """Reads a quantity: a number passes, a text is parsed."""

    unit: str

    def __call__(self, value: Any) -> Any:
        """Return the number that a value stands for [unit]."""
        # A whole number stays an int: a float would round it above 2**53.
        return value if type(value) is int else units.parse(value, self.unit)


def quantity(unit: str) -> BeforeValidator:
    """Return the validator of a quantity in `unit`."""
    return BeforeValidator(Reader(unit))


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


Seconds = Annotated[float, quantity("s"), Field(ge=0)]
PositiveSeconds = Annotated[float, quantity("s"), Field(gt=0)]
Bytes = Annotated[float, quantity("B"), Field(ge=0)]
BytesPerSecond = Annotated[float, quantity("B/s"), Field(gt=0)]
UsdPerHour = Annotated[float, quantity("USD/h"), Field(ge=0)]
PositiveRate = Annotated[float, quantity("1/s"), Field(gt=0)]
PerMinute = Annotated[float, quantity("1/min"), Field(gt=0)]
Fraction = Annotated[float, quantity("1"), Field(ge=0, le=1)]
PositiveFraction = Annotated[float, quantity("1"), Field(gt=0, le=1)]
NonNegativeNumber = Annotated[float, quantity("1"), Field(ge=0)]
PositiveNumber = Annotated[float, quantity("1"), Field(gt=0)]
NonNegativeInt = Annotated[int, quantity("1"), Field(ge=0)]
PositiveInt = Annotated[int, quantity("1"), Field(gt=0)]
Text = Annotated[str, BeforeValidator(_as_text)]
"""A text; a whole number such as ``prices: 2026`` is taken as its digits."""


def _matching(pattern: str, advice: str) -> AfterValidator:
    """Return the validator of a text of a certain form."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f'"{value}" is no name; {advice}')
        return value

    return AfterValidator(check)


Name = Annotated[Text, _matching(r"[A-Za-z][A-Za-z0-9_.-]*", "use a letter, then letters, digits, _, - and .")]
"""What users call a scenario."""
Key = Annotated[Text, _matching(r"[A-Za-z][A-Za-z0-9_-]*", "use a letter, then letters, digits, _ and -")]
"""What users call a pool, tier or path; without a dot, so that dotted paths can name it."""


class Spec(BaseModel):
    """Something the user says: immutable, without unknown fields, every field documented where it stands."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset()
    """Fields (as in YAML) that do not change what the specification means."""

    def problems(self) -> Iterator[tuple[str | Path, str]]:
        """Yield (dotted path, message) for each rule between fields that is broken. Subclasses override this."""
        yield from ()

    @model_validator(mode="after")
    def _hold_rules(self) -> Self:
        if found := [(_path(path), message) for path, message in self.problems()]:
            raise PydanticCustomError("spec_problems", "{text}", _Rules(found))
        return self

    @classmethod
    def from_document(cls, document: Document) -> Self:
        """Return the specification that a document describes; raises SpecError with all problems."""
        try:
            return cls.model_validate(document.data)
        except ValidationError as error:
            problems = problems_of(error, cls, document)
            raise SpecError(*sorted(problems, key=lambda p: (p.file != document.file, p.line or 0))) from None

    @classmethod
    def from_yaml(cls, text: str, file: str | None = None) -> Self:
        """Return the specification that a YAML text describes; `file` is the name used in messages."""
        return cls.from_document(read_text(text, file))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Return the specification that plain data describes."""
        return cls.from_document(Document(_plain(data)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data with every default written out, under the names used in YAML."""
        return self.model_dump(mode="json", by_alias=True)

    def to_yaml(self) -> str:
        """Return YAML with every default written out; reading it gives an equal specification."""
        return write_text(self.to_dict())

    def replace(self, path: str, value: Any) -> Self:
        """Return a copy in which the field at the dotted `path` has another value; all rules are checked again."""
        return self.replace_all({path: value})

    def replace_all(self, changes: Mapping[str, Any]) -> Self:
        """Return a copy with several changes {dotted path: value} made at once, checked when all are made."""
        document = Document(self.to_dict())
        for path, value in changes.items():
            document = document.patched(parse_path(path), Document(_plain(value)))
            self._changed(document.data, parse_path(path))
        return self.from_document(document)

    @classmethod
    def _changed(cls, data: Any, path: Path) -> None:
        """Bring plain data in line with a change made at `path`. Subclasses override this."""

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved content in canonical form [64 hex digits]."""
        content = {name: value for name, value in self.to_dict().items() if name not in self.NOT_IN_DIGEST}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()


class _Rules(dict[str, Any]):
    """Context of a broken rule: the text pydantic shows, and the problems that `explain` unpacks."""

    def __init__(self, problems: list[tuple[Path, str]]) -> None:
        super().__init__(text="; ".join(message for _, message in problems), problems=problems)


def _path(given: str | Path) -> Path:
    """Return a path; one whose keys have dots in them is given in parts."""
    return given if isinstance(given, tuple) else parse_path(given) if given else ()


def _plain(value: Any) -> Any:
    """Return a value as plain data: specifications as dictionaries, keys as text."""
    if isinstance(value, Spec):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
