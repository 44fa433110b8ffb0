"""pydantic's findings as problems that name file, line, dotted path, what was given and what is allowed."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sim.errors import Problem, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from sim.spec.text import Document, Path

_FORMATS = {
    "greater_than": "must be > {gt}, got {value}",
    "greater_than_equal": "must be >= {ge}, got {value}",
    "less_than": "must be < {lt}, got {value}",
    "less_than_equal": "must be <= {le}, got {value}",
    "too_short": "too few entries: {actual_length}; give at least {min_length}",
    "too_long": "too many entries; give at most {max_length}",
}
_TYPES = {
    "string_type": "text (a word that YAML takes for something else stands in quotes)",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "model_type": "a block of fields (key: value lines)",
    "model_attributes_type": "a block of fields (key: value lines)",
    "dict_type": "a block of named entries (name: value lines)",
    "list_type": "a list (lines that begin with -)",
    "tuple_type": "a list (lines that begin with -)",
}


def problems_of(error: ValidationError, spec: type[BaseModel], document: Document) -> Iterator[Problem]:
    """Yield one problem per mistake that pydantic found in `document`, which was to become a `spec`."""
    findings = [f for f in error.errors(include_url=False) if f["type"] != "default_factory_not_called"]
    found = [(_path(finding, document.data), finding) for finding in findings]
    for path, finding in found:
        if finding["type"] == "spec_problems":
            yield from (document.problem((*path, *inner), text) for inner, text in finding["ctx"]["problems"])
        elif finding["type"] not in _TYPES:
            yield document.problem(_field(finding, path), _message(finding, path, spec, document))
        elif expected := _expected(path, finding, found):
            yield document.problem(path, f"expected {expected}, got {_shown(finding['input'])}")


def _expected(path: Path, finding: ErrorDetails, found: list[tuple[Path, ErrorDetails]]) -> str:
    """Return the types that a value of the wrong type may have; nothing where another finding says it, or says more.

    Every member of a union reports for itself; a member that accepted the type and got further speaks for all.
    """
    here = [(at, other) for at, other in found if at[: len(path)] == path]
    if any(len(at) > len(path) or other["type"] not in _TYPES for at, other in here) or here[0][1] is not finding:
        return ""
    return " or ".join(dict.fromkeys(_TYPES[other["type"]] for _, other in here))


def _path(finding: ErrorDetails, data: Any) -> Path:
    """Return where a finding stands in the data: pydantic's location without the tags of unions."""
    path: list[str | int] = []
    for part in finding["loc"]:
        if isinstance(data, Mapping) and str(part) in data:
            path.append(str(part))
            data = data[str(part)]
        elif isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return tuple(path)


def _field(finding: ErrorDetails, path: Path) -> Path:
    """Return the path of the field meant, which for a missing one goes beyond the data."""
    if finding["type"] == "missing":
        return (*path, finding["loc"][-1])
    if finding["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (*path, finding["ctx"]["discriminator"].strip("'"))
    return path


def _message(finding: ErrorDetails, path: Path, spec: type[BaseModel], document: Document) -> str:
    """Return what is wrong, what is allowed and what to try."""
    kind, value, context = finding["type"], finding["input"], finding.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field. {did_you_mean(str(path[-1]), _known_names(spec, path[:-1], document.data))}"
    if kind == "missing":
        return f"missing. {_description(spec, (*path, finding['loc'][-1]), document.data)}".strip()
    if kind in ("literal_error", "union_tag_invalid", "enum"):
        allowed = context.get("expected_tags", context.get("expected", "")).replace("'", "").replace(" or ", ", ")
        given = context.get("tag", value)
        return f"{_shown(given)} is not allowed. {did_you_mean(str(given), allowed.split(', '), what='Allowed')}"
    if kind == "union_tag_not_found":
        tags = sorted(_tags(_annotation_at(spec, path, document.data), context["discriminator"].strip("'")))
        return f"missing. Allowed: {', '.join(tags)}."
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short" and isinstance(value, str):
        return f"{_shown(value)} says too little; give at least {context['min_length']} characters"
    if kind in _FORMATS:
        return _FORMATS[kind].format(**context | {"value": _shown(value)})
    return f"{finding['msg'][0].lower()}{finding['msg'][1:]}, got {_shown(value)}"


def _shown(value: Any) -> str:
    """Return a value as the user would have written it, cut to a line."""
    if value is None:
        return "nothing"
    text = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _alternatives(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation allows, without Annotated, Optional and Union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for option in get_args(annotation):
            yield from _alternatives(option)
    else:
        yield annotation


def _is_spec(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _tags(annotations: list[Any], discriminator: str) -> Iterator[str]:
    """Yield the values of the discriminating field of a union's members."""
    for option in annotations:
        if _is_spec(option):
            yield from map(str, get_args(option.model_fields[discriminator].annotation))


def _fits(option: Any, data: Any) -> bool:
    """Tell whether data may be meant as this member of a union: no literal field says otherwise."""
    if not _is_spec(option) or not isinstance(data, Mapping):
        return True
    return all(
        data[name] in get_args(field.annotation)
        for name, field in option.model_fields.items()
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1 and name in data
    )


def _annotation_at(spec: type[BaseModel], path: Path, data: Any) -> list[Any]:
    """Return the types that may stand at `path`, given the data on the way."""
    options: list[Any] = [spec]
    for part in path:
        below: list[Any] = []
        for option in options:
            if _is_spec(option):
                if _fits(option, data):
                    below += [f.annotation for n, f in option.model_fields.items() if part in (f.alias or n, n)]
            elif get_origin(option) in (dict, Mapping, list, tuple):
                below.append(next((a for a in reversed(get_args(option)) if a is not Ellipsis), Any))
        options = [kind for annotation in below for kind in _alternatives(annotation)]
        data = data.get(part) if isinstance(data, Mapping) else None
    return [option for option in options if _fits(option, data)]


def _known_names(spec: type[BaseModel], path: Path, data: Any) -> list[str]:
    """Return the field names allowed at `path`, as they are written in YAML."""
    here = [option for option in _annotation_at(spec, path, data) if _is_spec(option)]
    return [field.alias or name for option in here for name, field in option.model_fields.items()]


def named_entries(spec: type[BaseModel], path: Path, data: Any) -> bool:
    """Tell whether `path` is a block of named entries (pools, tiers), whose keys the user chooses."""
    return any(get_origin(option) in (dict, Mapping) for option in _annotation_at(spec, path, data))


def _description(spec: type[BaseModel], path: Path, data: Any) -> str:
    """Return the first sentence of the field's docstring."""
    for option in _annotation_at(spec, path[:-1], data):
        for name, field in option.model_fields.items() if _is_spec(option) else ():
            if path[-1] in (field.alias, name) and field.description:
                first: str = field.description.split(". ")[0].split("\n\n")[0]
                return first.replace("\n", " ").rstrip(".") + "."
    return ""
