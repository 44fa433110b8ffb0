"""Control charts: a sum that remembers, and alarms when it has drifted too far. With known false-alarm rates.

Scores are standardised: mean 0 and deviation 1 while nothing has changed.

* CUSUM (Page 1954): C+ = max(0, C+ + z - k), C- = max(0, C- - z - k); alarm where either passes h. `k` is half the
  shift that it is quickest to find, in standard deviations.
* Page-Hinkley: m = sum of (x - running mean - delta); alarm where m passes its lowest value by `limit`. It needs no
  baseline but the data before; with a known mean in place of the running one it is the upper CUSUM with k = delta.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]


def cusum(scores: Floats, k: float) -> Floats:
    """Both sides of the CUSUM after each score, shape [2, time, ...]: upwards, downwards."""
    out = np.empty((2, *scores.shape))
    state = np.zeros((2, *scores.shape[1:]))
    for t, z in enumerate(scores):
        state[0] += z
        state[1] -= z
        state -= k
        np.maximum(state, 0.0, out=state)
        out[:, t] = state
    return out


def page_hinkley(values: Floats, delta: float) -> Floats:
    """How far the sum of (value - mean so far - delta) is above its lowest, after each value, shape [time, ...]."""
    num = np.arange(1, len(values) + 1).reshape(-1, *[1] * (values.ndim - 1))
    total = np.cumsum(values - np.cumsum(values, axis=0) / num - delta, axis=0)
    above: Floats = total - np.minimum(np.minimum.accumulate(total, axis=0), 0.0)
    return above


def crossing_frac(k: float, h: float, num_steps: int, num_states: int = 200) -> Floats:
    """Chance that one side of the CUSUM of independent normal scores has passed `h` by each step, shape [num_steps].

    Brook and Evans 1972 (Biometrika 59:539): the sum is a Markov chain on `num_states` equal cells of [0, h].
    """
    stay = np.zeros(num_states)
    stay[0] = 1.0
    matrix = _moves(k, h, num_states)
    passed = np.empty(num_steps)
    for step in range(num_steps):
        stay = stay @ matrix
        passed[step] = 1.0 - stay.sum()
    return passed


def mean_run_length(k: float, h: float, num_states: int = 200) -> float:
    """Mean number of independent normal scores until one side of the CUSUM passes `h`, from the same chain."""
    left = np.eye(num_states) - _moves(k, h, num_states)
    return float(np.linalg.solve(left, np.ones(num_states))[0])


def _moves(k: float, h: float, num_states: int) -> Floats:
    """Chance to go from each cell to each; cell i is centred at i x width, the first holds all below it."""
    width = 2.0 * h / (2 * num_states - 1)
    centre = width * np.arange(num_states)
    upper = ndtr(centre[None, :] + width / 2 - centre[:, None] + k)
    moves: Floats = np.diff(upper, axis=1, prepend=0.0)
    return moves


def exact_limit(k: float, false_alarms: float, num_steps: int) -> float:
    """The `h` that two-sided CUSUM of independent normal scores passes within `num_steps` with that chance.

    The sides are taken as independent of each other; they exclude each other nearly always, so the chance is a little
    overstated.
    """
    low, high = 0.0, 4.0 + 8.0 / k
    for _ in range(40):
        middle = 0.5 * (low + high)
        chance = crossing_frac(k, middle, num_steps, 100)[-1]
        if 1.0 - (1.0 - chance) ** 2 > false_alarms:
            low = middle
        else:
            high = middle
    return high


def tail_limit(maxima: Floats, false_alarms: float) -> float:
    """The level that a new maximum passes with that chance, from simulated ones.

    The maximum of a CUSUM has an exponential tail (Siegmund 1985), so beyond the level that one in twenty passes the
    excess is taken as exponential with its mean: as good an estimate of rare levels as of that one.
    """
    tail_frac = 0.05
    level = float(np.quantile(maxima, 1.0 - tail_frac))
    if false_alarms >= tail_frac:
        return float(np.quantile(maxima, 1.0 - false_alarms))
    excess = float((maxima[maxima > level] - level).mean())
    return level + excess * math.log(tail_frac / false_alarms)
