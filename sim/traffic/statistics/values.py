"""Quantiles, mean and deviation of a stream of values, in bounded memory: exact as long as there are few."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT_ROWS = 1 << 20
"""So many values are kept as they are; more are counted in bins."""
BITS = 11
ERROR_FRAC = 2.0 ** -(BITS + 1)
"""Largest relative error of a quantile of binned values: half a bin of 2**11 an octave."""
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_SHIFT = np.uint64(52 - BITS)
_LOWEST = (1023 - 31) << BITS  # of the bins, 2**-31; below there is 0
_NUM = 64 << BITS  # as far as 2**33


class Values:
    """Values from 0 on that come in parts.

    Quantiles are interpolated between the two nearest of the values in order, as by `numpy.quantile`. Of more than
    EXACT_ROWS values they come from bins of 2**11 an octave, each value taken for the middle of its bin: within a
    relative 2**-12, and exact for whole numbers below 4,096. Mean and deviation are of the values themselves.

    Parameters
    ----------
    whole
        The values are whole numbers.
    exact_rows
        So many are kept as they are.
    """

    def __init__(self, *, whole: bool = False, exact_rows: int = EXACT_ROWS) -> None:
        self.num = 0
        self.mean = 0.0
        self.min, self.max = np.inf, -np.inf
        self._squares = 0.0  # sum of squared distances from the mean
        self._whole, self._room = whole, exact_rows
        self._parts: list[NDArray[np.float64]] = []
        self._counts: NDArray[np.int64] | None = None

    def add(self, values: NDArray[Any]) -> None:
        """Take some more values."""
        if not len(values):
            return
        part = values.astype(np.float64)
        # Moments of two samples together: Chan, Golub and LeVeque (1979).
        num, mean = self.num + len(part), float(part.mean())
        away = mean - self.mean
        self._squares += float(((part - mean) ** 2).sum()) + away * away * self.num * len(part) / num
        self.mean += away * len(part) / num
        self.num = num
        self.min, self.max = min(self.min, float(part.min())), max(self.max, float(part.max()))
        if self._counts is None and num <= self._room:
            self._parts.append(part)
            return
        if self._counts is None:
            self._counts = np.zeros(_NUM, dtype=np.int64)
            for kept in self._parts:
                self._counts += _binned(kept)
            self._parts = []
        self._counts += _binned(part)

    @property
    def deviation(self) -> float:
        """Standard deviation of the values themselves: divided by their number."""
        return float(np.sqrt(self._squares / self.num)) if self.num else 0.0

    @property
    def is_exact(self) -> bool:
        """Whether quantiles are those of the values themselves."""
        return self._counts is None

    def quantiles(self, shares: Sequence[float]) -> NDArray[np.float64]:
        """Values at shares from 0 to 1; there must be at least one value."""
        if self._counts is None:
            return np.asarray(np.quantile(np.concatenate(self._parts), shares))
        at = np.asarray(shares) * (self.num - 1)
        below = np.floor(at)
        ends = np.cumsum(self._counts)
        low, high = (
            self._middle(np.searchsorted(ends, np.minimum(below + more, self.num - 1), side="right")) for more in (0, 1)
        )
        return np.asarray(np.clip(low + (at - below) * (high - low), self.min, self.max))

    def _middle(self, bins: NDArray[np.int64]) -> NDArray[np.float64]:
        """The values that bins stand for: the middle of those that may be in each."""
        low = ((bins + _LOWEST).astype(np.uint64) << _SHIFT).view(np.float64)
        width = 2.0 ** (np.floor(np.log2(low)) - BITS)
        middle = low + 0.5 * (np.maximum(width - 1.0, 0.0) if self._whole else width)
        return np.where(bins == 0, 0.0, middle)

    def described(self, unit: str) -> dict[str, Any] | None:
        """Number, mean, deviation, extremes and quantiles, named with a unit; None of no values."""
        if not self.num:
            return None
        found: dict[str, Any] = {"num": self.num, f"mean_{unit}": self.mean, f"std_{unit}": self.deviation}
        found |= {f"min_{unit}": self.min, f"max_{unit}": self.max}
        for share, value in zip(QUANTILES, self.quantiles(QUANTILES).tolist(), strict=True):
            found[f"p{100 * share:g}_{unit}"] = value
        return found | {"quantile_error_frac": 0.0 if self.is_exact else ERROR_FRAC}


def _binned(values: NDArray[np.float64]) -> NDArray[np.int64]:
    at = (np.maximum(values, 0.0).view(np.uint64) >> _SHIFT).astype(np.int64) - _LOWEST
    return np.bincount(np.clip(at, 0, _NUM - 1), minlength=_NUM)
