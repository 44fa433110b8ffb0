"""A failure should choose an owner: which layer a drift belongs to, and what to look at first.

A change upstream explains what it causes downstream. So of the quantities that only one layer can change, the one that
has moved farthest, in standard deviations, names the layer; where none of them has moved, it is the serving itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.drift.quantities import Chart


@dataclass(frozen=True)
class Owner:
    """A layer of the product, and where its people look first."""

    layer: str
    first_look: str


OWNERS = {
    "pace": Owner("hardware", "drain that replica; read its clocks, temperatures, ECC counters and links"),
    "prompt": Owner("product", "what clients put into prompts since the last release: compare first turns"),
    "hits": Owner("prompt template", "diff the system prompt (a date, an id at its top?), then router and cache"),
    "refusals": Owner("safety", "the classifier's version and threshold; read a sample of what it blocked"),
    "output": Owner("model", "the last model or decoding release: rerun its evaluation gate, roll back if it fails"),
    "volume": Owner("traffic", "arrivals by region, tier and client, against the forecast"),
    "language": Owner("traffic", "arrivals by region, tier and client, against the forecast"),
    "class": Owner("traffic", "arrivals by region, tier and client, against the forecast"),
}  # fmt: skip
"""Owner of each quantity that lies upstream; after the failure router of a course on the lifecycle of language models,
which sends late first tokens to serving, changed behaviour to the release gate, and context to its own layer first."""
SERVING = Owner("serving", "profile queueing and KV-cache pressure; then what was deployed or scaled last")
"""Owner of what nothing upstream explains: late tokens, queues, failures, cost."""
MOVED = 4.0
"""Standard errors by which a quantity upstream must have moved to explain anything; *assumed*: among 40 series, chance
does so in one of 400 cases."""


@dataclass(frozen=True)
class Diagnosis:
    """Who should look, and where."""

    owner: Owner
    because: str
    """The chart that says so; of serving, the one that moved most."""
    moved: float
    """By how many standard errors."""


def diagnose(charts: Sequence[Chart], standardised: NDArray[np.float64]) -> Diagnosis:
    """Who owns a drift, from the standardised differences since it seems to have begun, shape [time, series]."""
    moved = standardised.sum(axis=0) / math.sqrt(len(standardised))
    upstream = np.array([chart.quantity in OWNERS for chart in charts])
    size = np.abs(moved)
    first = int(np.argmax(np.where(upstream, size, -1.0)))
    if size[first] >= MOVED:
        return Diagnosis(OWNERS[charts[first].quantity], str(charts[first]), float(moved[first]))
    worst = int(np.argmax(np.where(upstream, -1.0, size)))
    return Diagnosis(SERVING, str(charts[worst]), float(moved[worst]))
