"""What monitors read: counts and sums of the requests that end in each interval, by class, language and replica.

Everything is binned by the time at which a request ends, as a monitor that reads a log sees it. Memory depends on the
number of intervals alone. Lengths and latencies enter as logarithms, so that a change by a factor moves every request
alike and one long prompt does not hide the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.records import COMPLETED, ENDINGS

SUMS = (
    "num_first",
    "log_prompt",
    "hit_frac",
    "num_answers",
    "log_output",
    "log_ttft",
    "num_gaps",
    "log_itl",
    "cost_usd",
    "output_tokens",
)
"""Sums by interval and class. Of completed first turns: their number, ln of their own prompt tokens, share of the
shared prefix found in the cache. Of completed requests: their number, ln output tokens, ln ttft; of those with two
tokens or more: their number, ln of the mean time between tokens. Of all: USD and output tokens."""

SPREADS = ("prompt", "output", "ttft", "itl")
"""Quantities with a histogram by interval and class."""
BINS_PER_OCTAVE = 2
NUM_BINS = 40
UNIT = {"prompt": 1.0, "output": 1.0, "ttft": 2.0**-8, "itl": 2.0**-10}
"""Lower edge of the first bin [tokens; s]."""


@dataclass(frozen=True)
class Shape:
    """What windows are counted by."""

    interval_s: float
    num_intervals: int
    prefix_tokens: tuple[int, ...]
    """Length of the shared prefix of each class [tokens]."""
    num_languages: int
    num_replicas: int
    """Of all pools together; records count them through."""


class Windows:
    """Counts and sums of requests by the interval in which they end."""

    def __init__(self, shape: Shape) -> None:
        n, k = shape.num_intervals, len(shape.prefix_tokens)
        self.shape = shape
        self.endings = np.zeros((n, k, len(ENDINGS)), dtype=np.int64)
        self.sums = np.zeros((len(SUMS), n, k))
        self.spreads = np.zeros((len(SPREADS), n, k, NUM_BINS), dtype=np.int64)
        self.languages = np.zeros((n, k, shape.num_languages), dtype=np.int64)
        self.replicas = np.zeros((2, n, shape.num_replicas))
        """Answers of two tokens or more, and the sum of ln of their mean time between tokens."""
        self._prefix = np.array(shape.prefix_tokens, dtype=np.int64)

    def of(self, name: str) -> NDArray[np.float64]:
        """One of `SUMS`, shape [interval, class]."""
        summed: NDArray[np.float64] = self.sums[SUMS.index(name)]
        return summed

    def add(self, rows: NDArray[np.void]) -> None:
        """Count finished requests (dtype DONE); those that end outside the intervals, or not at all, are left out."""
        with np.errstate(invalid="ignore"):
            interval = np.floor(rows["end_s"] / self.shape.interval_s)
            inside = (interval >= 0) & (interval < self.shape.num_intervals)
        if not inside.all():
            rows, interval = rows[inside], interval[inside]
        num_classes = len(self._prefix)
        class_id = rows["class_id"].astype(np.int64)
        cell = interval.astype(np.int64) * num_classes + class_id
        count(self.endings, cell * len(ENDINGS) + rows["ending"])
        count(self.languages, cell * self.shape.num_languages + rows["language"])
        self._sum("cost_usd", cell, rows["cost_usd"])
        self._sum("output_tokens", cell, rows["output_tokens"])
        answered = np.flatnonzero(rows["ending"] == COMPLETED)
        self._add_answers(rows[answered], cell[answered])

    def _add_answers(self, rows: NDArray[np.void], cell: NDArray[np.int64]) -> None:
        output = rows["output_tokens"]
        ttft_s = rows["first_token_s"] - rows["arrived_s"]
        self._sum("num_answers", cell, np.ones(len(rows)))
        self._sum("log_output", cell, np.log(np.maximum(output, 1)))
        self._sum("log_ttft", cell, np.log(np.maximum(ttft_s, UNIT["ttft"])))
        self._spread("output", cell, output)
        self._spread("ttft", cell, ttft_s)

        first = np.flatnonzero(rows["turn"] == 0)
        prefix = self._prefix[rows["class_id"][first]]
        prompt = np.maximum(rows["prompt_tokens"][first] - prefix, 1)
        hit = np.minimum(rows["cached_tokens"][first], prefix) / np.maximum(prefix, 1)
        self._sum("num_first", cell[first], np.ones(len(first)))
        self._sum("log_prompt", cell[first], np.log(prompt))
        self._sum("hit_frac", cell[first], hit)
        self._spread("prompt", cell[first], prompt)

        several = np.flatnonzero(output > 1)
        itl_s = (rows["end_s"] - rows["first_token_s"])[several] / (output[several] - 1)
        log_itl = np.log(np.maximum(itl_s, UNIT["itl"]))
        self._sum("num_gaps", cell[several], np.ones(len(several)))
        self._sum("log_itl", cell[several], log_itl)
        self._spread("itl", cell[several], itl_s)
        at = cell[several] // len(self._prefix) * self.shape.num_replicas + rows["replica"][several]
        count(self.replicas[0], at)
        count(self.replicas[1], at, log_itl)

    def _sum(self, name: str, cell: NDArray[np.int64], values: NDArray[Any]) -> None:
        count(self.of(name), cell, values)

    def _spread(self, name: str, cell: NDArray[np.int64], values: NDArray[Any]) -> None:
        count(self.spreads[SPREADS.index(name)], cell * NUM_BINS + bin_of(values / UNIT[name]))


def bin_of(values: NDArray[Any]) -> NDArray[np.int64]:
    """Bin of each value, in units of the first bin's lower edge; what lies outside goes into the outer bins."""
    octaves = np.log2(np.maximum(values, 1.0))
    bins: NDArray[np.int64] = np.minimum((octaves * BINS_PER_OCTAVE).astype(np.int64), NUM_BINS - 1)
    return bins


def count(into: NDArray[Any], index: NDArray[np.int64], weights: NDArray[Any] | None = None) -> None:
    """Add one, or a weight, at each flat index of an array."""
    flat = into.reshape(-1)
    flat += np.bincount(index, weights, minlength=flat.size)
