# ruff: noqa: INP001  (a script, in no package)
"""Writes docs/scenario.md and docs/lifecycle-fields.md, every field of each, from the specifications themselves.

Run `python docs/make_scenario_reference.py` after a change of a field or its docstring; a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sim.spec import Scenario
from sim.spec.base import Reader
from sim.spec.lifecycle import Lifecycle
from sim.spec.ranged import Ranged

INTRODUCTION = """\
# Fields of a scenario

Every field that a scenario file may hold, by the dotted path that `--set` and `overrides` take. NAME stands for a name
of your choice, N for a position in a list (from 0). A number is in the unit given here; a text may carry a unit of its
own (`24 h`, `20 ms`, `600 req/min`, `10M`). A field without a default must be given.

This page is made by `docs/make_scenario_reference.py` from the docstrings in `sim/spec/`; edit those.
"""
LIFECYCLE = """\
# Fields of a lifecycle

Every field that a lifecycle file may hold; what is made of them: [lifecycle.md](lifecycle.md). NAME stands for a name
of your choice, N for a position in a list (from 0). A *sourced number* is a number (then it counts as assumed), a text
with a unit or a multiple (`10M`), or `{value: 0.4, source: where it was read, kind: published, low: 0.35, high: 0.45}`;
kinds are datasheet, measured, published and assumed, and low and high may be left out.

This page is made by `docs/make_scenario_reference.py` from the docstrings in `sim/spec/`; edit those.
"""
PAGES: dict[str, tuple[type[BaseModel], str]] = {
    "scenario.md": (Scenario, INTRODUCTION),
    "lifecycle-fields.md": (Lifecycle, LIFECYCLE),
}
WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text", Ranged: "sourced number"}


def reference(page: str) -> str:
    """Return a page by name."""
    whole, introduction = PAGES[page]
    parts = [introduction]
    for path, spec in sections(whole, ""):
        about = " ".join((spec.__doc__ or "").split())
        parts.append(f"\n## {f'`{path}`' if path else 'Top level'}\n\n{about}\n")
        parts.append("| Field | Type | Default | Meaning |\n|---|---|---|---|")
        parts += (row(path, name, field) for name, field in spec.model_fields.items())
    return "\n".join(parts) + "\n"


def sections(spec: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield (path, specification) of a specification and all within it, in the order of its fields."""
    yield path, spec
    for name, field in spec.model_fields.items():
        for inner_path, inner in inside(field.annotation, joined(path, field.alias or name)):
            if (
                (kind := inner.model_fields.get("kind"))
                and get_origin(kind.annotation) is Literal
                and kind.is_required()
            ):
                inner_path += f" (kind: {get_args(kind.annotation)[0]})"
            yield from sections(inner, inner_path)


def inside(annotation: Any, path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield the specifications that a type holds, with their paths."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield path, annotation
        return
    within = {dict: f"{path}.NAME", tuple: f"{path}.N"}.get(get_origin(annotation) or object, path)
    for part in get_args(annotation):
        yield from inside(part, within)


def joined(path: str, name: str) -> str:
    """Return the path of a field; what a heading says in brackets is no part of it."""
    return ".".join(part for part in (path.split(" ", maxsplit=1)[0], name) if part)


def row(path: str, name: str, field: FieldInfo) -> str:
    """Return the line of a field."""
    cells = (f"`{joined(path, field.alias or name)}`", type_of(field), default_of(field), field.description or "")
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def type_of(field: FieldInfo) -> str:
    """Return a field's type in words, with its unit."""
    words = described(field.annotation)
    found = [m.func.unit for m in field.metadata if isinstance(getattr(m, "func", None), Reader)]
    return f"{words} [{found[0]}]" if found and found[0] != "1" else words


def described(annotation: Any) -> str:
    """Return a type in words."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, parts = get_origin(annotation), [part for part in get_args(annotation) if part not in (type(None), ...)]
    if origin is Literal:
        return ", ".join(str(part) for part in parts)
    if origin is dict:
        return f"{described(parts[1])} by name"
    if origin is tuple:
        return f"list of {described(parts[0])}"
    if hasattr(annotation, "__metadata__"):  # Annotated
        found = [m.func.unit for m in annotation.__metadata__ if isinstance(getattr(m, "func", None), Reader)]
        return described(parts[0]) + (f" [{found[0]}]" if found and found[0] != "1" else "")
    if parts:
        return " or ".join(dict.fromkeys(described(part) for part in parts))
    return "value" if annotation is Any else annotation.__name__


def default_of(field: FieldInfo) -> str:
    """Return a field's default as one writes it; a made-up or an absent one is told by the docstring."""
    if field.is_required():
        return "required"
    value = field.default
    if value is None or field.default_factory is not None or isinstance(value, BaseModel) or value in ("", ()):
        return "-"
    return f"`{str(value).lower() if isinstance(value, bool) else f'{value:g}' if isinstance(value, float) else value}`"


if __name__ == "__main__":
    for page in PAGES:
        Path(__file__).with_name(page).write_text(reference(page), encoding="utf-8")
