"""The rate of conversation starts whose requests, turn after turn, follow a given rate."""

import numpy as np
from numpy.typing import NDArray

from sim.traffic.daily import turn_survival
from sim.traffic.fit.counts import Slow
from sim.traffic.lengths import Table, lookup

_STEP_S = 5.0
_STEPS = 1 << 15  # 45 hours
_SAMPLES = 1 << 16
_NEGLIGIBLE = 1e-4


def delays(turns: Table, gap_s: Table) -> NDArray[np.float64]:
    """Expected requests of a conversation within i steps of 5 s of its start, i = 0, 1, ..."""
    gaps = lookup(gap_s, (np.arange(_SAMPLES) + 0.5) / _SAMPLES) / _STEP_S
    low = np.minimum(gaps.astype(np.int64), _STEPS - 2)
    later = np.minimum(gaps - low, 1.0)
    density = np.bincount(low, 1.0 - later, _STEPS) + np.bincount(low + 1, later, _STEPS)
    gap = np.fft.rfft(density / _SAMPLES)
    kernel = np.zeros_like(gap)
    for share in turn_survival(turns)[::-1]:
        kernel = kernel * gap + share
    return np.asarray(np.cumsum(np.maximum(np.fft.irfft(kernel, n=_STEPS), 0.0)))


def run_in_s(done: NDArray[np.float64]) -> float:
    """Time within which all but a ten-thousandth of a conversation's requests have come [s]."""
    return float(np.searchsorted(done, (1.0 - _NEGLIGIBLE) * done[-1]) * _STEP_S)


def starts_of(requests: Slow, done: NDArray[np.float64]) -> Slow:
    """Undo the delay of later turns.

    Before time 0 starts are taken to have come at the first interval's rate. The rates are found by the multiplicative
    fixed point rate *= wanted / got, which keeps them non-negative.
    """
    num = len(requests.rate_per_s)
    middle_s = (np.arange(int(requests.span_s / _STEP_S)) + 0.5) * _STEP_S
    of = np.minimum((middle_s / requests.interval_s).astype(np.int64), num - 1)
    edges_s = requests.edges_s.copy()
    edges_s[0] = -_STEPS * _STEP_S

    def since(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(time_s, np.arange(_STEPS) * _STEP_S, done, left=0.0)

    response = np.empty((num, num))
    for j in range(num):
        got = since(middle_s - edges_s[j]) - since(middle_s - edges_s[j + 1])
        response[:, j] = np.bincount(of, got, num) / np.maximum(np.bincount(of, minlength=num), 1)
    rate = requests.rate_per_s / done[-1]
    for _ in range(5000):
        got = response @ rate
        if np.max(np.abs(got - requests.rate_per_s)) < 1e-9 * requests.rate_per_s.max():
            break
        rate = rate * np.divide(requests.rate_per_s, got, out=np.ones(num), where=got > 0.0)
    return Slow(requests.interval_s, rate, requests.span_s)
