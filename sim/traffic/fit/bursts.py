"""Bursts fitted to the Fano factors of counts at several window lengths."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.traffic.fit.counts import Excess, Slow, expected_fano

_NEAR = 0.05  # of the Fano factor: a fit this near at every window needs no further kind of burst
_LEAST_EXCESS = 0.02  # what less adds to the Fano factor is left out


def fit_bursts(windows_s: Sequence[float], fanos: Sequence[float], slow: Slow, most: int = 2) -> tuple[Excess, ...]:
    """Kinds of bursts whose closed-form Fano factors come nearest to those given, in relative terms.

    As few kinds as meet every window within 5 %, at most two. Spreads lie between a tenth of the shortest and ten times
    the longest window: beyond, counts cannot tell.
    """
    kinds: tuple[Excess, ...] = ()
    for number in range(most + 1):
        found = _fitted(windows_s, fanos, slow, number)
        kinds = (
            found
            if number == 0 or _worst(windows_s, fanos, slow, found) < _worst(windows_s, fanos, slow, kinds)
            else kinds
        )
        if _worst(windows_s, fanos, slow, kinds) < _NEAR:
            break
    return tuple(kind for kind in kinds if kind.excess >= _LEAST_EXCESS)


def _worst(windows_s: Sequence[float], fanos: Sequence[float], slow: Slow, kinds: Sequence[Excess]) -> float:
    return max(abs(value) for value in _misses(windows_s, fanos, slow, kinds))


def _misses(windows_s: Sequence[float], fanos: Sequence[float], slow: Slow, kinds: Sequence[Excess]) -> list[float]:
    return [expected_fano(w, slow, kinds) / f - 1.0 for w, f in zip(windows_s, fanos, strict=True)]


def _fitted(windows_s: Sequence[float], fanos: Sequence[float], slow: Slow, number: int) -> tuple[Excess, ...]:
    from scipy.optimize import least_squares

    if number == 0:
        return ()
    low, high = np.log(min(windows_s) / 10.0), np.log(max(windows_s) * 10.0)
    total = max(max(fanos) - expected_fano(max(windows_s), slow, ()), 0.1)

    def kinds(x: NDArray[np.float64]) -> tuple[Excess, ...]:
        values = np.exp(x)
        return tuple(Excess(float(values[2 * k]), float(values[2 * k + 1])) for k in range(number))

    def misses(x: NDArray[np.float64]) -> list[float]:
        return _misses(windows_s, fanos, slow, kinds(x))

    best, cost = None, np.inf
    for begin in np.linspace(low, high, 6)[1:-1]:
        spreads = np.clip(begin + 2.0 * np.arange(number), low + 0.01, high - 0.01)
        x = np.column_stack([np.full(number, np.log(total / number)), spreads]).ravel()
        bounds = (np.tile([np.log(1e-4), low], number), np.tile([np.log(1e6), high], number))
        x = np.clip(x, bounds[0] + 1e-6, bounds[1] - 1e-6)
        found = least_squares(misses, x, bounds=bounds)
        if found.cost < cost:
            best, cost = found.x, found.cost
    return () if best is None else tuple(sorted(kinds(best), key=lambda kind: kind.spread_s))
