"""Fitting a few coefficients to many measurements: robust, with beliefs beforehand, and with whole curves held out.

Everything is in logs: a residual of 0.1 is 10 %. What predicts is a simulator, which is dear to ask; so its linear form
is asked for once a round, and what follows from the fit (folds, covariance) is read off the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.coefficients import Coefficient

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Predict = Callable[[Floats], Floats]
"""From places of coefficients, shape [k, m] in prior standard deviations, to log predictions, shape [k, n]."""
Linearise = Callable[[Floats], tuple[Floats, Floats]]
"""From one place, shape [m], to log predictions, shape [n], and their derivative by the places, shape [n, m]."""

NOISE = 0.08
"""Residual at which an observation begins to lose weight, as a difference of logs; *assumed*, of the size of the errors
that this form reaches."""
DAMPING = (0.0, 0.3, 3.0, 30.0)
"""Levenberg's damping, tried together; the best is taken."""


@dataclass(frozen=True)
class Observations:
    """What was measured."""

    log_measured: Floats
    """Natural logs, shape [n]."""
    weight: Floats
    """Weight of each, 1 for an ordinary one, 0 to leave it out, shape [n]."""
    curve: Ints
    """Number of the curve that each belongs to, shape [n]."""

    def residuals(self, log_predicted: Floats) -> Floats:
        """Return weighted residuals in units of NOISE, of the shape of the predictions; 0 where there is none."""
        residuals = self.weight * (log_predicted - self.log_measured) / NOISE
        return np.nan_to_num(residuals, nan=0.0, posinf=50.0, neginf=-50.0)


@dataclass(frozen=True)
class Fit:
    """Where a fit ended, and its linear form there."""

    coefficients: tuple[Coefficient, ...]
    place: Floats
    """Coefficients in prior standard deviations, shape [m]."""
    log_predicted: Floats
    """Predictions there, shape [n]."""
    slope: Floats
    """Derivative of the log predictions by the places, shape [n, m]."""
    cost: float
    """What was minimised."""

    @property
    def values(self) -> dict[str, float]:
        """The coefficients by path, in their units."""
        return {one.path: one.value(x) for one, x in zip(self.coefficients, self.place, strict=True)}


def cost_of(residuals: Floats, place: Floats) -> Floats:
    r"""Return what is minimised, over the last axis of both.

    Notes
    -----
    .. math:: \sum_i 2\left(\sqrt{1 + r_i^2} - 1\right) + \sum_j x_j^2

    Quadratic for small residuals and linear for large ones ("soft l1"); x are the places against beliefs beforehand.
    """
    losses = 2.0 * (np.sqrt(1.0 + residuals**2) - 1.0)
    return np.asarray(losses.sum(axis=-1) + (place**2).sum(axis=-1))


def fit(
    predict: Predict,
    linearise: Linearise,
    seen: Observations,
    coefficients: Sequence[Coefficient],
    *,
    start: Floats | None = None,
    num_rounds: int = 12,
    tolerance: float = 0.002,
) -> Fit:
    """Find the coefficients that agree best with what was seen and with what is believed beforehand.

    Parameters
    ----------
    predict : log predictions for several sets of coefficients at once
    linearise : log predictions for one set, and their derivative
    seen : the measurements, shape [n]
    coefficients : what may move
    start : places to begin at; default: the medians
    num_rounds : most Gauss-Newton steps
    tolerance : relative gain of the cost below which it ends

    Returns
    -------
    the fit, its derivative taken at the place it ended
    """
    place = np.zeros(len(coefficients)) if start is None else np.array(start, dtype=np.float64)
    for _ in range(num_rounds):
        now = _look(linearise, seen, coefficients, place)
        tried = np.vstack([place + step_of(now, seen, damping) for damping in DAMPING])
        costs = cost_of(seen.residuals(predict(tried)), tried)
        best = int(np.argmin(costs))
        if not costs[best] < now.cost * (1.0 - tolerance):
            return now
        place = tried[best]
    return _look(linearise, seen, coefficients, place)


def _look(linearise: Linearise, seen: Observations, coefficients: Sequence[Coefficient], place: Floats) -> Fit:
    """Return the state of a fit at a place."""
    predicted, slope = linearise(place)
    slope = np.nan_to_num(slope, posinf=0.0, neginf=0.0)
    cost = float(cost_of(seen.residuals(predicted), place))
    return Fit(tuple(coefficients), place, predicted, slope, cost)


def _curvature(now: Fit, seen: Observations, place: Floats) -> tuple[Floats, Floats, Floats]:
    """Return residuals, their derivative, and the weights that make the loss a quadratic form around a place."""
    moved = now.log_predicted + now.slope @ (place - now.place)
    residuals = seen.residuals(moved)
    slope = now.slope * (seen.weight / NOISE)[:, np.newaxis]
    return residuals, slope, 1.0 / np.sqrt(1.0 + residuals**2)


def step_of(now: Fit, seen: Observations, damping: float) -> Floats:
    """Return one Gauss-Newton step from where the fit is, shape [m]."""
    residuals, slope, weights = _curvature(now, seen, now.place)
    curvature = (slope.T * weights) @ slope
    downhill = -(slope.T @ (weights * residuals) + now.place)
    damped = curvature + np.eye(len(now.place)) + damping * np.diag(np.diag(curvature) + 1.0)
    return np.asarray(np.clip(np.linalg.solve(damped, downhill), -2.0, 2.0))


def refit(now: Fit, seen: Observations, num_rounds: int = 30) -> Floats:
    """Return the places that other observations (other weights) lead to, by the linear form of a fit, shape [m]."""
    place = now.place.copy()
    for _ in range(num_rounds):
        residuals, slope, weights = _curvature(now, seen, place)
        curvature = (slope.T * weights) @ slope + np.eye(len(place))
        place = np.asarray(place - np.linalg.solve(curvature, slope.T @ (weights * residuals) + place))
    return place


def place_without(now: Fit, seen: Observations, curves: Ints) -> Floats:
    """Return the places of a fit without some curves, shape [m].

    The fit's own place, moved by what leaving them out moves its linear form: so an error of the form where the fit
    ended moves all folds alike, and counts for nothing.
    """
    return np.asarray(now.place + refit(now, without(seen, curves)) - refit(now, seen))


def without(seen: Observations, curves: Ints) -> Observations:
    """Return the observations with whole curves left out."""
    return Observations(seen.log_measured, np.where(np.isin(seen.curve, curves), 0.0, seen.weight), seen.curve)


def deal(curves: Ints, num_folds: int, seed: int = 3) -> list[Ints]:
    """Deal curves to folds as even as can be, by a fixed shuffle; each curve is in one fold."""
    shuffled = np.random.default_rng(seed).permutation(np.unique(curves))
    num_folds = min(num_folds, len(shuffled))
    return [np.sort(shuffled[i::num_folds]) for i in range(num_folds)]


def covariance(now: Fit, seen: Observations) -> Floats:
    r"""Return the covariance of the logs of the coefficients, shape [m, m].

    Notes
    -----
    .. math:: \frac{G - 1}{G} \sum_g (x_g - \bar x)(x_g - \bar x)^T + H^{-2}

    x_g is where the fit goes without curve g: points of a curve err together, so that it is the G curves that count
    (the jackknife; Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11). H is the curvature of
    what was minimised; the second term is what is left of the beliefs beforehand where the curves say nothing.
    """
    _, slope, weights = _curvature(now, seen, now.place)
    inverse = np.linalg.inv((slope.T * weights) @ slope + np.eye(len(now.place)))
    found = inverse @ inverse
    curves = np.unique(seen.curve[seen.weight > 0])
    if len(curves) > 1:
        left = np.array([refit(now, without(seen, np.array([curve]))) for curve in curves])
        apart = left - left.mean(axis=0)
        found = found + (len(curves) - 1) / len(curves) * apart.T @ apart
    spreads = np.array([one.spread for one in now.coefficients])
    return np.asarray(found * np.outer(spreads, spreads))
