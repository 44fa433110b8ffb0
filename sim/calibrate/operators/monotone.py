"""Monotone: measured curves made non-decreasing before they are fitted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import Floats

SPIKE = 2.0
"""A time so many times both its neighbours along a curve was disturbed."""


def monotone_along(order: Floats, curves: NDArray[np.int64], time_s: Floats) -> Floats:
    """Return times that do not fall along `order` within any curve, as near as can be in the logarithm.

    Parameters
    ----------
    order : what a curve runs along: tokens, bytes or context
    curves : number of the curve that each row belongs to
    time_s : measured times [s]

    Notes
    -----
    A lone time more than `SPIKE` times both its neighbours is a disturbance, not the kernel: it is taken down to the
    larger of them. Then isotonic regression of ln t by pooling adjacent violators (Barlow et al., 1972).
    """
    from scipy.optimize import isotonic_regression

    sequence = np.lexsort((order, curves))
    logs, which = np.log(time_s[sequence]), curves[sequence]
    starts = np.flatnonzero(np.diff(which, prepend=which[0] - 1))
    raised = logs.copy()
    for begin, end in zip(starts, [*starts[1:], len(which)], strict=True):
        part = logs[begin:end].copy()
        beside = np.maximum(part[:-2], part[2:])
        spikes = np.flatnonzero(part[1:-1] > beside + np.log(SPIKE))
        part[spikes + 1] = beside[spikes]
        raised[begin:end] = part
        if np.any(np.diff(part) < 0):
            raised[begin:end] = isotonic_regression(part).x
    result = np.empty_like(time_s)
    result[sequence] = np.exp(raised)
    return result


def curve_numbers(*columns: NDArray[np.generic] | Floats) -> NDArray[np.int64]:
    """Return a number for each distinct combination of the columns' values."""
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        distinct, index = np.unique(column, return_inverse=True)
        number = number * len(distinct) + index
    return number
