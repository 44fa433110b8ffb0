"""What a load generator would read off a played point, and how each reading moves with the engine's coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.basis import Basis
from sim.calibrate.serving.steps import Steps, change_between
from sim.plane.owner import Table

Floats = NDArray[np.float64]

NEIGHBOURS = 0.05
"""Share of the requests around a percentile over which its derivative is averaged; *assumed*, a smoothing."""


@dataclass(frozen=True)
class Spans:
    """The quantity of each request that a metric sums up: a span of time over a number of tokens. Shape [r]."""

    from_s: Floats
    to_s: Floats
    divisor: Floats
    """Tokens that share the span; 1 for a latency."""
    extra_s: Floats
    """What is added outside the engine [s]: the host time before the first token, or nothing."""

    @property
    def value_s(self) -> Floats:
        """The quantity of each request [s]."""
        return (self.to_s - self.from_s + self.extra_s) / self.divisor


def spans_of(metric: str, records: Table, frontend_s: float) -> Spans | None:
    """Return the quantity that a metric such as ttft_mean or tpot_p50 sums up, for each of the requests.

    itl_mean is taken per request like tpot; every token of a request counts once in both, and lengths are alike.
    None for metrics that are no latency of a request.
    """
    kind = metric.split("_", maxsplit=1)[0]
    first, end = records["first_token_s"] - frontend_s, records["end_s"] - frontend_s
    one = np.ones(len(records))
    if kind == "ttft":
        return Spans(records["arrived_s"], first, one, frontend_s * one)
    if kind in ("tpot", "itl"):
        several = records["output_tokens"] > 1
        return Spans(
            first[several], end[several], records["output_tokens"][several] - 1.0, np.zeros(int(several.sum()))
        )
    if kind == "e2e":
        return Spans(records["arrived_s"], end, one, frontend_s * one)
    return None


def summed(values: Floats, statistic: str) -> tuple[float, Floats]:
    """Return a statistic (mean, p50, ...) of values and the weight of each in its derivative, shape [r], sum 1."""
    if statistic == "mean":
        return float(values.mean()), np.full(len(values), 1.0 / len(values))
    percent = float(statistic[1:])
    value = float(np.percentile(values, percent))
    order = np.argsort(values, kind="stable")
    rank = percent / 100.0 * (len(values) - 1)
    near = np.abs(np.arange(len(values)) - rank) <= max(0.5, NEIGHBOURS * len(values))
    weights = np.zeros(len(values))
    weights[order[near]] = 1.0 / near.sum()
    return value, weights


def token_gap(steps: Steps, statistic: str, from_s: float, to_s: float) -> tuple[float, Floats]:
    """Return a percentile of the gaps between tokens in a stretch of time [s], and the weight of each step in it."""
    gap = (steps.end_s - steps.begin_s) / steps.num_steps
    weight = steps.decodes * steps.num_steps * ((steps.begin_s >= from_s) & (steps.end_s <= to_s))
    order = np.argsort(gap, kind="stable")
    share = np.cumsum(weight[order]) / max(weight.sum(), 1)
    percent = float(statistic[1:]) / 100.0
    value = float(gap[order][np.searchsorted(share, percent)])
    near = weight * (np.abs(gap / value - 1.0) < NEIGHBOURS) / steps.num_steps
    return value, near / near.sum()


@dataclass(frozen=True)
class Reading:
    """One metric of a played point, in seconds or per second."""

    value: float
    log_slope: Floats
    """Derivative of its natural log by each coefficient in its unit, shape [m]."""


def read(
    metric: str,
    records: Table,
    steps: Steps,
    basis: Basis,
    values: Mapping[str, float],
    *,
    sloped: bool = True,
) -> Reading | None:
    """Return a metric of a played point with its derivative.

    Parameters
    ----------
    metric : ttft_mean, tpot_p50, itl_mean, e2e_mean, output_throughput, ...
    records : the requests that count
    steps : all steps of the play
    basis, values : the profile that was played, and its coefficients by path
    sloped : whether the derivative is wanted; else it is 0
    """
    paths = tuple(values)
    change_s = [steps.time_s(basis.unit(path)) if sloped else np.zeros(len(steps.begin_s)) for path in paths]
    frontend_s = values.get("first_token_s", basis.profile.frontend_s)
    statistic = metric.rsplit("_", 1)[-1]
    if metric.startswith("itl_p"):
        value, weight = token_gap(steps, statistic, records["arrived_s"].min(), records["end_s"].max())
        return Reading(value, np.array([weight @ change for change in change_s]) / value)
    if metric == "output_throughput":
        begin_s, end_s = records["arrived_s"].min(), records["end_s"].max()
        moved = change_between(steps, change_s, np.array([begin_s]), np.array([end_s]))[0]
        return Reading(float(records["output_tokens"].sum() / (end_s - begin_s)), -moved / (end_s - begin_s))
    spans = spans_of(metric, records, frontend_s)
    if spans is None or not len(spans.from_s):
        return None
    value, weights = summed(spans.value_s, statistic)
    moved = change_between(steps, change_s, spans.from_s, spans.to_s) / spans.divisor[:, np.newaxis]
    if "first_token_s" in values:
        moved[:, paths.index("first_token_s")] += (spans.extra_s > 0) / spans.divisor
    return Reading(value, weights @ moved / value)
