"""An engine's coefficients drawn again and again, as far off as its fit says they may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.spec.engine import EngineSpec
from sim.spec.evidence import Evidence

Floats = NDArray[np.float64]


def ensemble(engine: EngineSpec, size: int, seed: int) -> tuple[EngineSpec, ...]:
    r"""Draw engines whose coefficients are as likely as the fitted ones; compile each to see how an answer moves.

    Parameters
    ----------
    engine
        The fitted engine; its coefficients are the medians of the draws.
    size
        Number of draws.
    seed
        The same seed gives the same draws; a larger ensemble begins with those of a smaller one.

    Returns
    -------
    the draws; copies of the engine where its covariance is not known (`EngineSpec.has_covariance`)

    Notes
    -----
    .. math:: \ln c = \ln \hat c + Q \sqrt{\max(\Lambda, 0)}\, z, \qquad \Sigma = Q \Lambda Q^T, \quad z \sim N(0, 1)

    with the covariance of the logs from the engine's evidence. Draws keep the sign of a coefficient, and one that is 0
    stays 0. A covariance that was rounded may have slightly negative eigenvalues: they count as 0.
    """
    if engine.evidence is None or not engine.has_covariance:
        return (engine,) * size
    names = engine.evidence.names
    values, root = np.array([engine.value_of(name) for name in names]), _root(engine.evidence)
    draws = np.random.default_rng(seed).standard_normal((size, len(names)))
    drawn = values * np.exp(draws @ root.T)
    return tuple(engine.with_values(dict(zip(names, row.tolist(), strict=True))) for row in drawn)


def log_covariance(evidence: Evidence) -> Floats:
    """Return the covariance of the natural logs of the coefficients in full, shape [m, m]."""
    found = np.zeros((len(evidence.names), len(evidence.names)))
    for number, row in enumerate(evidence.log_covariance):
        found[number, : number + 1] = found[: number + 1, number] = row
    return found


def _root(evidence: Evidence) -> Floats:
    """Return a square root of the covariance, shape [m, m]."""
    eigenvalues, vectors = np.linalg.eigh(log_covariance(evidence))
    return np.asarray(vectors * np.sqrt(np.maximum(eigenvalues, 0.0)))
