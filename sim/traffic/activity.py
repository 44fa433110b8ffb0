"""How often people come: a heavy-tailed level for each user, and a Poisson number of conversations a day.

User u of tier t holds Poisson(rate_t * a_u) conversations a day, where the level a_u is lognormal with mean 1 and keeps
its value from day to day. The spread of the levels is not a free choice: it is the one for which the expected share of
users with a conversation today is the wanted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, pdtr

from sim.errors import SpecError
from sim.traffic import draws
from sim.traffic.people import chosen, thresholds

LEVELS = 1024  # equally likely levels of activity; the ends keep their cells' means, so the mean is exactly 1
MAX_PER_DAY = 4096
_LEVEL_SHIFT = np.uint64(64 - 10)
_WIDEST = 6.0  # spread of ln(level) beyond which nearly all use is one user's: no people are like that
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def levels(sigma: float) -> NDArray[np.float64]:
    """Mean level of each 1/1024 of users, lognormal with mean 1 and standard deviation `sigma` of its logarithm.

    The mean of exp(sigma z - sigma^2/2) over a < z < b is (Phi(b - sigma) - Phi(a - sigma)) / (Phi(b) - Phi(a)).
    """
    edges = ndtri(np.arange(LEVELS + 1) / LEVELS)
    return np.asarray(LEVELS * np.diff(ndtr(edges - sigma)))


@dataclass(frozen=True, eq=False)
class Activity:
    """Who comes on a day, and how often.

    Parameters
    ----------
    tier_frac : shape (tiers,)
        Share of users in each tier.
    rate_per_day : shape (tiers,)
        Mean conversations a day of a user of each tier.
    sigma
        Standard deviation of ln(level).
    """

    tier_frac: NDArray[np.float64]
    rate_per_day: NDArray[np.float64]
    sigma: float

    @classmethod
    def fitted(cls, tier_frac: Sequence[float], rate_per_day: Sequence[float], active_frac: float) -> "Activity":
        """The activity for which `active_frac` of all users come on a day; raises SpecError where none does."""
        frac, rate = np.asarray(tier_frac), np.asarray(rate_per_day)

        def active(sigma: float) -> float:
            return cls(frac, rate, sigma).active_frac

        if not active(_WIDEST) <= active_frac <= active(0.0):
            raise SpecError(
                f"traffic.daily_active_frac: {float(frac @ rate):.3g} conversations a day of a monthly user can be held"
                f" by {active(_WIDEST):.3g} to {active(0.0):.3g} of the users on a day, got {active_frac:g}; change"
                " daily_active_frac, messages_per_active_user_per_day or turns_per_conversation"
            )
        narrow, wide = 0.0, _WIDEST
        for _ in range(60):
            middle = 0.5 * (narrow + wide)
            narrow, wide = (middle, wide) if active(middle) > active_frac else (narrow, middle)
        return cls(frac, rate, narrow)

    @property
    def active_frac(self) -> float:
        """Expected share of users who begin a conversation on a day."""
        return float(self.tier_frac @ -np.expm1(-np.outer(self.rate_per_day, levels(self.sigma))).mean(axis=1))

    def hold(self, factor: float) -> None:
        """Raise SpecError where, at so many times the usual rate, somebody's conversations of a day have no numbers."""
        most = factor * float(self.rate_per_day.max()) * float(levels(self.sigma)[-1])
        if _num_counts(np.array([most]))[0] > MAX_PER_DAY:
            raise SpecError(
                f"tiers: the most active of 1024 users would hold {most:.0f} conversations a day, more than the"
                f" {MAX_PER_DAY} that have numbers; lower relative_use, messages_per_active_user_per_day or what makes"
                " days busier"
            )

    def tables(self, factors: Sequence[float] = (1.0,)) -> "ActivityTables":
        """The tables that draw the numbers of conversations at these multiples of the usual rate."""
        usual = np.outer(self.rate_per_day, levels(self.sigma)).ravel()
        rates = np.outer(factors, usual).ravel()
        sizes = _num_counts(rates)
        first = np.cumsum(sizes) - sizes
        row = np.repeat(np.arange(len(rates)), sizes)
        cdf: NDArray[np.float64] = pdtr(np.arange(len(row)) - first[row], rates[row])
        cdf[first + sizes - 1] = 1.0
        # The odds of none, as a threshold for 64 random bits: most users are settled by one comparison.
        idle = np.minimum(np.exp(-rates) * 2.0**64, 2.0**64 - 2048.0).astype(np.uint64)
        return ActivityTables(self, idle, row + cdf, first)

    def tier(self, seed: int, users: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Tier index of each user."""
        word = draws.bits(draws.key(seed, draws.TIER), users, _ZERO, _ZERO)
        return chosen(thresholds(self.tier_frac.tolist()), word)


def _num_counts(rates: NDArray[np.float64]) -> NDArray[np.int64]:
    """So many counts are told apart for each rate: fewer than a variate of 52 bits could tell are left out."""
    return np.ceil(rates + 9.0 * np.sqrt(rates) + 18.0).astype(np.int64)


@dataclass(frozen=True, eq=False)
class ActivityTables:
    """Draws of the numbers of conversations."""

    activity: Activity
    idle_below: NDArray[np.uint64]  # by row = (factor * tiers + tier) * LEVELS + level
    row_and_cdf: NDArray[np.float64]  # row + P(n <= k), increasing over rows and k
    first: NDArray[np.int64]  # where each row begins in it

    def conversations(
        self, seed: int, users: NDArray[np.uint64], number: np.uint64, factor: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Positions of the users who come on a day, and the number of conversations each begins.

        The count of a user is the inverse of a Poisson distribution at one variate, so at a lower rate the same person
        holds the first of the same conversations.

        Parameters
        ----------
        users
            Their numbers.
        number
            That of the day.
        factor
            Which of the multiples of `Activity.tables` holds for each user. Default: the first.
        """
        level = draws.bits(draws.key(seed, draws.ACTIVE), users, _ZERO, _ZERO) >> _LEVEL_SHIFT
        row = self.activity.tier(seed, users) * LEVELS + level.astype(np.int64)
        if factor is not None:
            row += factor * (LEVELS * len(self.activity.tier_frac))
        word = draws.bits(draws.key(seed, draws.NUM_CONVERSATIONS), users, number, _ZERO)
        come = np.flatnonzero(word >= self.idle_below[row])
        row = row[come]
        # A user's row of the cumulative distribution is searched inside the one long table.
        at = np.searchsorted(self.row_and_cdf, row + draws.uniform(word[come]))
        return come, at - self.first[row]
