"""What is kept of every request: exact counts and sums, histograms, and a bounded sample of rows.

Only requests that arrive at or after t = 0 are measured; earlier ones (the run-in) fill the fleet. Memory is bounded by
the number of groups, however long the run. Results depend on the sequence of rows alone, not on how it was cut into
chunks; the sample and all counts do not even depend on the sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.groups import Groups
from sim.metrics.histogram import NUM_BINS, bin_of
from sim.metrics.records import (
    ABANDONED,
    COMPLETED,
    DONE,
    ENDINGS,
    FAILED,
    FLAGS,
    SHED,
    TIMED_OUT,
)
from sim.metrics.sample import LargestRows, Rows, StratifiedSample

METRICS = (
    "ttft",
    "ttft_from_admission",
    "tpot",
    "e2el",
    "admission",
    "queue",
    "prefill",
    "decode",
    "cost",
    "transfer",
)
"""Quantities with a histogram per class and language, over completed requests [s; cost in USD].

ttft = admission + queue + prefill + transfer and e2el = ttft + decode, of each request. Transfer, the last of them, is
binned only where answers are split over two pools (`Groups.has_transfers`).
"""

COST_BIN_USD = 2.0**-8
"""Costs are binned in units of this, so their bins reach from 3.7e-9 to 16 USD a request."""

NUM_FLAGGED = 1 << len(FLAGS)
"""Sets of flags that a record may have."""

SLO_PARTS = ("ttft", "tpot", "e2el")
NUM_MET = 2 ** len(SLO_PARTS)
"""Ways to keep or miss the parts of an SLO: bit i is set where part i is kept."""

MISSES = (SHED, TIMED_OUT, ABANDONED, FAILED)
"""Endings that miss the SLO; the other endings but `completed` are no promise broken and are left out."""

MAX_TURNS = 64
"""Turns counted one by one; later ones count into the last."""

KEPT = ("sample", "slowest", "not_completed")
"""Why a row is in the sample."""

_HOUR_S = 3600.0
_BIN_UNIT = np.array([COST_BIN_USD if name == "cost" else 1.0 for name in METRICS])[:, None]

ENTITY = ("user", "conversation", "turn")
ATTEMPT_SHIFT = np.uint64(32)
"""Each attempt at a turn has a hash of its own."""
Words = NDArray[np.uint64]
Bits = Callable[[Words, Words, Words], Words]
"""The hash of (user, conversation, turn) that chooses the sample, keyed by the run's seed."""


@dataclass(frozen=True)
class SampleSize:
    """How many rows a run keeps; beyond it, the rows of a stratum stand for others with a weight."""

    completed_rows: int = 100_000
    not_completed_rows: int = 100_000
    slowest_rows: int = 10_000


class Collector:
    """Counts, sums and histograms of all measured requests by class and language.

    Parameters
    ----------
    groups
        The names behind the codes in the records.
    bits
        Hash of (user, conversation, turn) arrays; the smallest hashes make the sample.
    num_hours
        Hours of arrivals to count; later arrivals count into the last.
    """

    def __init__(self, groups: Groups, bits: Bits, *, num_hours: int, size: SampleSize = SampleSize()) -> None:
        self.groups = groups
        self._bits = bits
        num_languages, num_pools = len(groups.languages), len(groups.pools)
        # A cell is a class and a language. One more cell, and one more pool, take what does not
        # apply (the tpot of a single token, the pool of a request that was turned away).
        self._num_cells = len(groups.classes) * num_languages
        shape = (self._num_cells, len(ENDINGS))
        self.num_requests = np.zeros(shape, dtype=np.int64)
        self.prompt_tokens = np.zeros(shape, dtype=np.int64)
        self.cached_tokens = np.zeros(shape, dtype=np.int64)
        self.output_tokens = np.zeros(shape, dtype=np.int64)
        self.num_preemptions = np.zeros(shape, dtype=np.int64)
        self.num_retries = np.zeros(self._num_cells, dtype=np.int64)
        self.num_left = np.zeros(self._num_cells, dtype=np.int64)
        self.retry_cost_usd = np.zeros(self._num_cells)
        self.flagged = np.zeros((*shape, NUM_FLAGGED if groups.has_flags else 0), dtype=np.int64)
        self.cost_usd = np.zeros(shape)
        self.guard_s = np.zeros(self._num_cells)
        self._busy_s = np.zeros((self._num_cells, num_pools + 1))
        # Of completed requests, before the first token: visits ahead and verdicts; verdicts alone.
        self.withheld_s = np.zeros((2, self._num_cells))
        self.num_met = np.zeros((self._num_cells, NUM_MET), dtype=np.int64)
        self.hourly_arrivals = np.zeros((len(groups.classes), max(1, num_hours)), dtype=np.int64)
        self.turns = np.zeros((len(groups.classes), MAX_TURNS), dtype=np.int64)
        self._counts = np.zeros((self._num_cells + 1, len(METRICS), NUM_BINS), dtype=np.int64)
        self._sums = np.zeros((2, self._num_cells + 1, len(METRICS)))
        self._limits = [groups.limits(f"{part}_s") for part in SLO_PARTS]
        num_strata = len(groups.tiers) * num_languages
        self._sample = StratifiedSample(DONE, num_strata, size.completed_rows)
        self._not_completed = StratifiedSample(DONE, num_strata * len(ENDINGS), size.not_completed_rows)
        self._slowest = LargestRows(DONE, size.slowest_rows)

    @property
    def histograms(self) -> NDArray[np.int64]:
        """Counts of completed requests, shape [cell, metric, bin]."""
        return self._counts[:-1]

    @property
    def sums(self) -> NDArray[np.float64]:
        """Sum of each metric over completed requests [s; USD], shape [cell, metric]."""
        return self._sums[0, :-1]

    @property
    def square_sums(self) -> NDArray[np.float64]:
        """Sum of squares of each metric over completed requests, shape [cell, metric]."""
        return self._sums[1, :-1]

    @property
    def busy_s(self) -> NDArray[np.float64]:
        """Replica-seconds that answered requests, shape [cell, pool]."""
        return self._busy_s[:, :-1]

    def add(self, rows: NDArray[np.void]) -> None:
        """Count finished requests (`DONE` records; fastest at some 10,000 at a time)."""
        measured = rows["arrived_s"] >= 0.0
        if not measured.all():
            rows = rows[measured]
        class_id = rows["class_id"].astype(np.int64)
        language = rows["language"].astype(np.int64)
        cell = class_id * len(self.groups.languages) + language
        self._add_totals(rows, cell)
        self._add_counts(rows, class_id, cell)
        stratum = self.groups.tier_of_class[class_id] * len(self.groups.languages) + language
        columns = [rows[name].astype(np.int64).view(np.uint64) for name in ENTITY]
        columns[-1] |= rows["attempt"].astype(np.uint64) << ATTEMPT_SHIFT
        kept = Rows.of(rows, stratum, self._bits(*columns))
        completed = np.flatnonzero(rows["ending"] == COMPLETED)
        if len(completed) < len(rows):
            rest = kept.take(np.flatnonzero(rows["ending"] != COMPLETED))
            ending = rows["ending"][rest.where]
            self._not_completed.add(rest._replace(stratum=rest.stratum * len(ENDINGS) + ending))
            kept, cell, class_id = kept.take(completed), cell[completed], class_id[completed]
        values = self._add_latencies(rows, kept.where, cell, class_id)
        for others in self._slowest.add(values[METRICS.index("e2el")], kept):
            self._sample.add(others)

    def _add_counts(self, rows: NDArray[np.void], class_id: NDArray[np.int64], cell: NDArray[np.int64]) -> None:
        num_hours = self.hourly_arrivals.shape[1]
        hour = np.minimum((rows["arrived_s"] / _HOUR_S).astype(np.int64), num_hours - 1)
        np.add.at(self.hourly_arrivals.reshape(-1), class_id * num_hours + hour, 1)
        turn = class_id * MAX_TURNS + np.minimum(rows["turn"], MAX_TURNS - 1)
        retry = np.flatnonzero(rows["attempt"])
        np.add.at(self.turns.reshape(-1), turn, 1)
        np.subtract.at(self.turns.reshape(-1), turn[retry], 1)
        np.add.at(self.num_retries, cell[retry], 1)
        np.add.at(self.retry_cost_usd, cell[retry], rows["cost_usd"][retry])
        np.add.at(self.num_left, cell[np.flatnonzero(rows["left"])], 1)

    def _add_totals(self, rows: NDArray[np.void], cell: NDArray[np.int64]) -> None:
        """Count by cell and ending; sums run row by row, so chunks do not change their rounding."""
        index = cell * len(ENDINGS) + rows["ending"]
        self.num_requests += np.bincount(index, minlength=self.num_requests.size).reshape(self.num_requests.shape)
        for name in ("prompt_tokens", "cached_tokens", "output_tokens", "num_preemptions"):
            np.add.at(getattr(self, name).reshape(-1), index, rows[name].astype(np.int64))
        if self.groups.has_flags:
            np.add.at(self.flagged.reshape(-1), index * NUM_FLAGGED + rows["flags"], 1)
        np.add.at(self.cost_usd.reshape(-1), index, rows["cost_usd"])
        np.add.at(self.guard_s, cell, rows["guard_s"])
        num_columns = self._busy_s.shape[1]
        pool = np.where(rows["pool"] < 0, num_columns - 1, rows["pool"])
        np.add.at(self._busy_s.reshape(-1), cell * num_columns + pool, rows["busy_s"])

    def _add_latencies(
        self,
        rows: NDArray[np.void],
        which: NDArray[np.int64],
        cell: NDArray[np.int64],
        class_id: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Count the latencies of the completed requests `which`; return them, shape [metric, row]."""
        columns = {name: rows[name][which] for name in LATENCY_COLUMNS}
        values = latencies(columns)
        binned = values if self.groups.has_transfers else values[:-1]
        tpot = METRICS.index("tpot")
        index = cell * len(METRICS) + np.arange(len(binned))[:, None]
        one_token = columns["output_tokens"] <= 1
        index[tpot, one_token] = self._num_cells * len(METRICS) + tpot
        bins = index * NUM_BINS + bin_of(binned / _BIN_UNIT[: len(binned)])
        np.add.at(self._counts.reshape(-1), bins.reshape(-1), 1)
        flat = index.reshape(-1)
        np.add.at(self._sums[0].reshape(-1), flat, binned.reshape(-1))
        np.add.at(self._sums[1].reshape(-1), flat, (binned * binned).reshape(-1))
        if self.groups.safety:
            verdict_s = rows["verdict_s"][which]
            added_s = values[METRICS.index("admission")] - rows["delay_s"][which] + verdict_s
            np.add.at(self.withheld_s[0], cell, added_s)
            np.add.at(self.withheld_s[1], cell, verdict_s)
        part_met = np.zeros(len(which), dtype=np.int64)
        for bit, (name, limits) in enumerate(zip(SLO_PARTS, self._limits, strict=True)):
            part_met |= (values[METRICS.index(name)] <= limits[class_id]).astype(np.int64) << bit
        met = np.bincount(cell * NUM_MET + part_met, minlength=self.num_met.size)
        self.num_met += met.reshape(self.num_met.shape)
        return values

    def sample(self) -> tuple[NDArray[np.void], NDArray[np.float64], NDArray[np.int64]]:
        """Return kept records by (arrived_s, user, conversation, turn, attempt), weights, reasons.

        A record's weight is the number of measured requests it stands for. Its reason is an index into `KEPT`.
        """
        slowest, evicted = self._slowest.finish()
        self._sample.add(evicted)
        chosen, chosen_weight = self._sample.finish()
        rest, rest_weight = self._not_completed.finish()
        records = np.concatenate([chosen.records, slowest.records, rest.records])
        weight = np.concatenate([chosen_weight, np.ones(len(slowest.bits)), rest_weight])
        sizes = [len(chosen.bits), len(slowest.bits), len(rest.bits)]
        reason = np.repeat(np.arange(len(KEPT)), sizes)
        keys = ("attempt", "turn", "conversation", "user", "arrived_s")
        order = np.lexsort([records[key] for key in keys])
        return records[order], weight[order], reason[order]


LATENCY_COLUMNS = (
    "arrived_s",
    "classified_s",
    "scheduled_s",
    "first_token_s",
    "end_s",
    "output_tokens",
    "cost_usd",
    "transfer_s",
)


def latencies(columns: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the `METRICS` of completed requests, shape [metric, row]; tpot is 0 for a single token.

    tpot = (end - first token) / (output tokens - 1), so e2el = ttft + (output tokens - 1) * tpot.
    """
    arrived, admitted, scheduled = (columns[name] for name in LATENCY_COLUMNS[:3])
    first, end = columns["first_token_s"], columns["end_s"]
    values = np.empty((len(METRICS), len(arrived)))
    row = dict(zip(METRICS, values, strict=True))
    np.subtract(first, arrived, out=row["ttft"])
    np.subtract(first, admitted, out=row["ttft_from_admission"])
    np.subtract(end, first, out=row["decode"])
    np.divide(row["decode"], np.maximum(columns["output_tokens"] - 1, 1), out=row["tpot"])
    np.subtract(end, arrived, out=row["e2el"])
    np.subtract(admitted, arrived, out=row["admission"])
    np.subtract(scheduled, admitted, out=row["queue"])
    row["transfer"][:] = columns["transfer_s"]
    np.subtract(first - scheduled, row["transfer"], out=row["prefill"])
    row["cost"][:] = columns["cost_usd"]
    return values
