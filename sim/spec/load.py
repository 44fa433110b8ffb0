"""From YAML to a Scenario: file, named overrides, then changes given one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Protocol

from sim.errors import Problem, SpecError, did_you_mean
from sim.spec.explain import named_entries
from sim.spec.ranges import without_ranges
from sim.spec.scenario import Scenario
from sim.spec.text import Document, Path, dotted, parse_path, read_text


class Readable(Protocol):
    """A file that can be read: a path, or an entry inside an installed package."""

    def read_bytes(self) -> bytes:
        """Return the content."""


def read_file(file: Readable, shown: str) -> str:
    """Return the text of a file that should hold UTF-8; `shown` is its name in messages.

    Raises
    ------
    SpecError
        The file cannot be read, or is no UTF-8 text (with the line of the first bad byte).
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SpecError(Problem(f"cannot be read: {error.strerror or error}", shown)) from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8 text: byte 0x{content[error.start]:02x}; save the file as UTF-8"
        raise SpecError(Problem(message, shown, line)) from None


def read_scenario(
    text: str,
    file: str | None = None,
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    override: Sequence[str] = (),
    check: Callable[[Scenario], Iterable[tuple[str, str]]] | None = None,
) -> Scenario:
    """Return the scenario that a YAML text describes.

    Parameters
    ----------
    text
        The YAML.
    file
        Its file name, for messages and for the scenario's default name.
    changes
        Changes ``path=value`` (or a mapping path -> value), made last; a text value is read as YAML.
    override
        Names in the scenario's `overrides`, applied in this order.
    check
        What else is wrong with the scenario: (dotted path, message) pairs.

    Raises
    ------
    SpecError
        All problems, each with its file and line.
    """
    document = read_text(text, file)
    if isinstance(document.data, dict):
        document.data.setdefault("tiers", {"default": {}})
        if file is not None:
            document.data.setdefault("name", PurePath(file).stem)
        if override:
            document.data.pop("ladder", None)
    problems: list[Problem] = []
    for path, value in (*_overrides(document, override, problems), *read_changes(changes, problems)):
        try:
            document = _patched(document, path, value)
        except SpecError as error:
            problems += error.problems
    try:
        scenario = Scenario.from_document(document)
        further = check(scenario) if check is not None else ()
        problems += [document.problem(parse_path(path), message) for path, message in further]
    except SpecError as error:
        problems += error.problems
    SpecError.raise_if(problems)
    return scenario


def _overrides(document: Document, names: Sequence[str], problems: list[Problem]) -> Iterator[tuple[Path, Document]]:
    """Yield the patches of the named overrides, in order."""
    known = document.data.get("overrides") if isinstance(document.data, dict) else None
    known = known if isinstance(known, dict) else {}
    for name in names:
        if name not in known:
            help_ = did_you_mean(name, known)
            listed = f" Known: {', '.join(known)}." if help_.startswith("Did") else ""
            problems.append(Problem(f"no override of that name: {name}. {help_}{listed}", document.file))
        elif isinstance(known[name], dict):
            for path in known[name]:
                yield parse_path(path), document.at(("overrides", name, path))


def read_changes(
    changes: Sequence[str] | Mapping[str, Any], problems: list[Problem]
) -> Iterator[tuple[Path, Document]]:
    """Yield the patches given one by one."""
    if isinstance(changes, Mapping):
        pairs = [(f"--set {path}={value}", path, value) for path, value in changes.items()]
    else:
        pairs = []
        for change in changes:
            path, equals, value = change.partition("=")
            if equals and path:
                pairs.append((f"--set {change}", path, value))
            else:
                problems.append(Problem("expected path=value, such as fleet.pools.main.replicas=40", f"--set {change}"))
    for shown, path, value in pairs:
        try:
            data = _value(value)
        except SpecError as error:
            problems.append(Problem(error.problems[0].message, shown))
        else:
            yield parse_path(path), Document(data, shown)


def _value(given: Any) -> Any:
    """Return a value of the command line as YAML reads it; nothing after the equals sign is null."""
    if not isinstance(given, str):
        return given
    return read_text(given).data if given.strip() else None


def _patched(document: Document, path: Path, value: Document) -> Document:
    """Return the document with one patch applied; the named entries (pools, tiers) on the way must exist."""
    here = document.data
    for done, part in enumerate(path[: None if value.data is None else -1]):
        if not isinstance(here, dict):
            break
        if here.get(str(part)) is None and named_entries(Scenario, path[:done], document.data):
            known = [name for name, entry in here.items() if entry is not None]
            file, line = value.place(())
            message = f"no entry {part} in {dotted(path[:done])}. {did_you_mean(str(part), known)}"
            raise SpecError(Problem(message, file, line, dotted(path)))
        here = here.get(str(part))
    patched = document.patched(path, value)
    without_ranges(patched.data, path)
    return patched
