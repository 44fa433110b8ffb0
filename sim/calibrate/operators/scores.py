"""Scores: how far predictions are from measurements, and what they are held against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import Floats
from sim.spec.evidence import FitError

SEED: Final = 20
"""Seed of the shapes that are held out."""
HELD_FRAC: Final = 0.2
"""Share of the shapes that are held out."""
TARGETS: Final = {
    "gemm": (0.05, 0.15),
    "prefill attention": (0.06, 0.18),
    "decode attention": (0.06, 0.18),
    "all-reduce": (0.08, 0.25),
}
"""Median and 90th percentile that the error of held-out rows is to stay within; other operators have no target."""


@dataclass(frozen=True)
class Score:
    """Errors of one operator of a family on a GPU in one precision."""

    gpu: str
    family: str
    version: str
    operator: str
    precision: str
    held_out: FitError
    """On rows whose whole shape was left out of the fit."""
    fitted: FitError
    """On the rows of the fit."""
    capped: FitError | None = None
    """Held-out error after ceilings were applied that rows of friendly data or a warm cache exceed."""
    monotone: FitError | None = None
    """How far the measurements were moved to be monotone."""
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the held-out error is within the target; None without a target."""
        target = TARGETS.get(self.operator)
        if target is None:
            return None
        return self.held_out.median_frac <= target[0] and self.held_out.p90_frac <= target[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain data."""
        errors = {
            name: None if error is None else error.model_dump(mode="json", exclude_defaults=True)
            for name, error in (
                ("held_out", self.held_out),
                ("fitted", self.fitted),
                ("capped", self.capped),
                ("monotone", self.monotone),
            )
        }
        keys = ("gpu", "family", "version", "operator", "precision", "note")
        return {key: getattr(self, key) for key in keys} | errors | {"target_reached": self.reached}


def error_of(predicted_s: Floats, measured_s: Floats, note: str = "") -> FitError:
    """Return the error of predictions."""
    off = np.abs(predicted_s / measured_s - 1.0)
    return FitError(
        median_frac=round(float(np.median(off)), 4),
        p90_frac=round(float(np.quantile(off, 0.9)), 4),
        num_points=len(off),
        note=note,
    )


def held_out_curves(curves: NDArray[np.int64], frac: float = HELD_FRAC) -> NDArray[np.bool_]:
    """Return which rows belong to the shapes that are held out: a drawn share of the curves, the same every time."""
    distinct = np.unique(curves)
    number = max(1, round(frac * len(distinct)))
    chosen = np.random.default_rng(SEED).permutation(distinct)[:number]
    return np.isin(curves, chosen)
