"""When conversations start: their mean rate, how it changes over time, and the bursts they come in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.spec.base import (
    NonNegativeNumber,
    PositiveFraction,
    PositiveRate,
    PositiveSeconds,
    Seconds,
    Spec,
    Text,
)

Justification = Annotated[Text, Field(min_length=10)]
"""Where a number comes from, or the word assumed."""


class Intensity(Spec):
    """The rate of starts over time, relative to its mean."""

    interval_s: PositiveSeconds
    """Length of one interval [s]."""
    relative: Annotated[tuple[NonNegativeNumber, ...], Field(min_length=1, max_length=10_000)]
    """Rate in each interval from time 0 on, in any common unit; only the shape counts. After the last interval it
    begins again; before time 0 (a run-in) the first value holds."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the one thing that an intensity cannot be."""
        if not any(self.relative):
            yield "relative", "must not be 0 in every interval"


class Burst(Spec):
    """Conversations that start together: a script, a class that begins, a service that was held up and catches up.

    Bursts begin at random (a Poisson process). Each holds a random number of conversations (geometric), each of which
    starts some random time (exponential) after the burst's beginning.
    """

    share_frac: PositiveFraction
    """Share of all conversations that come in bursts of this kind."""
    mean_size: Annotated[float, Field(ge=1, le=1_000_000)]
    """Mean number of conversations in a burst."""
    spread_s: Seconds
    """Mean time from a burst's beginning to each of its conversations [s], at the mean rate: where the intensity is
    twice the mean, a burst passes in half the time."""


class ArrivalProcess(Spec):
    """When conversations start. What is not in bursts starts at random, as a Poisson process does."""

    rate_per_s: Annotated[PositiveRate, Field(le=1e9)]
    """Mean rate of conversation starts [1/s], such as 2.5 or "150 req/min"."""
    rate_per_s_justification: Justification
    """Why."""
    intensity: Intensity | None = None
    """How the rate changes over time. Default: it does not."""
    intensity_justification: Justification | None = None
    """Why; needed where an intensity is given."""
    bursts: Annotated[tuple[Burst, ...], Field(max_length=8)] = ()
    """Kinds of bursts. Default: none, a Poisson process."""
    bursts_justification: Justification | None = None
    """Why; needed where bursts are given."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield shares beyond all conversations, and numbers without a reason."""
        if (total := math.fsum(burst.share_frac for burst in self.bursts)) > 1.0 + 1e-9:
            yield "bursts", f"share_frac must sum to at most 1, got {total:g}"
        for name in ("intensity", "bursts"):
            if getattr(self, name) and getattr(self, f"{name}_justification") is None:
                yield f"{name}_justification", f"missing; say where the {name} come from, or that they are assumed"
