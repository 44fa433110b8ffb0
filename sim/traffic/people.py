"""Who people are: the region and the language of each user, and the use of each conversation, by keyed draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws

_ZERO = np.uint64(0)


def thresholds(shares: Sequence[float]) -> NDArray[np.uint64]:
    """Where the words of 64 random bits go over from one choice to the next, shape (choices - 1,)."""
    return np.minimum(np.cumsum(shares)[:-1] * 2.0**64, 2.0**64 - 2048.0).astype(np.uint64)


def chosen(edges: NDArray[np.uint64], word: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The choice that each word stands for; `edges` of shape (choices - 1,) or one such row for each word."""
    choice = np.zeros(len(word), dtype=np.int64)
    for edge in edges.T:
        choice += word >= edge
    return choice


@dataclass(frozen=True, eq=False)
class People:
    """Regions and languages of users.

    Parameters
    ----------
    seed
        Seed of all draws.
    region_frac : shape (regions,)
        Share of the users.
    language_frac : shape (regions, languages)
        Share of a region's users who speak each.
    """

    seed: int
    region_frac: NDArray[np.float64]
    language_frac: NDArray[np.float64]

    def region(self, users: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Region of each user."""
        if len(self.region_frac) == 1:
            return np.zeros(len(users), dtype=np.int64)
        word = draws.bits(draws.key(self.seed, draws.REGION), users, _ZERO, _ZERO)
        return chosen(thresholds(self.region_frac.tolist()), word)

    def language(self, users: NDArray[np.uint64], region: NDArray[np.int64]) -> NDArray[np.int64]:
        """Language of each user, whose region is known."""
        if self.language_frac.shape[1] == 1:
            return np.zeros(len(users), dtype=np.int64)
        edges = np.stack([thresholds(shares) for shares in self.language_frac.tolist()])
        word = draws.bits(draws.key(self.seed, draws.LANGUAGE), users, _ZERO, _ZERO)
        return chosen(edges[region] if len(edges) > 1 else edges[0], word)

    @property
    def language_share(self) -> NDArray[np.float64]:
        """Share of all users who speak each language."""
        return np.asarray(self.region_frac @ self.language_frac)
