"""Tokens by language: how much longer the same text is in another language, under another tokenizer.

The lengths of workloads are counted in tokens of English text under cl100k_base. A factor turns them into the tokens of
the same text in a language under a model's own tokenizer. For a tokenizer that was counted it is looked up. For any
other it is fitted over the size V of the vocabulary, with one level a language l and one slope a group g of languages,

    ln factor(l, V) = level_l + slope_g (ln V - mean ln V),

by least squares over the tokenizers that were counted, each family of tokenizers with the weight of one. The size of a
vocabulary does not say for which languages it was made, so the error is large where tokenizers differ in that: it is
the root mean square of what the fit gets wrong for a family that was left out of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim import catalog
from sim.errors import CatalogError, did_you_mean
from sim.spec.model import ModelSpec
from sim.spec.tokenizer import Tokenizer, Tokenizers

COUNTED_ERROR = 0.005
"""Relative error of a counted factor: root mean square of ln(ratio) between our counts (FLORES-200 dev) and those of
Petrov et al. 2023 (FLORES-200) of the same three tokenizers in 30 languages."""

_LEAST_FAMILIES = 3


@dataclass(frozen=True)
class Factor:
    """Tokens of a text in some language over those of the same text in English under cl100k_base."""

    value: float
    relative_error: float
    """Root mean square of the error of ln(value)."""


def tokenizer_of(model: ModelSpec) -> str | int:
    """What is known of a model's tokenizer: its name, or the size of its vocabulary."""
    return model.vocab_size if model.tokenizer is None else model.tokenizer


def length_factor(language: str, tokenizer: str | int) -> Factor:
    """The factor of one language under one tokenizer.

    Parameters
    ----------
    language
        One of `known_languages()`, such as Hindi.
    tokenizer
        Name of a counted tokenizer, or the size of a vocabulary; sizes beyond those counted are taken as the nearest.

    Returns
    -------
    Factor

    Raises
    ------
    CatalogError
        A language or a tokenizer that is not known; the message lists those that are.
    """
    return length_factors((language,), tokenizer)[0]


def length_factors(languages: Sequence[str], tokenizer: str | int) -> tuple[Factor, ...]:
    """The factors of several languages under one tokenizer; raises CatalogError for all that is not known at once."""
    table = catalog.load_tokenizers()
    found = table.find(tokenizer) if isinstance(tokenizer, str) else None
    problems = []
    if isinstance(tokenizer, str) and found is None:
        advice = f"{did_you_mean(tokenizer, table.tokenizers)} Of any other give the size of its vocabulary."
        problems.append(f"no tokenizer {tokenizer}. {advice}")
    known = _fitted_languages(table) if found is None else tuple(found.factors)
    if unknown := [language for language in dict.fromkeys(languages) if language not in known]:
        problems += [f"no language {language}. {did_you_mean(language, known)}" for language in unknown]
    if problems:
        raise CatalogError(*problems)
    if found is not None:
        return tuple(Factor(found.factors[language], COUNTED_ERROR) for language in languages)
    return tuple(_fitted(table, language, int(tokenizer)) for language in languages)


def known_languages() -> tuple[str, ...]:
    """Every language for which there is a factor whatever the tokenizer."""
    return _fitted_languages(catalog.load_tokenizers())


def _fitted_languages(table: Tokenizers) -> tuple[str, ...]:
    """The languages of a group that enough families were counted in."""
    families = {
        language: {one.family for one in table.tokenizers.values() if language in one.factors}
        for languages in table.groups.values()
        for language in languages
    }
    return tuple(language for language, found in families.items() if len(found) >= _LEAST_FAMILIES)


def _fitted(table: Tokenizers, language: str, vocab_size: int) -> Factor:
    """The factor of a language by the size of the vocabulary, with the error of its group."""
    known = _fitted_languages(table)
    group = [one for members in table.groups.values() if language in members for one in members if one in known]
    tokenizers = list(table.tokenizers.values())
    value = np.exp(_predict(tokenizers, group, vocab_size)[group.index(language)])
    errors = []
    for family in dict.fromkeys(one.family for one in tokenizers):
        rest = [one for one in tokenizers if one.family != family]
        misses = [
            _predict(rest, group, one.vocab_size) - _logarithms(one, group)
            for one in tokenizers
            if one.family == family
        ]
        errors.append(float(np.nanmean(np.square(misses))))
    return Factor(float(value), float(np.sqrt(np.mean(errors))))


def _predict(tokenizers: Sequence[Tokenizer], group: Sequence[str], vocab_size: int) -> NDArray[np.float64]:
    """Fitted ln(factor) of a group's languages at one size of the vocabulary."""
    families = [one.family for one in tokenizers]
    sizes = np.log([one.vocab_size for one in tokenizers])
    values = np.array([_logarithms(one, group) for one in tokenizers])  # tokenizer x language
    weights = np.where(np.isnan(values), 0.0, np.array([[1.0 / families.count(family)] for family in families]))
    weights /= weights.sum(axis=0)
    values = np.nan_to_num(values)
    levels, middles = (weights * values).sum(axis=0), sizes @ weights
    x = sizes[:, None] - middles
    slope = (weights * x * values).sum() / (weights * x**2).sum()
    at = np.clip(np.log(vocab_size), sizes.min(), sizes.max())
    return np.asarray(levels + slope * (at - middles))


def _logarithms(tokenizer: Tokenizer, group: Sequence[str]) -> NDArray[np.float64]:
    """The ln(factor) of a group's languages under a counted tokenizer; NaN where it was not counted."""
    return np.log([tokenizer.factors.get(language, np.nan) for language in group])
