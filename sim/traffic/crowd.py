"""Flash crowds: people of the population who come on top of the usual traffic, for a while."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DECAYS = 10.0  # the crowd is over after so many times its decay time, when 5e-5 of its height is left


@dataclass(frozen=True)
class Crowd:
    """The extra rate of conversation starts over time, relative to the usual one.

    It rises on a straight line and decays exponentially: both *assumed*, as the simplest shape with a time for each.
    """

    at_s: float
    peak_factor: float
    rise_s: float
    decay_s: float

    @property
    def end_s(self) -> float:
        """When it is over [s]."""
        return self.at_s + self.rise_s + DECAYS * self.decay_s

    def height(self, t_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The extra rate at times [s]."""
        since_s = t_s - self.at_s
        rising = since_s / max(self.rise_s, 1e-300)
        falling = np.exp(-np.maximum(since_s - self.rise_s, 0.0) / self.decay_s)
        shape = np.where(since_s < self.rise_s, np.clip(rising, 0.0, 1.0), falling)
        return np.where((since_s >= 0.0) & (t_s < self.end_s), (self.peak_factor - 1.0) * shape, 0.0)
