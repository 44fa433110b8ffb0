"""Bounded samples of a stream of rows that depend on the rows alone, never on their order."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAX = np.uint64(2**64 - 1)


class Rows(NamedTuple):
    """Records chosen from a chunk by index, with their strata and hashes; records are copied when kept."""

    records: NDArray[np.void]
    where: NDArray[np.int64]
    stratum: NDArray[np.int64]
    bits: NDArray[np.uint64]

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
        """Return the rows that a mask or an index array chooses."""
        return Rows(self.records, self.where[which], self.stratum[which], self.bits[which])

    def copy(self) -> Rows:
        """Return the same rows with records of their own."""
        return Rows.of(self.records[self.where], self.stratum, self.bits)

    @classmethod
    def of(cls, records: NDArray[np.void], stratum: NDArray[np.int64], bits: NDArray[np.uint64]) -> Rows:
        """Return all the records as rows."""
        return cls(records, np.arange(len(records)), stratum, bits)

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        """Return all parts, each with records of its own, as one."""
        records, _, stratum, bits = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls.of(records, stratum, bits)

    @classmethod
    def none(cls, dtype: np.dtype[np.void]) -> Rows:
        """Return no rows."""
        return cls.of(np.zeros(0, dtype), np.zeros(0, np.int64), np.zeros(0, np.uint64))


def fair_share(population: NDArray[np.int64], capacity: int) -> int:
    """Return the largest k with sum(min(population, k)) <= capacity: what each stratum may keep."""
    if int(population.sum()) <= capacity:
        return int(population.max(initial=0))
    low, high = 0, capacity
    while low < high:
        k = (low + high + 1) // 2
        if int(np.minimum(population, k).sum()) <= capacity:
            low = k
        else:
            high = k - 1
    return low


class StratifiedSample:
    """The rows of smallest hash in every stratum; strata share the capacity, small ones are whole.

    A row stays if it is among the k smallest hashes of its stratum, k = `fair_share`. As the hash is a random number,
    that is a simple random sample without replacement of each stratum, and each row stands for population / kept
    rows. k only falls while rows come, so what is dropped early could not have stayed.
    """

    def __init__(self, dtype: np.dtype[np.void], num_strata: int, capacity: int) -> None:
        self._capacity = max(capacity, num_strata)  # room for one row of each at least
        self._population = np.zeros(num_strata, dtype=np.int64)
        self._threshold = np.full(num_strata, _MAX)
        self._parts = [Rows.none(dtype)]
        self._num_held = 0

    def add(self, rows: Rows) -> None:
        """Offer rows."""
        self._population += np.bincount(rows.stratum, minlength=len(self._population))
        rows = rows.take(np.flatnonzero(rows.bits <= self._threshold[rows.stratum]))
        self._parts.append(rows.copy())
        self._num_held += len(rows.bits)
        if self._num_held > 2 * self._capacity:
            self._shrink()

    def _shrink(self) -> None:
        rows = Rows.join(self._parts)
        share = fair_share(self._population, self._capacity)
        order = np.lexsort((rows.bits, rows.stratum))
        stratum = rows.stratum[order]
        first = np.searchsorted(stratum, np.arange(len(self._population)))
        rank = np.arange(len(order)) - first[stratum]
        kept = rows.take(order[rank < share]).copy()
        if share < self._population.max():
            last = order[rank == share - 1]
            self._threshold[rows.stratum[last]] = rows.bits[last]
        self._parts, self._num_held = [kept], len(kept.bits)

    def finish(self) -> tuple[Rows, NDArray[np.float64]]:
        """Return the sample and the number of rows each of its rows stands for."""
        self._shrink()
        rows = self._parts[0]
        kept = np.bincount(rows.stratum, minlength=len(self._population))
        return rows, (self._population / np.maximum(kept, 1))[rows.stratum]


class LargestRows:
    """The rows with the largest values (ties: the smallest hash first); what falls out is handed back."""

    def __init__(self, dtype: np.dtype[np.void], capacity: int) -> None:
        self._capacity = capacity
        self._parts = [(np.zeros(0), Rows.none(dtype))]
        self._num_held = 0
        self._threshold = (-np.inf, _MAX)

    def add(self, values: NDArray[np.float64], rows: Rows) -> list[Rows]:
        """Offer rows with their values; return those that are not (or no longer) among the largest."""
        value, bits = self._threshold
        is_large = (values > value) | ((values == value) & (rows.bits <= bits))
        large = np.flatnonzero(is_large)
        self._parts.append((values[large], rows.take(large).copy()))
        self._num_held += len(large)
        out = [rows.take(np.flatnonzero(~is_large))]
        if self._num_held > 2 * self._capacity:
            out.append(self._shrink())
        return out

    def _shrink(self) -> Rows:
        values = np.concatenate([v for v, _ in self._parts])
        rows = Rows.join([r for _, r in self._parts])
        order = np.lexsort((rows.bits, -values))
        stay, leave = order[: self._capacity], order[self._capacity :]
        if len(stay) == self._capacity > 0:
            self._threshold = (float(values[stay[-1]]), rows.bits[stay[-1]])
        self._parts, self._num_held = [(values[stay], rows.take(stay).copy())], len(stay)
        return rows.take(leave)

    def finish(self) -> tuple[Rows, Rows]:
        """Return the largest rows, and those that fell out since the last `add`."""
        evicted = self._shrink()
        return self._parts[0][1], evicted
