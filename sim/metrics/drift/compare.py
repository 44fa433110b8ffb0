"""Do two samples come from one distribution? Tests on counts by bin, with their false-alarm rates.

They count requests as independent. People come again, so over a day's requests they cry wolf more often than they say;
the charts, which take their deviations from the data, do not (`charts.py`). Here they say how, not whether.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

Counts = NDArray[np.int64]
LEAST_FRAC = 0.05
"""Bins are joined until each has this part of the baseline; *assumed*, as ten to twenty bins are usual."""


def joined_bins(baseline: Counts, new: Counts) -> tuple[Counts, Counts]:
    """Both histograms with neighbouring bins joined, so that none of the baseline's is nearly empty."""
    total = int(baseline.sum())
    edges, room = [0], 0
    for number, count in enumerate(baseline):
        room += int(count)
        if room >= LEAST_FRAC * total and number + 1 < len(baseline):
            edges.append(number + 1)
            room = 0
    if room < LEAST_FRAC * total and len(edges) > 1:
        edges.pop()
    return np.add.reduceat(baseline, edges), np.add.reduceat(new, edges)


def psi(baseline: Counts, new: Counts) -> float:
    """Population stability index: sum of (p - q) ln(p / q) over bins; half a request is added to each.

    By custom 0.1 is a small and 0.25 a large shift; `psi_chance` says what is by chance.
    """
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (baseline, new))
    return float(((p - q) * np.log(p / q)).sum())


def psi_chance(value: float, baseline: Counts, new: Counts) -> float:
    """Chance of so large an index between two samples of one distribution.

    Between samples of n and m it is (1/n + 1/m) times chi-squared with (bins - 1) degrees of freedom, for large counts
    (Yurdakul 2018, Statistical Properties of Population Stability Index).
    """
    spread = 1.0 / baseline.sum() + 1.0 / new.sum()
    return float(chdtrc(len(baseline) - 1, value / spread))


def ks(baseline: Counts, new: Counts) -> tuple[float, float]:
    """Kolmogorov-Smirnov: the largest gap between the distribution functions at the bins' edges, and its chance.

    The chance is that of the asymptotic distribution (Smirnov 1948); bins hide part of the gap, so it errs upwards.
    """
    n, m = int(baseline.sum()), int(new.sum())
    gap = float(np.abs(np.cumsum(baseline) / n - np.cumsum(new) / m).max())
    return gap, float(kolmogorov(math.sqrt(n * m / (n + m)) * gap))
