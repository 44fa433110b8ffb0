r"""Stage 1, data: where the tokens come from, how often they are seen, and whose language they are.

Text seen again is worth less: of U unique tokens seen R times more than once

.. math:: D' = U + U R^* (1 - e^{-R/R^*}),\qquad R^* = 15.39

count as unique (Muennighoff et al., arXiv:2305.16264); up to four times, nothing is lost that one would notice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.lifecycle.figures import Figure, Stage, computed
from sim.lifecycle.tokenizers import length_factor, tokenizer_of
from sim.spec.ranged import Ranged, given

if TYPE_CHECKING:
    from sim.lifecycle.plan import Plan

REPETITION: Final = given(15.39, "arXiv:2305.16264: R_D*, fitted to runs of up to 900B tokens", "published")
"""Times that text can be seen again before it is worth little."""


def effective_tokens(tokens: float, unique_tokens: float, repetition: float = float(REPETITION)) -> float:
    """Return how many unique tokens are worth as much as so many with repeats [tokens]."""
    if tokens <= unique_tokens:
        return tokens
    again = tokens / unique_tokens - 1.0
    return unique_tokens * (1.0 + repetition * -math.expm1(-again / repetition))


def stage(plan: Plan, tokens: Ranged) -> Stage:
    """Return what the training tokens are made of."""
    return Stage("data", "Stage 1: data", tuple(_figures(plan, tokens)))


def effective(plan: Plan, tokens: float) -> float:
    """Return what a mixture's tokens are worth, kind by kind [unique tokens]."""
    worth = [
        effective_tokens(corpus.frac * tokens, corpus.unique_tokens) if corpus.unique_tokens else corpus.frac * tokens
        for corpus in plan.spec.data.mixture.values()
    ]
    return sum(worth) if worth else tokens


def _figures(plan: Plan, tokens: Ranged) -> Iterator[Figure]:
    data, tokenizer = plan.spec.data, tokenizer_of(plan.model)
    yield Figure("training tokens", float(tokens), "tokens", tokens.source, tokens.low, tokens.high)
    for name, corpus in data.mixture.items():
        yield Figure(f"{name}: share", corpus.frac, "of the tokens", data.mixture_source)
        yield computed(f"{name}: tokens", "tokens", "share x D", lambda d, share=corpus.frac: share * d, tokens)
        if corpus.unique_tokens is not None:
            yield computed(
                f"{name}: epochs",
                "times seen",
                "share x D / unique tokens",
                lambda d, u, share=corpus.frac: share * d / u,
                tokens,
                corpus.unique_tokens,
                note=f"{float(corpus.unique_tokens):.3g} unique tokens: {corpus.unique_tokens.source}",
            )
    if data.mixture:
        yield computed(
            "effective tokens",
            "tokens",
            "U + U R* (1 - exp(-R / R*)) over the mixture",
            lambda d: effective(plan, d),
            tokens,
            source="arXiv:2305.16264",
            note="what the tokens would be worth if none were repeats",
        )
    for language, share in data.languages.items():
        factor = length_factor(language, tokenizer)
        around = math.exp(factor.relative_error)
        yield Figure(f"{language}: share", share, "of the tokens", data.languages_source)
        yield Figure(
            f"{language}: tokens a text",
            factor.value,
            "of English under cl100k_base",
            "counted or fitted: docs/languages.md",
            factor.value / around,
            factor.value * around,
        )
