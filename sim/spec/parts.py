"""Parts of a turn besides what its user writes: passages, images, files."""

from __future__ import annotations

from sim.spec.base import Fraction, Spec
from sim.spec.distribution import Distribution, TokenDistribution


class Pieces(Spec):
    """So many pieces of so many tokens each, all independent."""

    number: Distribution
    """Pieces in a turn, rounded to whole numbers; may be 0."""
    tokens: TokenDistribution
    """Tokens of one piece [tokens]."""


class Files(Spec):
    """Files that some conversations begin with."""

    conversation_frac: Fraction
    """Share of the conversations that begin with a file."""
    tokens: TokenDistribution
    """Tokens of such a file, or of all of them together [tokens]."""
