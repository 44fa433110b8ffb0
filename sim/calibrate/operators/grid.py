"""Grid: fits a table of residuals to scattered log-ratios, smooth where nothing was measured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from sim.cost.residual import Residual
from sim.cost.step_times import Floats

FIRST = 0.1
"""Weight of first differences beside second ones: where nothing was measured a table goes on straight, then flat."""
RIDGE = 1e-9
"""Keeps the equations solvable where an axis has no smoothness."""


def fit_residual(
    axes: Sequence[Floats], coordinates: Sequence[Floats], log_ratios: Floats, smoothness: Sequence[float]
) -> Residual:
    r"""Fit a residual on a grid by penalised least squares.

    Parameters
    ----------
    axes : nodes of each axis
    coordinates : one array for each axis, of one shape
    log_ratios : ln(measured / form) at the points
    smoothness : weight of each axis's differences; small values follow the measurements, and fill what lies between

    Notes
    -----
    .. math:: \min_R \|W R - y\|^2 + \sum_i \lambda_i^2 \left(\|D_2^{(i)} R\|^2 + f^2 \|D_1^{(i)} R\|^2\right)

    W holds the multilinear weights, D the divided differences along axis i.
    """
    import scipy.sparse as sp
    from scipy.sparse.linalg import spsolve

    weights = _weights(axes, coordinates)
    equations = weights.T @ weights + RIDGE * sp.identity(weights.shape[1])
    shape = [len(nodes) for nodes in axes]
    for i, (nodes, weight) in enumerate(zip(axes, smoothness, strict=True)):
        if len(nodes) > 1:
            parts = [_differences(nodes) if j == i else sp.identity(size) for j, size in enumerate(shape)]
            penalty = weight * reduce(sp.kron, parts)
            equations = equations + penalty.T @ penalty
    solution = spsolve(equations.tocsc(), weights.T @ log_ratios)
    return Residual(tuple(np.asarray(nodes, dtype=np.float64) for nodes in axes), solution.reshape(shape))


def _weights(axes: Sequence[Floats], coordinates: Sequence[Floats]) -> Any:
    """Return the matrix of multilinear weights: points x cells of the grid."""
    import scipy.sparse as sp

    number = len(coordinates[0])
    cells, shares = np.zeros((1, number), dtype=np.intp), np.ones((1, number))
    for nodes, at in zip(axes, coordinates, strict=True):
        if len(nodes) == 1:
            continue
        low = np.clip(np.searchsorted(nodes, at, side="right") - 1, 0, len(nodes) - 2)
        share = np.clip((at - nodes[low]) / (nodes[low + 1] - nodes[low]), 0.0, 1.0)
        cells = np.concatenate([cells * len(nodes) + low, cells * len(nodes) + low + 1])
        shares = np.concatenate([shares * (1.0 - share), shares * share])
    points = np.tile(np.arange(number), len(cells))
    size = int(np.prod([len(nodes) for nodes in axes]))
    return sp.csr_matrix((shares.ravel(), (points, cells.ravel())), shape=(number, size))


def _differences(nodes: Floats) -> Any:
    """Return second differences (weighted for uneven nodes) and `FIRST` times first differences."""
    import scipy.sparse as sp

    gaps = np.diff(nodes)
    both = gaps[:-1] + gaps[1:]
    number = len(nodes)
    bands: Any = [-gaps[1:] / both, np.ones(number - 2), -gaps[:-1] / both]
    ends: Any = [-np.ones(number - 1), np.ones(number - 1)]
    second: Any = sp.diags(bands, [0, 1, 2], shape=(number - 2, number))
    first: Any = FIRST * sp.diags(ends, [0, 1], shape=(number - 1, number))
    return sp.vstack([second, first])


def log2_nodes(values: Floats) -> Floats:
    """Return the distinct values as nodes in log2."""
    return np.log2(np.unique(values).astype(np.float64))
