"""What a load generator would read off a played point, and how each reading moves with the engine's coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    """Return a percentile of the gaps between tokens in a stretch of time [s], and what each row of steps counts in it."""
    gap = (steps.end_s - steps.begin_s) / steps.num_steps
    weight = steps.decodes * steps.num_steps * ((steps.begin_s >= from_s) & (steps.end_s <= to_s))
    order = np.argsort(gap, kind="stable")
    share = np.cumsum(weight[order]) / max(weight.sum(), 1)
    percent = float(statistic[1:]) / 100.0
    value = float(gap[order][np.searchsorted(share, percent)])
    near = weight * (np.abs(gap / value - 1.0) < NEIGHBOURS)
    return value, near / near.sum() / steps.num_steps


def log_slope(
    metric: str,
    records: Table,
    steps: Steps,
    change_s: Sequence[Floats],
    paths: Sequence[str],
    frontend_s: float,
    *,
    open_loop: bool = False,
) -> Floats:
    """Return the derivative of the log of a metric by each coefficient in its unit, the order of events held.

    Parameters
    ----------
    metric : ttft_mean, tpot_p50, itl_mean, e2e_mean, output_throughput, ...
    records : the requests that count
    steps : all steps of the play
    change_s : how much longer a unit of each coefficient makes each step, m arrays of shape [s]
    paths : the coefficients
    frontend_s : host time before the first token [s]
    open_loop : whether requests come whatever becomes of them: then throughput does not move

    Returns
    -------
    array of shape [m]
    """
    statistic = metric.rsplit("_", 1)[-1]
    if "throughput" in metric:
        begin_s, end_s = np.array([records["arrived_s"].min()]), np.array([records["end_s"].max()])
        moved = change_between(steps, change_s, begin_s, end_s)[0] / (end_s - begin_s)
        return np.zeros(len(paths)) if open_loop else -moved
    if metric.startswith("itl_p"):
        value, weight = token_gap(steps, statistic, records["arrived_s"].min(), records["end_s"].max())
        return np.array([weight @ change for change in change_s]) / value
    spans = spans_of(metric, records, frontend_s)
    if spans is None or not len(spans.from_s):
        return np.zeros(len(paths))
    value, weights = summed(spans.value_s, statistic)
    moved = change_between(steps, change_s, spans.from_s, spans.to_s) / spans.divisor[:, np.newaxis]
    if "first_token_s" in paths:
        moved[:, paths.index("first_token_s")] += (spans.extra_s > 0) / spans.divisor
    return np.asarray(weights @ moved / value)
