"""What is fitted to serving measurements: an engine's coefficients, each with what is believed of it beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Coefficient:
    """A positive coefficient of an engine; what is believed of it beforehand is log-normal."""

    path: str
    """Field of EngineSpec; an entry of a table with a dot, such as gemm_scale.bf16."""
    prior: float
    """Median beforehand, in the field's unit."""
    spread: float
    """Standard deviation of the natural log beforehand [1]."""
    most: float = np.inf
    """Largest value that is physical, in the field's unit."""
    least: float = 0.0
    """Smallest value that is physical, in the field's unit."""

    def value(self, x: float) -> float:
        """Return the coefficient at `x` prior standard deviations from its median, kept to what is physical."""
        return float(min(max(self.prior * np.exp(self.spread * x), self.least), self.most))

    def slope(self, x: float) -> float:
        """Return the derivative of the coefficient by its place; 0 where it is kept to what is physical."""
        value = float(self.prior * np.exp(self.spread * x))
        return value * self.spread if self.least <= value <= self.most else 0.0

    def place(self, value: float) -> float:
        """Return the place of a value, in prior standard deviations from the median."""
        return float(np.log(value / self.prior) / self.spread)


def values_at(coefficients: Sequence[Coefficient], x: Floats) -> dict[str, float]:
    """Return the values by path of a point of the fit, x of shape [number of coefficients]."""
    return {one.path: one.value(place) for one, place in zip(coefficients, x, strict=True)}
