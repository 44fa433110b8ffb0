"""Safety classifiers: what they are made of, and how often they are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from sim.spec.base import Fraction, Key, NonNegativeInt, PositiveFraction, PositiveInt, Spec, Text
from sim.spec.text import read_text


class Rates(Spec):
    """How often a classifier is right: its two rates, or F1, which publications give in place of the first."""

    true_positive_rate: Fraction | None = None
    """Fraction of unsafe texts that it flags (recall)."""
    f1: PositiveFraction | None = None
    """F1 score, where the true positive rate is not published."""
    test_unsafe_frac: PositiveFraction = 0.5
    """Fraction of the texts of that score's test set that are unsafe. Default 0.5, *assumed*."""
    false_positive_rate: Fraction
    """Fraction of safe texts that it flags."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a rate that is missing, or given twice, or that no classifier has."""
        if (self.true_positive_rate is None) == (self.f1 is None):
            yield "true_positive_rate", "give true_positive_rate or f1, one of them"
        elif self.recall > 1.0:
            message = (
                f"no classifier has F1 {self.f1} and that false positive rate where {self.test_unsafe_frac} is unsafe"
            )
            yield "f1", message

    @property
    def recall(self) -> float:
        """True positive rate.

        From F1 = 2 TP / (2 TP + FP + FN), with u the unsafe fraction: recall = F1 (fpr (1 - u) + u) / (u (2 - F1)).
        """
        if self.true_positive_rate is not None:
            return self.true_positive_rate
        f1, unsafe = self.f1 or 0.0, self.test_unsafe_frac
        return f1 * (self.false_positive_rate * (1.0 - unsafe) + unsafe) / (unsafe * (2.0 - f1))


class Classifier(Rates):
    """One classifier. A visit that names it takes its rates and the length of its instructions from here."""

    model: Text | None = None
    """Key of an entry in models/. Default: none, it reads the activations of the model that answers (a probe)."""
    template_tokens: NonNegativeInt = 0
    """Length of its instructions [tokens]."""
    verdict_tokens: PositiveInt = 1
    """Tokens that its verdict takes: one, where the first token's probability is the verdict."""
    by_language: dict[Key, Rates] = Field(default_factory=dict)
    """Rates where they are known to differ."""
    source: Text
    """Who published the rates, measured on what."""
    assumed: Text
    """What is assumed of it; none, if nothing."""


class _Classifiers(Spec):
    """A file of classifiers."""

    classifiers: Annotated[dict[Key, Classifier], Field(min_length=1)]
    """Classifiers by name."""


def read_classifiers(text: str, file: str | None = None) -> dict[str, Classifier]:
    """Return the classifiers of a YAML text by name; raises SpecError with all problems."""
    return dict(_Classifiers.from_document(read_text(text, file)).classifiers)
