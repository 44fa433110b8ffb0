"""What is drawn from a quantile table: its mean, variance, quantiles and distribution function, exactly.

A table draws values that are uniform within each of its 1024 equally likely cells (`lengths.lookup`), or those values
rounded to whole numbers from 1 on (`lengths.tokens`). So everything about the draws follows cell by cell.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.spec.distribution import MAX_TOKENS
from sim.traffic.lengths import CELLS, Table, lookup, table_mean, token_means, tokens


@dataclass(frozen=True, eq=False)
class Drawn:
    """The distribution of draws from a quantile table.

    Parameters
    ----------
    table : shape (1025,)
        Non-decreasing.
    whole
        Drawn by `tokens`; else by `lookup`.
    """

    table: Table
    whole: bool

    @cached_property
    def mean(self) -> float:
        """Expected value."""
        return table_mean(self.table, whole=self.whole)

    @cached_property
    def variance(self) -> float:
        """Expected squared distance from the mean: within cells, and of the cells' means."""
        means, variances = self._cells
        return float(np.mean(variances + np.square(means - self.mean)))

    @property
    def standard_deviation(self) -> float:
        """Square root of the variance."""
        return float(np.sqrt(self.variance))

    def quantile(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smallest value that at least a share p of the draws does not exceed, p in (0, 1)."""
        drawn = tokens(self.table, p) if self.whole else lookup(self.table, p)
        return np.asarray(drawn, dtype=np.float64)

    def cdf(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share of draws that are at most x."""
        x = np.asarray(x, dtype=np.float64)
        if self.whole:
            # A draw is at most n (from 1 on) where the value before rounding is below n + 1/2.
            share = np.where(x < 1.0, 0.0, self._below(np.floor(x) + 0.5, "left"))
            return np.where(x >= MAX_TOKENS, 1.0, share)
        return self._below(x, "right")

    def _below(self, x: NDArray[np.float64], side: str) -> NDArray[np.float64]:
        """Share of u whose value lies below x; of values equal to x all for side "right", none for "left"."""
        i = np.searchsorted(self.table, x, side="right" if side == "right" else "left")
        low, high = self.table[np.clip(i - 1, 0, CELLS)], self.table[np.clip(i, 0, CELLS)]
        inside = np.divide(x - low, high - low, out=np.zeros(x.shape), where=high > low)
        return np.asarray(np.clip(i - 1 + inside, 0.0, CELLS) / CELLS)

    @cached_property
    def _cells(self) -> tuple[Table, Table]:
        """Mean and variance within each cell, shape (1024,) each."""
        a, b = self.table[:-1], self.table[1:]
        if not self.whole:
            return 0.5 * (a + b), np.square(b - a) / 12.0
        # Measured from the cell's first whole number, so that nothing large cancels.
        base = np.floor(a + 0.5)
        a, b = a - base, b - base
        width = np.where(b > a, b - a, 1.0)
        many = b >= 0.5
        first = token_means(self.table) - base
        second = np.where(many, (_square_integral(b) - _square_integral(a)) / width, 0.0)
        # What rounds to 0 is drawn as 1.
        lifted = np.where(base == 0.0, np.where(many, np.maximum(0.5 - a, 0.0) / width, 1.0), 0.0)
        return base + first, second + lifted - np.square(first)


def _square_integral(x: Table) -> Table:
    """The integral of floor(v + 1/2)**2 from -1/2 to x, for x >= -1/2."""
    n = np.floor(x + 0.5)
    return np.asarray(n * (n - 1.0) * (2.0 * n - 1.0) / 6.0 + n**2 * (x + 0.5 - n))
