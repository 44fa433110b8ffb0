"""Recipes: which measurements each engine's entry is fitted to, from where it starts, and what may move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.spec.base import NonNegativeNumber, PositiveInt, PositiveNumber, Spec, Text
from sim.spec.bed import Pattern, Setting
from sim.spec.text import read_text


class Prior(Spec):
    """What is believed of a coefficient before anything is measured: log-normal."""

    median: PositiveNumber
    """Median, in the coefficient's unit."""
    spread: PositiveNumber
    """Standard deviation of the natural log [1]."""
    least: NonNegativeNumber = 0.0
    """Smallest value that is physical."""
    source: Text
    """Why: where the belief comes from."""


class Recipe(Spec):
    """How one engine's entry is fitted."""

    engine: Text
    """Engine of the entry, with a version where it is not the default one, such as vllm-0.12."""
    gpu: Text
    """GPU in the catalogue."""
    like: Text
    """Entry that everything but the coefficients is taken from: memory, graphs, notes."""
    kernels: Text
    """Family of kernels."""
    version: Text
    """Version measured."""
    date: Text
    """When it was measured."""
    source: Text
    """Where the measurements come from."""
    beds: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Beds whose rows are fitted."""
    versions: Pattern = ""
    """Which of their versions. Default: all."""
    models: Pattern = ""
    """Which of their models. Default: all."""
    tiers: Pattern = "A"
    """Which of their tiers. Default A: serving, or clean sweeps, on a current engine."""
    metrics: Pattern = ""
    """Which of their metrics. Default: all that are fitted."""
    priors: dict[Text, Prior] = Field(default_factory=dict)
    """Beliefs that differ from those of all engines, by path in EngineSpec; also what else may move."""
    held: tuple[Text, ...] = ()
    """Coefficients that do not move: they stay at the median of the belief."""
    candidates: tuple[dict[Text, Setting], ...] = ()
    """Settings of the pool that the sources do not state: each set is fitted, and the best is chosen in every fold."""
    folds: PositiveInt = 24
    """Most parts in which whole curves are held out; one curve each where there are fewer."""
    trust_all: bool = False
    """Fit rows too that the beds distrust, because there are no others."""
    notes: tuple[Text, ...] = ()
    """What a reader must know."""

    @property
    def name(self) -> str:
        """Name of the entry."""
        return f"{self.engine}-{self.gpu}"


class Recipes(Spec):
    """All recipes, and what is believed of every engine."""

    priors: dict[Text, Prior]
    """Beliefs by path in EngineSpec; an entry of a table with a dot, a star for any precision."""
    weights: dict[Pattern, NonNegativeNumber]
    """Weight of a metric in a fit, the first pattern that fits; 0: not fitted."""
    engines: tuple[Recipe, ...]
    """What is fitted to what."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield entries that two recipes would write."""
        names = [recipe.name for recipe in self.engines]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "engines", f"two recipes for {name}"


def read_recipes(text: str, file: str | None = None) -> Recipes:
    """Return the recipes of a file."""
    return Recipes.from_document(read_text(text, file))
