"""Tokenizers: how many tokens the same text takes in each language, as counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.spec.base import Key, PositiveInt, PositiveNumber, Spec, Text
from sim.spec.text import read_text


class Tokenizer(Spec):
    """One tokenizer and the lengths of its texts."""

    vocab_size: PositiveInt
    """Tokens that text is made of."""
    family: Text
    """Tokenizers of one family were built on one another; in a fit they count together as one."""
    also: tuple[Text, ...] = ()
    """Other names of the same tokenizer."""
    source: Text
    """Who uses it, and what was counted by whom."""
    licence: Text
    """Licence of the data it was derived from."""
    factors: Annotated[dict[Key, PositiveNumber], Field(min_length=1)]
    """By language: tokens of a text over the tokens of the same text in English under cl100k_base."""


class Tokenizers(Spec):
    """A file of tokenizers."""

    groups: dict[Text, tuple[Key, ...]] = Field(default_factory=dict)
    """Languages by group: what holds for one of a group, under a tokenizer of unknown kind, holds for the others."""
    tokenizers: dict[Text, Tokenizer] = Field(default_factory=dict)
    """Tokenizers by name."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield languages in two groups and names of two tokenizers."""
        seen: dict[str, str] = {}
        for group, languages in self.groups.items():
            for language in languages:
                if language in seen:
                    yield f"groups.{group}", f"{language} is also in the group {seen[language]}"
                seen[language] = group
        names: set[str] = set(self.tokenizers)
        for name, tokenizer in self.tokenizers.items():
            for other in tokenizer.also:
                if other in names:
                    yield f"tokenizers.{name}.also", f"{other} is the name of another tokenizer"
                names.add(other)

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language of a group."""
        return tuple(language for languages in self.groups.values() for language in languages)

    def find(self, name: str) -> Tokenizer | None:
        """Return the tokenizer of that name, if there is one."""
        same = (tokenizer for tokenizer in self.tokenizers.values() if name in tokenizer.also)
        return self.tokenizers.get(name) or next(same, None)


def read_tokenizers(text: str, file: str | None = None) -> Tokenizers:
    """Return the tokenizers of a YAML text; raises SpecError with all problems."""
    return Tokenizers.from_document(read_text(text, file))
