"""Which requests are judged by their SLO, and which kept all of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.metrics.collector import LATENCY_COLUMNS, METRICS, MISSES, SLO_PARTS, latencies
from sim.metrics.groups import Groups
from sim.metrics.records import COMPLETED


def judged_and_met(rows: NDArray[np.void], groups: Groups) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether each request (dtype DONE) is judged, and whether it kept every part of its SLO.

    Judged are completed requests and misses (shed, timed out, abandoned, failed) of tiers with an SLO.
    """
    has_slo = np.array([tier.has_slo for tier in groups.tiers], dtype=np.bool_)
    given = has_slo[groups.tier_of_class][rows["class_id"]]
    met = given & (rows["ending"] == COMPLETED)
    judged = met | (given & np.isin(rows["ending"], MISSES))
    values = latencies({name: rows[name] for name in LATENCY_COLUMNS})
    for part in SLO_PARTS:
        met &= values[METRICS.index(part)] <= groups.limits(f"{part}_s")[rows["class_id"]]
    return judged, met
