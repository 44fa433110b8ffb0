"""YAML text to plain data and back, remembering the line of every value.

PyYAML reads YAML 1.1, where ``1e6`` is a string, ``no`` a boolean and ``1:30`` a number. Here the scalars are those of
YAML 1.2's core schema (plus ``_`` between digits): ``1e6`` is a number, ``no``, ``on`` and ``1:30`` are strings, and a
field that wants a boolean still takes ``no``. Keys are always strings. A repeated key is an error.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeAlias

import yaml

from sim.errors import Problem, SpecError

Path: TypeAlias = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_INT: Final = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_WORDS: Final = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value, name in ((True, "true"), (False, "false")) for word in (name, name.title(), name.upper())
}
_MAX_VALUES: Final = 100_000
"""Values of a document once its aliases are written out: a few lines of aliases can stand for billions."""
_PLAIN: Final = "plain"
_TEXT_TAG: Final = "tag:yaml.org,2002:str"


class _Loader(yaml.SafeLoader):
    """Composes nodes and leaves the meaning of plain scalars to `_plain_scalar`."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        if kind is yaml.ScalarNode and implicit[0]:
            return _PLAIN
        return str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


class _Dumper(yaml.SafeDumper):
    """Quotes every string that YAML 1.1 or this reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Return a scalar node; what is not printable is written with escapes."""
    return dumper.represent_scalar(_TEXT_TAG, text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _represent_text)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(rf"^(?:{_FLOAT.pattern})$"), list("-+0123456789."))


@dataclass(frozen=True)
class Document:
    """Plain data as read, and where each value was written."""

    data: Any
    """Mappings with string keys, lists, strings, numbers, booleans and None."""
    file: str | None = None
    """Name of the file the data was read from."""
    places: dict[Path, tuple[str | None, int | None]] = field(default_factory=dict)
    """File (or command-line option) and line of each value."""

    def place(self, path: Path) -> tuple[str | None, int | None]:
        """Return file and line of the value at `path`, or of the nearest value that encloses it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return self.file, None

    def problem(self, path: Path, message: str) -> Problem:
        """Return the problem of the value at `path`."""
        file, line = self.place(path)
        return Problem(message, file, line, dotted(path))

    def at(self, path: Path) -> Document:
        """Return the part of this document that stands at `path` (which must exist)."""
        data = self.data
        for part in path:
            data = data[part]
        size = len(path)
        places = {p[size:]: place for p, place in self.places.items() if p[:size] == path}
        return Document(data, self.file, places)

    def patched(self, path: Path, value: Document) -> Document:
        """Return a copy in which `value` stands at `path`; mappings on the way are made where they are missing."""
        data = here = copy.deepcopy(self.data)
        place = value.place(())
        true_path: Path = ()
        for done, part in enumerate(path):
            if isinstance(here, dict):
                part = str(part)
            elif not (isinstance(here, list) and isinstance(part, int) and part < len(here)):
                what = f"a list of {len(here)}" if isinstance(here, list) else f"the single value {here!r}"
                message = f"no such place: {dotted(path[:done]) or 'the document'} is {what}"
                raise SpecError(Problem(message, *place, dotted(path)))
            true_path = (*true_path, part)
            if done == len(path) - 1:
                here[part] = value.data
            elif isinstance(here, dict) and here.get(part) is None:
                here[part] = {}
            here = here[part]
        size = len(true_path)
        places = {p: where for p, where in self.places.items() if p[:size] != true_path}
        places |= {true_path: place} | {true_path + p: where for p, where in value.places.items()}
        return Document(data, self.file, places)


def dotted(path: Path) -> str:
    """Return a path as people write it: ``fleet.pools.main.replicas``."""
    return ".".join(str(part) for part in path)


def parse_path(text: str) -> Path:
    """Return the path that a dotted text names; digits are list positions."""
    return tuple(int(part) if part.isdecimal() else part for part in text.split("."))


def read_text(text: str, file: str | None = None) -> Document:
    """Return the data of a YAML text and the line of each value.

    Raises
    ------
    SpecError
        The text is no YAML, holds too much, or repeats a key: every problem with its line.
    """
    read = _read_once(text, file)
    return Document(copy.deepcopy(read.data), file, dict(read.places))


@lru_cache(maxsize=256)
def _read_once(text: str, file: str | None) -> Document:
    """Read a text; one that was read before is not parsed again, which would take some 10 ms."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        advice = "; indent with spaces, not tabs" if "'\\t'" in said else ""
        raise SpecError(Problem(f"not valid YAML: {said}{advice}", file, mark.line + 1 if mark else None)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"not valid YAML: character {chr(error.character)!r} is not allowed"
        raise SpecError(Problem(message, file, line)) from None
    except RecursionError:
        raise SpecError(Problem("nested too deep", file)) from None
    if node is None:
        raise SpecError(Problem("the file is empty", file))
    builder = _Builder(file, {(): (file, node.start_mark.line + 1)})
    data = builder.build(node, (), ())
    SpecError.raise_if(builder.problems)
    return Document(data, file, builder.places)


@dataclass
class _Builder:
    """Turns nodes into plain data; writes down where each value stands, and every problem."""

    file: str | None
    places: dict[Path, tuple[str | None, int | None]]
    problems: list[Problem] = field(default_factory=list)

    def build(self, node: yaml.Node, path: Path, within: tuple[int, ...]) -> Any:
        """Return the data of a node that stands inside the nodes `within`; SpecError where there are too many."""
        if len(self.places) > _MAX_VALUES:
            message = f"more than {_MAX_VALUES} values, each alias counted as what it names; use fewer aliases"
            raise SpecError(Problem(message, self.file, node.start_mark.line + 1))
        if id(node) in within:
            self._report("an alias may not stand inside what it names", node, path)
            return None
        within = (*within, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, within)
        if isinstance(node, yaml.SequenceNode):
            items = enumerate(node.value)
            return [self._place(item, item, (*path, index), within) for index, item in items]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, within: tuple[int, ...]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key, value in node.value:
            here = (*path, str(key.value))
            if not isinstance(key, yaml.ScalarNode):
                self._report("a key must be a plain word", key, path)
            elif key.value in data:
                self._report(f"given twice, first in line {self.places[here][1]}; keep one", key, here)
            else:
                data[key.value] = self._place(key, value, here, within)
        return data

    def _place(self, mark: yaml.Node, node: yaml.Node, path: Path, within: tuple[int, ...]) -> Any:
        self.places[path] = (self.file, mark.start_mark.line + 1)
        return self.build(node, path, within)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        if node.tag == _PLAIN:
            try:
                return _plain_scalar(node.value)
            except ValueError:  # Python's limit on the digits of an integer
                self._report("a number with too many digits", node, path)
        elif node.tag != _TEXT_TAG:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._report(f"the tag {tag} is not supported; write the plain value", node, path)
        return node.value

    def _report(self, message: str, node: yaml.Node, path: Path) -> None:
        self.problems.append(Problem(message, self.file, node.start_mark.line + 1, dotted(path)))


def _plain_scalar(text: str) -> str | float | bool | None:
    """Return the value of a plain (unquoted) scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        bare = text.replace("_", "").lower()
        return float(bare.replace(".inf", "inf").replace(".nan", "nan"))
    return text


def write_text(data: Any, *, compact: bool = False) -> str:
    """Return plain data as YAML that `read_text` reads back unchanged; compact: one line for what is not nested."""
    style = None if compact else False
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=style
    )
    return text
