"""Forms: least squares for the named coefficients of a form, in logarithms and within their bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import Floats
from sim.spec.kernels import Fitted

MAX_ROWS = 4000
"""Rows that coefficients are fitted to; of more, a drawn sample: the table takes what a form of five numbers leaves."""
ROBUST = 0.1
"""Relative error beyond which a row counts less (soft L1)."""
Chosen: TypeAlias = NDArray[Any]
"""Which rows: their indices, or whether each is one."""
F = TypeVar("F", bound=Fitted)


def fit_form(
    start: F, bounds: Mapping[str, tuple[float, float]], form: Callable[[F, Chosen], Floats], time_s: Floats
) -> F:
    """Return `start` with the coefficients named in `bounds` fitted to measured times.

    Parameters
    ----------
    start : fit with the first guess
    bounds : smallest and largest value of each coefficient, both above 0
    form : time by a fit of the rows with such indices [s]
    time_s : measured times [s]
    """
    from scipy.optimize import least_squares

    chosen = np.arange(len(time_s))
    if len(chosen) > MAX_ROWS:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, MAX_ROWS, replace=False))
    names = list(bounds)
    low, high = (np.log([bounds[name][i] for name in names]) for i in (0, 1))
    logs = np.log(time_s[chosen])

    def fit_of(parameters: Floats) -> F:
        return start.model_copy(update=dict(zip(names, np.exp(parameters).tolist(), strict=True)))

    def errors(parameters: Floats) -> Floats:
        return np.asarray(np.log(form(fit_of(parameters), chosen)) - logs)

    guess = np.clip(np.log([getattr(start, name) for name in names]), low + 1e-6, high - 1e-6)
    found = least_squares(errors, guess, bounds=(low, high), loss="soft_l1", f_scale=ROBUST, max_nfev=60)
    values = {name: float(f"{value:.4g}") for name, value in zip(names, np.exp(found.x), strict=True)}
    return start.model_copy(update={name: min(max(v, bounds[name][0]), bounds[name][1]) for name, v in values.items()})
