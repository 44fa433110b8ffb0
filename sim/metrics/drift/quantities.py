"""The series that are watched: quantities of each group of requests, gauges of each pool, and each replica's pace.

A group is the classes that share a path through the fleet. A quantity is upstream of others where a change of it
changes them too: longer prompts make late first tokens, but not the other way round. Diagnosis (`diagnosis.py`) asks
upstream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.drift.baseline import Series
from sim.metrics.drift.windows import Windows
from sim.metrics.records import BLOCKED, COMPLETED

Floats = NDArray[np.float64]

LEAST = {
    "volume": 0.05,
    "prompt": 0.02,
    "output": 0.02,
    "hits": 0.01,
    "refusals": 0.002,
    "failures": 0.002,
    "ttft": 0.03,
    "itl": 0.02,
    "cost": 0.03,
    "language": 0.02,
    "class": 0.02,
    "queue": 0.1,
    "kv": 0.005,
    "pace": 0.02,
}
"""Least change of an interval that matters, *assumed*: of logarithms (volume, prompt, output, ttft, itl, cost, pace),
fractions (hits, refusals, failures, language, class, kv), or requests that wait for each replica (queue)."""
COMMON_FRAC = 0.05
"""Languages and classes with less of a group's requests have no series of their own; *assumed*."""


@dataclass(frozen=True)
class Layout:
    """The names behind the codes."""

    groups: Mapping[str, tuple[int, ...]]
    """Class ids of each group."""
    classes: tuple[str, ...]
    languages: tuple[str, ...]
    pools: tuple[str, ...]
    replicas: tuple[range, ...]
    """Numbers of the replicas of each pool, among all pools' replicas."""
    answering: frozenset[int]
    """Pools whose replicas answer."""


@dataclass(frozen=True)
class Chart:
    """What one series is of."""

    subject: str
    """A group, a pool, or a replica as "pool/number"."""
    quantity: str
    """A key of `LEAST`."""
    detail: str = ""
    """Which language or class."""

    def __str__(self) -> str:
        """As in "chat ttft"."""
        return " ".join(part for part in (self.subject, self.quantity, self.detail) if part)


@dataclass
class Columns:
    """Series in the making."""

    charts: list[Chart]
    values: list[Floats]
    weights: list[Floats]

    def add(self, chart: Chart, values: Floats, weights: Floats) -> None:
        """Add a series."""
        self.charts.append(chart)
        self.values.append(values)
        self.weights.append(weights)


def all_series(windows: Windows, gauges: Floats, layout: Layout, known: int) -> tuple[list[Chart], Series]:
    """Everything that is watched.

    Parameters
    ----------
    windows
        Requests by interval.
    gauges
        Requests waiting for each replica, and KV use, shape [interval, pool, 2].
    layout
        Names.
    known
        Intervals of the baseline: they say which languages and classes are common.
    """
    columns = Columns([], [], [])
    for name, ids in layout.groups.items():
        add_group(columns, windows, name, np.array(ids), layout, known)
    ones = np.ones(len(gauges))
    for number, name in enumerate(layout.pools):
        columns.add(Chart(name, "queue"), gauges[:, number, 0], ones)
        columns.add(Chart(name, "kv"), gauges[:, number, 1], ones)
        if number in layout.answering and len(layout.replicas[number]) > 1:
            add_paces(columns, windows, name, layout.replicas[number])
    least = np.array([LEAST[chart.quantity] for chart in columns.charts])
    return columns.charts, Series(np.stack(columns.values, axis=1), np.stack(columns.weights, axis=1), least)


def add_group(
    columns: Columns, windows: Windows, name: str, ids: NDArray[np.int64], layout: Layout, known: int
) -> None:
    """Add the series of one group."""
    endings = windows.endings[:, ids].sum(axis=1)
    ended = endings.sum(axis=1).astype(np.float64)

    def total(key: str) -> Floats:
        summed: Floats = windows.of(key)[:, ids].sum(axis=1)
        return summed

    others = np.delete(np.arange(endings.shape[1]), [COMPLETED, BLOCKED])
    spent, emitted = total("cost_usd"), total("output_tokens")
    for quantity, values in {
        "volume": np.log(np.maximum(ended, 1.0)),
        "prompt": mean(total("log_prompt"), total("num_first")),
        "output": mean(total("log_output"), total("num_answers")),
        "hits": mean(total("hit_frac"), total("num_first")),
        "refusals": mean(endings[:, BLOCKED], ended),
        "failures": mean(endings[:, others].sum(axis=1), ended),
        "ttft": mean(total("log_ttft"), total("num_answers")),
        "itl": mean(total("log_itl"), total("num_gaps")),
        "cost": np.log(np.maximum(spent, 1e-300) / np.maximum(emitted, 1.0)) * (spent > 0.0),
    }.items():
        columns.add(Chart(name, quantity), values, np.maximum(ended, 1.0) if quantity == "volume" else ended)
    languages = windows.languages[:, ids].sum(axis=1)
    for number in common(languages[:known].sum(axis=0)):
        columns.add(Chart(name, "language", layout.languages[number]), mean(languages[:, number], ended), ended)
    classes = windows.endings[:, ids].sum(axis=2)
    for number in common(classes[:known].sum(axis=0)):
        columns.add(Chart(name, "class", layout.classes[ids[number]]), mean(classes[:, number], ended), ended)


def add_paces(columns: Columns, windows: Windows, pool: str, replicas: range) -> None:
    """Add the series of a pool's replicas: ln of the time between tokens, less that of all the others."""
    num, log_itl = windows.replicas[:, :, replicas.start : replicas.stop]
    all_num, all_log = num.sum(axis=1), log_itl.sum(axis=1)
    for number in range(len(replicas)):
        mine, rest = num[:, number], all_num - num[:, number]
        pace = mean(log_itl[:, number], mine) - mean(all_log - log_itl[:, number], rest)
        # the variance of a difference of two means
        weights = np.where((mine > 0) & (rest > 0), mine * rest / np.maximum(mine + rest, 1.0), 0.0)
        columns.add(Chart(f"{pool}/{number}", "pace"), pace, weights)


def mean(total: NDArray[np.float64] | NDArray[np.int64], num: Floats) -> Floats:
    """Sum over number, 0 where there is none."""
    quotient: Floats = total / np.maximum(num, 1.0)
    return quotient


def common(counts: NDArray[np.int64]) -> list[int]:
    """Those that are neither rare nor (nearly) all."""
    frac = counts / max(1, int(counts.sum()))
    return [int(n) for n in np.flatnonzero((frac >= COMMON_FRAC) & (frac <= 1.0 - COMMON_FRAC))]
