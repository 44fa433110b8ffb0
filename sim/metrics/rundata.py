"""All that is known of a finished run, as reports read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class RunData:
    """A finished run without its requests."""

    result: Mapping[str, Any]
    """What `sim.metrics.summary.summarise` returns."""
    info: Mapping[str, Any]
    """What depends on the machine or the moment: clock, wall_s, host, date ..."""
    histograms: Mapping[str, Mapping[str, NDArray[np.int64]]]
    """tier -> metric (`METRICS` and itl) -> int64 [NUM_BINS]."""
    timeline: NDArray[np.void]
    """`INTERVAL` rows."""
    tiers: tuple[str, ...]
    """Tier names, in the scenario's order."""
    assumptions: Sequence[Mapping[str, Any]]
    """Inputs with their sources: dictionaries with name, value, unit, source."""
    scenario_yaml: str
    """The scenario with every default written out."""

    @property
    def pools(self) -> tuple[str, ...]:
        """Name of each pool index."""
        return tuple(self.result["sim"]["by_pool"])
