"""What arrivals follow: the users of a closed loop ask again after their answers, so a slower engine is asked later."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.steps import Steps, change_between
from sim.plane.owner import Table

Floats = NDArray[np.float64]

SAME_S = 2e-9
"""Times closer than this are one: the plane rounds to whole nanoseconds."""


def asked_s(records: Table, frontend_s: float, interval_s: float) -> Floats:
    """Return the engine's time with which each arrival of a closed loop moves [s], shape [r].

    It is the end of the user's answer before; or, where the client was still sending, that of whoever asked first. The
    first requests do not move: -inf.

    Parameters
    ----------
    records : all requests of the play
    frontend_s : host time before the first token [s]: answers reach the client so long after the step that ends them
    interval_s : time that the client needs to send a request [s]
    """
    own_s = np.where(records["turn"] > 0, records["arrived_s"] - interval_s - frontend_s, -np.inf)
    if interval_s == 0.0:
        return own_s
    follows = (records["turn"] == 0) | _among(records["arrived_s"] - interval_s, records["end_s"])
    order = np.argsort(records["arrived_s"], kind="stable")
    first = np.maximum.accumulate(np.where(follows[order], np.arange(len(order)), 0))
    found = np.empty(len(order))
    found[order] = own_s[order][first]
    return found


def with_waits(
    steps: Steps, records: Table, asked: Floats, change_s: Sequence[Floats], host: int | None
) -> list[Floats]:
    """Return how much longer each step becomes, counting in it how much later an idle engine was asked to begin it.

    Parameters
    ----------
    steps : all steps of the play
    records : all requests of the play
    asked : the engine's time with which each arrival moves [s], shape [r]
    change_s : how much longer a unit of each coefficient makes each step, m arrays of shape [s]
    host : which of the coefficients is the host time before the first token, after which clients ask again
    """
    changes = [change.copy() for change in change_s]
    order = np.argsort(records["arrived_s"], kind="stable")
    arrived_s = records["arrived_s"][order]
    for i in 1 + np.flatnonzero(steps.begin_s[1:] - steps.end_s[:-1] > SAME_S):
        k = int(np.searchsorted(arrived_s, steps.begin_s[i] - SAME_S))
        if k == len(arrived_s) or arrived_s[k] > steps.begin_s[i] + SAME_S:
            continue  # it waited for something else than an arrival
        follows_s = asked[order[k]]
        later = -change_between(steps, changes, np.array([follows_s]), steps.end_s[i - 1 : i])[0]
        if host is not None and np.isfinite(follows_s):
            later[host] += 1.0
        for change, extra in zip(changes, later, strict=True):
            change[i] += extra
    return changes


def _among(times_s: Floats, known_s: Floats) -> NDArray[np.bool_]:
    """Return which times are one of the known ones."""
    known = np.concatenate([[-np.inf], np.sort(known_s[np.isfinite(known_s)]), [np.inf]])
    after = np.searchsorted(known, times_s)
    return np.asarray(np.minimum(known[after] - times_s, times_s - known[after - 1]) <= SAME_S)
