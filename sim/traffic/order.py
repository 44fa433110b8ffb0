"""Putting arrivals in order of time, and several sources in one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import ARRIVAL, NO_SEGMENTS, Chunk, Source, TrafficClass
from sim.traffic.rows import in_chunks
from sim.traffic.summary import added

_ROW_BITS = 22


def time_order(offset_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows by time, equal times by row; offsets below 2**41 ns (36 minutes)."""
    if len(offset_ns) >= 1 << _ROW_BITS:
        return np.argsort(offset_ns, kind="stable")
    # Time and row in one word: sorting plain integers is several times as fast as sorting rows by a column.
    words = (offset_ns << _ROW_BITS) + np.arange(len(offset_ns))
    words.sort()
    return words & ((1 << _ROW_BITS) - 1)


def by_time(rows: NDArray[np.void], segments: NDArray[np.void]) -> Chunk:
    """Rows by time, equal times as they stood, each with its segments."""
    order = np.argsort(rows["t_s"], kind="stable")
    if len(segments):
        first = (np.cumsum(rows["num_segments"]) - rows["num_segments"])[order]
        num = rows["num_segments"][order]
        segments = segments[np.repeat(first - (np.cumsum(num) - num), num) + np.arange(len(segments))]
    return Chunk(rows[order], segments)


@dataclass(frozen=True, eq=False)
class Merged:
    """Several sources as one; equal times go in the order of the sources. A Source."""

    sources: tuple[Source, ...]

    @property
    def classes(self) -> tuple[TrafficClass, ...]:
        """The classes of all sources, one source after the other; factors of lengths by language of all sources."""
        return tuple(
            self._with_all_languages(traffic_class, source)
            for source in self.sources
            for traffic_class in source.classes
        )

    def _with_all_languages(self, traffic_class: TrafficClass, source: Source) -> TrafficClass:
        if traffic_class.length_factor is None or source.languages == self.languages:
            return traffic_class
        factor = np.ones(len(self.languages))
        factor[[self.languages.index(language) for language in source.languages]] = traffic_class.length_factor
        return replace(traffic_class, length_factor=factor)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of all sources, each once, in order of appearance."""
        return tuple(dict.fromkeys(language for source in self.sources for language in source.languages))

    @property
    def buckets(self) -> NDArray[np.void]:
        """The token buckets of all sources, one source after the other."""
        return np.concatenate([source.buckets for source in self.sources])

    def describe(self) -> dict[str, Any]:
        """The inputs of all sources together, and each source's own."""
        return added([source.describe() for source in self.sources])

    def chunks(self) -> Iterator[Chunk]:
        """Arrivals of all sources in order of time."""
        streams, first_class, first_bucket = [], 0, 0
        for source in self.sources:
            codes = np.array([self.languages.index(language) for language in source.languages])
            streams.append(_Stream(source, first_class, first_bucket, codes))
            first_class += len(source.classes)
            first_bucket += len(source.buckets)
        while live := [stream for stream in streams if stream.fill()]:
            # Every stream is known up to its last row at hand. The stream that ends first (of equals, the first) may
            # have more rows of just that time, so rows of that time are taken only of those that come before it.
            ends = [stream.rows["t_s"][-1] for stream in live]
            until = min(ends)
            cut = ends.index(until)
            parts = [s.take(until, "right" if i <= cut else "left") for i, s in enumerate(live)]
            merged = Chunk(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            if sum(len(part.rows) > 0 for part in parts) > 1:
                merged = by_time(*merged)
            yield from in_chunks(*merged)


class _Stream:
    """One source's rows at hand, numbered among the merged classes, buckets and languages."""

    def __init__(self, source: Source, first_class: int, first_bucket: int, languages: NDArray[np.int64]) -> None:
        self.rows, self._segments = np.zeros(0, dtype=ARRIVAL), NO_SEGMENTS
        self._chunks = source.chunks()
        self._first_class, self._first_bucket, self._languages = first_class, first_bucket, languages

    def fill(self) -> bool:
        """Have at least one row at hand; False at the source's end."""
        while len(self.rows) == 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self.rows, self._segments = chunk.rows.copy(), chunk.segments
            self.rows["class_id"] += self._first_class
            self.rows["bucket"][chunk.rows["bucket"] >= 0] += self._first_bucket
            self.rows["language"] = self._languages[chunk.rows["language"]]
        return True

    def take(self, until_s: float, side: Any) -> Chunk:
        """Remove and return the rows up to a time, rows of that time included for side "right"."""
        count = np.searchsorted(self.rows["t_s"], until_s, side=side)
        num_segments = self.rows["num_segments"][:count].sum()
        taken = Chunk(self.rows[:count], self._segments[:num_segments])
        self.rows, self._segments = self.rows[count:], self._segments[num_segments:]
        return taken


def merge(sources: Sequence[Source]) -> Source:
    """One source of several, in one total order: by time, then by source."""
    return sources[0] if len(sources) == 1 else Merged(tuple(sources))
