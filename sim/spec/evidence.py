"""Evidence: what a fit of an engine rests on, how far it may be off, and how it fared on what it had not seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from sim.spec.base import NonNegativeInt, NonNegativeNumber, Spec, Text

Grade = Literal["good", "fair", "thin", "extrapolated"]
"""How much a calibration can be trusted at a glance (see `Evidence.grade`)."""
GOOD = (10, 0.08, 0.25)
"""Curves, and held-out error of the time per token (median, 90th percentile), from which a fit is good. *Assumed*: our
own bar."""
FAIR = (5, 0.15, 0.4)
"""The same for fair; what has less is thin."""


class FitError(Spec):
    """How far a fit is from the measurements: |predicted / measured - 1|."""

    median_frac: NonNegativeNumber
    """Median absolute relative error [1]."""
    p90_frac: NonNegativeNumber
    """90th percentile of the absolute relative error [1]."""
    bias_frac: float | None = None
    """Median signed relative error [1]; None: not stated."""
    num_points: NonNegativeInt = 0
    """Measurements compared; 0: not stated."""
    note: Text = ""
    """What was compared with what."""


class Fold(Spec):
    """Curves that were held out together, and the coefficients that the others gave."""

    curves: tuple[Text, ...]
    """Their names (`group_id` of the table of measurements)."""
    coefficients: dict[Text, NonNegativeNumber]
    """Coefficients fitted without them, by path in EngineSpec, in their units."""
    settings: dict[Text, NonNegativeNumber] = Field(default_factory=dict)
    """Settings that the source does not state, as chosen without them."""


class Evidence(Spec):
    """What a fit rests on: measurements, held-out errors, covariance."""

    num_curves: NonNegativeInt
    """Curves fitted: a curve has one model, GPU, parallelism, precision and shape of requests."""
    num_points: NonNegativeInt
    """Points fitted: a point is one load on a curve."""
    held_out: dict[Text, FitError] = Field(default_factory=dict)
    """Errors on curves that were held out, by metric."""
    regimes: dict[Text, FitError] = Field(default_factory=dict)
    """Errors of the fit by regime, such as "tpot, 1 to 4 users"."""
    curve_sd: dict[Text, NonNegativeNumber] = Field(default_factory=dict)
    """Standard deviation of a held-out curve's mean log error, by metric: what the form does not explain."""
    names: tuple[Text, ...] = ()
    """Coefficients that were fitted, by path in EngineSpec."""
    log_covariance: tuple[tuple[float, ...], ...] = ()
    """Covariance of their natural logs, lower triangle row by row."""
    folds: tuple[Fold, ...] = ()
    """The parts in which whole curves were held out."""

    @property
    def grade(self) -> Grade:
        """good or fair by number of curves and held-out error of the time per token, else thin."""
        error = self.held_out.get("tpot")
        if error is not None:
            found = (self.num_curves, error.median_frac, error.p90_frac)
            if meets(found, GOOD):
                return "good"
            if meets(found, FAIR):
                return "fair"
        return "thin"

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a covariance that does not fit its names."""
        if [len(row) for row in self.log_covariance] != list(range(1, len(self.log_covariance) + 1)):
            yield "log_covariance", "must be a lower triangle: one number, then two, ..."
        elif len(self.log_covariance) not in (0, len(self.names)):
            yield "log_covariance", f"must have a row for each of the {len(self.names)} names"


def meets(found: tuple[int, float, float], bar: tuple[int, float, float]) -> bool:
    """Whether there are as many curves as a grade wants, and errors as small."""
    return found[0] >= bar[0] and found[1] <= bar[1] and found[2] <= bar[2]
