"""Drift: from a moment on, something that nobody announced is different. For trying monitors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from sim.spec.base import Fraction, Key, PositiveNumber, Seconds, Spec

Kind = Literal["longer_prompts", "longer_answers", "cache_busting", "strict_classifier"]
NEEDS: Final = {
    "longer_prompts": ("factor",),
    "longer_answers": ("factor",),
    "cache_busting": (),
    "strict_classifier": ("pool", "block_frac"),
}
"""Fields of each kind, besides `at` and `tiers`."""


class Drift(Spec):
    """Something that changes during the run, for all that comes after."""

    at_s: Seconds = Field(alias="at")
    """When [s after the start of the measured time], such as 10 h."""
    kind: Kind
    """longer_prompts: people's new messages have `factor` times as many tokens (an app that sends more context).
    longer_answers: answers have (a model that has become verbose). cache_busting: no two prompts begin with the same
    text any more (a date at the top of the system prompt). strict_classifier: a classifier blocks `block_frac`."""
    tiers: Annotated[tuple[Key, ...], Field(min_length=1)] | None = None
    """Tiers that it befalls; of a classifier, those whose path it is on. Default: all."""
    factor: Annotated[PositiveNumber, Field(le=100)] | None = None
    """How many times as long prompts or answers become."""
    pool: Key | None = None
    """Pool of the classifier."""
    block_frac: Fraction | None = None
    """Fraction of requests that the classifier blocks from then on."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield fields that are missing, and those of the other kinds."""
        needs = NEEDS[self.kind]
        for name, value in (("factor", self.factor), ("pool", self.pool), ("block_frac", self.block_frac)):
            if name in needs and value is None:
                yield name, f"missing; {self.kind} needs it"
            elif name not in needs and value is not None:
                yield name, f"not used by {self.kind} (it needs {', '.join(needs) or 'nothing more'}); remove it"
