"""Speculative decoding: who drafts how many tokens, and how many of them the target model accepts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sim.errors import Problem, SpecError
from sim.spec.base import Fraction, PositiveInt, PositiveNumber, Spec, Text
from sim.spec.text import read_text

Method: TypeAlias = Literal["ngram", "eagle", "eagle3", "mtp", "draft_model"]
"""Ways to draft, in vLLM's words."""
MAX_SPECULATIVE_TOKENS = 32
"""Drafted tokens of a step; published settings have 1 to 16."""


class SpeculativeConfig(Spec):
    """Speculative decoding of a pool, with vLLM's names (`--speculative-config`)."""

    method: Method
    """Who drafts. ngram: the prompt, by look-up. eagle, eagle3, mtp: one extra layer on the target model, run once for
    each token. draft_model: a smaller model."""
    num_speculative_tokens: Annotated[PositiveInt, Field(le=MAX_SPECULATIVE_TOKENS)]
    """Tokens drafted in a step."""
    model: Text | None = None
    """Draft model: key of an entry in models/; for the method draft_model alone."""
    acceptance: Text | None = None
    """Acceptance by position: a name in hardware_profiles/acceptance.yaml. Default: the first there of the method."""
    accept_frac: Annotated[tuple[Fraction, ...], Field(min_length=1)] | None = None
    """Share of the drafted tokens that is accepted at each position, where all before it were; the last one holds for
    all later positions. Default: from `acceptance`."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a draft model where none belongs or none is given, and acceptance given twice."""
        if self.method == "draft_model" and self.model is None:
            yield "model", "missing: method draft_model needs a model that drafts, such as llama-3.1-8b"
        if self.method != "draft_model" and self.model is not None:
            what = "the prompt" if self.method == "ngram" else "one layer of the target model"
            yield "model", f"method {self.method} drafts with {what}; remove it or set method: draft_model"
        if self.acceptance is not None and self.accept_frac is not None:
            yield "accept_frac", "acceptance and accept_frac say the same; give one of the two"


class AcceptanceTable(Spec):
    """Acceptance of drafted tokens by position: one method on one kind of text."""

    name: Text
    """Name that `speculative_config.acceptance` gives, e.g. `eagle-sharegpt`."""
    method: Method
    """Who drafted."""
    position_frac: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    """Share accepted at each drafted position, where all before it were; the last one holds for later positions."""
    tokens_per_step: dict[int, PositiveNumber] = Field(default_factory=dict)
    """Tokens that a step emits, by number of drafted tokens, where it was measured beside the positions."""
    source: Text
    """Where it was measured or published; or the word assumed and why."""
    note: Text = ""
    """What a reader must know to use it."""


def read_acceptance(text: str, filename: str | None = None) -> dict[str, AcceptanceTable]:
    """Return the acceptance tables of a YAML text by name; raises SpecError with every problem and its line."""
    document = read_text(text, filename)
    if not isinstance(document.data, dict):
        raise SpecError(Problem("expected named acceptance tables (name: then indented lines)", filename, 1))
    problems: list[Problem] = []
    tables: dict[str, AcceptanceTable] = {}
    for name in document.data:
        part = document.at((name,))
        if isinstance(part.data, dict):
            part.data.setdefault("name", name)
        try:
            tables[name] = AcceptanceTable.from_document(part)
        except SpecError as error:
            problems += [dataclasses.replace(problem, path=f"{name}.{problem.path}") for problem in error.problems]
    SpecError.raise_if(problems)
    return tables
