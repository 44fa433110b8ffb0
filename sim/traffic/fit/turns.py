"""How conversations go on: the chance of another turn, and the gap to it, from a window that cuts both off.

Turn k is followed by another with probability p_k, after a gap with distribution F. A request seen last in its
conversation at a time c before the window's end either ended it, or goes on later: the chance of what was seen is
1 - p_k F(c). That is a mixture cure model (Boag, 1949; Peng and Dear, 2000); p and F are its maximum likelihood, found
by expectation and maximisation, F being the product-limit (Kaplan-Meier) estimate in which a request seen last counts
as much as it is likely to go on.

Conversations that began before the window show themselves as first turns. Most do so within the first gaps, so p_k is
estimated from conversations first seen after a run-in: the 95th percentile of the gaps seen, a third of the window at
most.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.traffic.fit.links import Links
from sim.traffic.fit.recorded import Recorded

LEAST_AT_RISK = 100  # turns: with fewer, all later ones share one chance
_LEAST_SURVIVAL = 5e-4  # half a cell of a quantile table
_LONGEST = 1000


@dataclass(frozen=True, eq=False)
class Turns:
    """Chances and gaps."""

    go_on: NDArray[np.float64]
    """p_k; the last holds for all further turns."""
    gap_s: NDArray[np.float64]
    """Gaps seen, in order."""
    cdf: NDArray[np.float64]
    """F at each of them; ends at 1."""
    run_in_s: float
    """Conversations first seen later have p_k estimated from them."""

    @property
    def survival(self) -> NDArray[np.float64]:
        """P(N > k) for k = 0, 1, ... until it is negligible."""
        chances: NDArray[np.float64] = np.append(self.go_on, np.full(_LONGEST, self.go_on[-1]))
        survival: NDArray[np.float64] = np.append(1.0, np.cumprod(chances))
        return np.asarray(survival[survival >= _LEAST_SURVIVAL])

    def hidden(self, left_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The chance that a first turn with no other seen so long before the window's end goes on after it."""
        before = np.append(0.0, self.cdf)[np.searchsorted(self.gap_s, left_s, side="right")]
        return np.asarray(self.go_on[0] * (1.0 - before) / np.maximum(1.0 - self.go_on[0] * before, 1e-12))

    def percentiles(self) -> dict[float, float]:
        """A table of the number of turns whose draws, rounded, have these chances."""
        survival = self.survival
        points = {0.0: 1.0}
        points |= {round(100.0 * (1.0 - s), 5): n + 0.5 for n, s in enumerate(survival[1:].tolist(), 1)}
        return points | {100.0: float(len(survival))}

    def quantiles(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles of the gaps [s]."""
        return np.asarray(np.interp(u, np.append(0.0, self.cdf), np.append(self.gap_s[0], self.gap_s)))


def turns_of(recorded: Recorded, links: Links) -> Turns:
    """Fit chances and gaps to what a window shows."""
    later = np.flatnonzero(links.parent >= 0)
    gap_s = np.full(len(recorded), np.inf)
    # A parent with two children went on at the earlier.
    np.minimum.at(gap_s, links.parent[later], recorded.time_s[later] - recorded.time_s[links.parent[later]])
    went_on = np.isfinite(gap_s)
    left_s = recorded.span_s - recorded.time_s
    run_in_s = float(min(np.quantile(gap_s[went_on], 0.95), recorded.span_s / 3.0))
    first_seen_s = recorded.time_s.copy()
    for number in later:
        first_seen_s[number] = first_seen_s[links.parent[number]]
    counted = first_seen_s >= run_in_s
    at_risk = np.bincount(links.turn[counted])
    num = max(int(np.argmin(np.append(at_risk >= LEAST_AT_RISK, False))), 1)
    index = np.minimum(links.turn, num - 1)
    return _maximised(gap_s, went_on, left_s, index, counted, num, run_in_s)


def _maximised(
    gap_s: NDArray[np.float64],
    went_on: NDArray[np.bool_],
    left_s: NDArray[np.float64],
    index: NDArray[np.int64],
    counted: NDArray[np.bool_],
    num: int,
    run_in_s: float,
) -> Turns:
    """Expectation and maximisation, from the shares seen."""
    times_s, events = np.unique(gap_s[went_on], return_counts=True)
    last = np.flatnonzero(~went_on)
    # Gaps seen up to the time that a request seen last was watched for.
    watched = np.searchsorted(times_s, left_s[last], side="right")
    total = np.bincount(index[counted], minlength=num)
    seen = np.bincount(index[counted & went_on], minlength=num)
    go_on, cdf = seen / total, np.cumsum(events) / events.sum()
    for _ in range(1000):
        before = np.append(0.0, cdf)[watched]
        chance = go_on[index[last]]
        likely = chance * (1.0 - before) / np.maximum(1.0 - chance * before, 1e-12)
        # Product-limit: at each gap, those still going on are all longer gaps and the likely ones watched so long.
        weight = np.bincount(watched, likely, minlength=len(times_s) + 1)
        still = np.cumsum(events[::-1])[::-1] + np.cumsum(weight[::-1])[::-1][1:]
        # Nothing is known beyond the longest gap seen: there the distribution ends.
        survival = np.cumprod(1.0 - events / still)
        new_cdf = np.append(1.0 - survival[:-1], 1.0)
        hidden = np.bincount(index[last], np.where(counted[last], likely, 0.0), minlength=num)
        new_go_on = (seen + hidden) / total
        change = max(np.abs(new_go_on - go_on).max(), np.abs(new_cdf - cdf).max())
        go_on, cdf = new_go_on, new_cdf
        if change < 1e-9:
            break
    return Turns(go_on, times_s, cdf, run_in_s)
