"""Spellings: how measurements and users write the names of entries, and what else a name says."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from pydantic import Field

from sim.errors import CatalogError, Problem, did_you_mean
from sim.spec.base import Spec, Text
from sim.spec.quantization import Scheme
from sim.spec.text import read_text

_REMARK: Final = re.compile(r"\(([^)]*)\)")


class Word(Spec):
    """A word of a name that is not part of the entry's name, and what it says; empty: nothing that counts here."""

    weights: Scheme | None = None
    """Precision of the weights."""
    note: Text = ""
    """What else a reader must know."""


class Other(Spec):
    """A spelling that no rule leads to its entry."""

    entry: Text
    """Name in the catalogue."""
    note: Text = ""
    """How the two differ, where they do."""


class Spellings(Spec):
    """The data of one kind of entry: `_spellings.yaml` beside the entries."""

    words: dict[str, Word] = Field(default_factory=dict)
    """Words that may be left out of a name."""
    entries: dict[str, Other] = Field(default_factory=dict)
    """Further spellings, in lower case, without the words above."""
    not_covered: dict[str, Text] = Field(default_factory=dict)
    """Spellings that name something this catalogue cannot hold, and why; `*` stands for any ending."""


@dataclass(frozen=True)
class Resolved:
    """What a spelling means."""

    entry: str
    """Name in the catalogue."""
    weights: Scheme | None
    """Precision of the weights that the name implies; None: it says nothing."""
    note: str
    """Remarks in the name and differences from the entry, if any."""


def read_spellings(text: str, filename: str | None = None) -> Spellings:
    """Return the spellings that a file holds."""
    return Spellings.from_document(read_text(text, filename))


def resolve(name: str, spellings: Spellings, entries: Collection[str]) -> Resolved:
    """Return the entry that a name means.

    Parameters
    ----------
    name
        As somebody wrote it: an organisation or folder before a slash, remarks in parentheses, words such as
        `Instruct` or `FP8` in any place, spaces or underscores for hyphens.
    spellings
        Words to leave out and irregular names.
    entries
        Names in the catalogue.

    Returns
    -------
    Resolved
        The entry reached by leaving out the fewest words.

    Raises
    ------
    CatalogError
        The name means nothing here, or something that is not covered: the message says why.
    """
    remarks = _REMARK.findall(name)
    bare = _REMARK.sub(" ", name).strip().rsplit("/", 1)[-1].lower()
    words = re.split(r"[-_\s]+", bare)
    for kept, left_out in _shorter(words, spellings.words):
        for pattern, why in spellings.not_covered.items():
            if kept == pattern or (pattern.endswith("*") and kept.startswith(pattern[:-1])):
                raise CatalogError(Problem(f"{name} is not covered: {why}"))
        other = spellings.entries.get(kept) or (Other(entry=kept) if kept in entries else None)
        if other:
            said = [spellings.words[word] for word in left_out]
            weights = next((word.weights for word in said if word.weights), None)
            notes = [other.note, *(word.note for word in said), *remarks]
            return Resolved(other.entry, weights, "; ".join(note for note in notes if note))
    raise CatalogError(f"no entry is spelt {name}. {did_you_mean('-'.join(words), entries)}")


def _shorter(words: list[str], optional: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield a name with ever more of its optional words left out, and those words."""
    places = [place for place, word in enumerate(words) if word in optional]
    for number in range(len(places) + 1):
        for chosen in combinations(places, number):
            kept = "-".join(word for place, word in enumerate(words) if place not in chosen)
            yield kept, [words[place] for place in chosen]
