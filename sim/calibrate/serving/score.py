"""How far predictions are from measurements: by GPU, metric and tier, by bed, held out or not; what noise allows."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from sim.calibrate.serving.results import Result, quantity_of
from sim.calibrate.serving.rows import Point

GATED = ("tpot", "throughput", "ttft")
"""Quantities that beds are compared by."""
_RUN = re.compile(r"\b(?:csv row|row|line|exp|id=|stage) ?[\w.=-]+")
"""What in the notes names a run, not a setting."""


@dataclass(frozen=True)
class Score:
    """Errors of some rows."""

    num_rows: int
    median_ape_frac: float
    """Median of |predicted / measured - 1|."""
    p90_ape_frac: float
    """90th percentile of the same."""
    median_signed_frac: float
    """Median of predicted / measured - 1."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return dict(vars(self))


def score(errors: Iterable[float]) -> Score | None:
    """Return the score of relative errors (NaN ones left out); None where there are none."""
    found = np.array([error for error in errors if math.isfinite(error)])
    if len(found) == 0:
        return None
    size = np.abs(found)
    return Score(len(found), float(np.median(size)), float(np.percentile(size, 90)), float(np.median(found)))


def grouped(
    results: Iterable[Result], names: Sequence[str], key: Callable[[Result], tuple[str, ...]]
) -> list[dict[str, Any]]:
    """Return the score of each group of covered rows under the names of its key, and its held-out score beside it."""
    groups: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        if result.covered:
            groups.setdefault(key(result), []).append(result)
    rows = []
    for group, members in sorted(groups.items()):
        fitted = score(member.error_frac for member in members)
        held_out = score(member.held_out_error_frac for member in members)
        if fitted is not None:
            row: dict[str, Any] = dict(zip(names, group, strict=True)) | fitted.to_dict()
            row["num_points"] = len({member.point for member in members})
            rows.append(row | {"cv": held_out.to_dict() if held_out else None})
    return rows


def trusted(results: Iterable[Result]) -> list[Result]:
    """Return the rows that are scored: covered, not distrusted, and no queueing time of a saturated point."""
    return [result for result in results if result.covered and not result.distrust and not result.queues]


def by_metric(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return scores by GPU, metric and tier."""
    return grouped(results, ("gpu", "metric", "tier"), lambda one: (one.gpu, one.metric, one.tier))


def by_bed(results: Iterable[Result]) -> list[dict[str, Any]]:
    """Return scores by bed, GPU, kind of model and quantity; percentiles from the 90th on apart."""
    return grouped(
        results,
        ("tier", "bed", "gpu", "architecture", "quantity", "part"),
        lambda one: (
            one.tier,
            one.bed,
            one.gpu,
            "moe" if one.is_moe else "dense",
            one.quantity,
            "p90 to p99" if one.is_tail else "mean, p50",
        ),
    )


def over_beds(beds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return medians over the beds of tier A, all of one weight: of median, 90th percentile and signed median error."""
    found = []
    for model in ("dense", "moe"):
        for quantity in GATED:
            rows = [
                row
                for row in beds
                if (row["tier"], row["architecture"], row["quantity"], row["part"])
                == ("A", model, quantity, "mean, p50")
            ]
            for part in ("fitted", "cv"):
                scores = [row if part == "fitted" else row["cv"] for row in rows]
                scores = [one for one in scores if one]
                if scores:
                    names = ("median_ape_frac", "p90_ape_frac", "median_signed_frac")
                    medians = {name: float(np.median([one[name] for one in scores])) for name in names}
                    found.append(
                        {"architecture": model, "quantity": quantity, "part": part, "num_beds": len(scores)} | medians
                    )
    return found


def noise(points: Sequence[Point], bed_of: Sequence[str]) -> list[dict[str, Any]]:
    """Return how far repeated measurements of one condition are from each other, by bed and quantity.

    Every pair of repeats gives one |a / b - 1|, the smaller value below.
    """
    repeats: dict[tuple[str, ...], list[int]] = {}
    for number, point in enumerate(points):
        repeats.setdefault((*point.condition, _RUN.sub("", point.notes)), []).append(number)
    found: dict[tuple[str, str], list[float]] = {}
    for numbers in repeats.values():
        for first, second in combinations(numbers, 2):
            one, other = points[first].measured, points[second].measured
            for metric in one.keys() & other.keys():
                low, high = sorted((one[metric], other[metric]))
                found.setdefault((bed_of[first], quantity_of(metric)), []).append(high / low - 1.0)
    return [
        {
            "bed": bed,
            "quantity": quantity,
            "num_pairs": len(differences),
            "median_frac": float(np.median(differences)),
            "p90_frac": float(np.percentile(differences, 90)),
        }
        for (bed, quantity), differences in sorted(found.items())
    ]
