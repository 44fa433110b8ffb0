"""What a load generator would read off a played point, and how each reading moves with the engine's coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.loads import Kind
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
    from_arrival: bool
    """Whether the spans begin when requests arrive."""

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
        return Spans(records["arrived_s"], first, one, frontend_s * one, from_arrival=True)
    if kind in ("tpot", "itl"):
        several = records["output_tokens"] > 1
        tokens = records["output_tokens"][several] - 1.0
        return Spans(first[several], end[several], tokens, np.zeros(len(tokens)), from_arrival=False)
    if kind == "e2e":
        return Spans(records["arrived_s"], end, one, frontend_s * one, from_arrival=True)
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
    """Return a percentile of the gaps between tokens in a stretch of time [s], and what a row of steps counts in it."""
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
    kind: Kind,
    asked_s: Floats | None = None,
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
    kind : the load: the throughput of an open loop does not move; that of a closed one is its users over the mean time
        of a request
    asked_s : the engine's time with which each arrival moves [s], shape [r] (`asking.asked_s`); default: arrivals stay

    Returns
    -------
    array of shape [m]
    """
    statistic = metric.rsplit("_", 1)[-1]
    if "throughput" in metric:
        if kind == "open_loop":
            return np.zeros(len(paths))
        if kind == "closed_loop":
            return -log_slope("e2e_mean", records, steps, change_s, paths, frontend_s, kind, asked_s)
        begin_s, end_s = np.array([records["arrived_s"].min()]), np.array([records["end_s"].max()])
        moved = change_between(steps, change_s, begin_s, end_s)[0]
        if kind in ("all_at_once", "static") and "first_token_s" in paths:
            moved[paths.index("first_token_s")] += 1.0  # the last answer reaches its client later
        return np.asarray(-moved / (end_s - begin_s))
    if metric.startswith("itl_p"):
        value, weight = token_gap(steps, statistic, records["arrived_s"].min(), records["end_s"].max())
        return np.array([weight @ change for change in change_s]) / value
    spans = spans_of(metric, records, frontend_s)
    if spans is None or not len(spans.from_s):
        return np.zeros(len(paths))
    value, weights = summed(spans.value_s, statistic)
    from_s = spans.from_s if asked_s is None or not spans.from_arrival else asked_s
    moved = change_between(steps, change_s, from_s, spans.to_s)
    if spans.from_arrival and "first_token_s" in paths:
        # Host time is added to the span; where the arrival follows an answer, it is later by as much.
        moved[:, paths.index("first_token_s")] += 1.0 if asked_s is None else np.isneginf(asked_s)
    return np.asarray(weights @ (moved / spans.divisor[:, np.newaxis]) / value)
