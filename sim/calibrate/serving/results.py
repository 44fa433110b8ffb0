"""Each row of a table with what was predicted of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sim.calibrate.serving.beds import distrusted
from sim.calibrate.serving.play import Outcome
from sim.calibrate.serving.rows import Point, Table
from sim.spec.bed import Beds

QUANTITIES = {"ttft": "ttft", "tpot": "tpot", "itl": "tpot", "e2e": "e2e"}
"""Quantity by the first word of a metric; times per token are one, whatever a source calls them."""
TAILS = ("p90", "p95", "p99")


@dataclass(frozen=True)
class Result:
    """A row and its prediction."""

    row: int
    """Index in the table."""
    point: int
    """Index of its point."""
    gpu: str
    metric: str
    tier: str
    bed: str
    is_moe: bool
    measured: float
    predicted: float
    """NaN where the row is not covered."""
    held_out: float
    """Prediction of coefficients that never saw the row's curve; NaN where there are none."""
    saturated: bool
    distrust: str
    """Why the row is scored apart; nothing where it is not."""
    reason: str
    """Why the row is not covered, or what stands in for what."""
    engine: str

    @property
    def covered(self) -> bool:
        """Whether something was predicted."""
        return math.isfinite(self.predicted)

    @property
    def error_frac(self) -> float:
        """predicted / measured - 1."""
        return self.predicted / self.measured - 1.0

    @property
    def held_out_error_frac(self) -> float:
        """The same of the prediction held out."""
        return self.held_out / self.measured - 1.0

    @property
    def quantity(self) -> str:
        """What is measured: ttft, tpot, e2e, throughput, power, energy, memory or another."""
        return quantity_of(self.metric)

    @property
    def is_tail(self) -> bool:
        """Whether it is a percentile from the 90th on."""
        return any(tail in self.metric for tail in TAILS)

    @property
    def queues(self) -> bool:
        """Whether it is a time to the first token (or a whole time) of a saturated point: it says how long it ran."""
        return self.saturated and self.quantity in ("ttft", "e2e")


def quantity_of(metric: str) -> str:
    """Return what a metric measures."""
    first = metric.split("_", maxsplit=1)[0]
    if first in QUANTITIES:
        return QUANTITIES[first]
    words = ("throughput", "power", "energy", "memory")
    return next((word for word in words if word in metric), metric)


def results_of(table: Table, points: Sequence[Point], outcomes: Sequence[Outcome], beds: Beds) -> Iterator[Result]:
    """Yield the rows of all points with what was predicted of them."""
    rules = {bed.name: bed.distrust for bed in beds.beds}
    for number, (point, outcome) in enumerate(zip(points, outcomes, strict=True)):
        for row in point.rows:
            metric = table.rows[row]["metric"]
            reason = outcome.reason
            if outcome.covered and metric not in outcome.predicted:
                reason = f"metric {metric} is not one that a run gives"
            yield Result(
                row=row,
                point=number,
                gpu=point.gpu,
                metric=metric,
                tier=point.tier,
                bed=outcome.bed,
                is_moe=outcome.is_moe,
                measured=table.values[row],
                predicted=outcome.predicted.get(metric, math.nan),
                held_out=outcome.held_out.get(metric, math.nan),
                saturated=outcome.saturated,
                distrust=distrusted(point, metric, rules.get(outcome.bed, ())),
                reason=reason,
                engine=outcome.engine,
            )
