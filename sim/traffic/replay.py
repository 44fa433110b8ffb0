"""A recorded trace as traffic: each request a conversation of one turn, its prompt and its output as in the file."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.traffic.arrivals import ARRIVAL, TrafficClass
from sim.traffic.rows import in_chunks
from sim.traffic.summary import Volume, described
from sim.traffic.traces import TraceBlock, ideal_hit_tokens, read_trace


@dataclass(frozen=True, eq=False)
class Replay:
    """A trace played from `start_s` on, `rate_scale` times as fast; a Source.

    The trace is read anew at every call, block by block, so its size is not bounded by memory.
    """

    path: Path
    trace_format: str
    rate_scale: float
    traffic_class: TrafficClass
    buckets: NDArray[np.void]
    start_s: float
    horizon_s: float

    @property
    def classes(self) -> tuple[TrafficClass, ...]:
        """One class."""
        return (self.traffic_class,)

    def describe(self) -> dict[str, Any]:
        """The trace in numbers, as far as the horizon; raises TraceError where it is wrong."""
        return self._description

    @cached_property
    def _description(self) -> dict[str, Any]:
        num_requests = prompt_tokens = output_tokens = hit_tokens = 0
        seen: set[int] = set()
        for block, times_s in self._timed():
            count = int(np.searchsorted(times_s, self.horizon_s))
            num_requests += count
            prompt_tokens += int(block.prompt_tokens[:count].sum())
            output_tokens += int(block.output_tokens[:count].sum())
            if block.hash_ids:
                hit_tokens += ideal_hit_tokens(block.hash_ids[:count], block.prompt_tokens[:count], seen)
        volume = Volume(
            self.traffic_class.name,
            self.traffic_class.tier,
            conversations=num_requests,
            requests=num_requests,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            user_tokens=prompt_tokens,
        )
        inputs: dict[str, Any] = {"path": str(self.path), "format": self.trace_format, "rate_scale": self.rate_scale}
        if seen:
            inputs["ideal_prefix_hit_frac"] = hit_tokens / max(prompt_tokens, 1)
        return described("trace", [volume], None, **inputs)

    def chunks(self) -> Iterator[NDArray[np.void]]:
        """Requests, in the order of the file."""
        num_rows = 0
        for block, times_s in self._timed():
            rows = np.zeros(int(np.searchsorted(times_s, self.horizon_s)), dtype=ARRIVAL)
            rows["t_s"] = times_s[: len(rows)]
            rows["user"] = np.arange(num_rows, num_rows + len(rows))
            rows["num_turns"] = 1
            rows["user_tokens"] = block.prompt_tokens[: len(rows)]
            rows["output_tokens"] = block.output_tokens[: len(rows)]
            rows["bucket"] = 0 if len(self.buckets) else -1
            yield from in_chunks(rows)
            num_rows += len(rows)
            if len(rows) < len(times_s):
                return

    def _timed(self) -> Iterator[tuple[TraceBlock, NDArray[np.float64]]]:
        """Blocks with the times of their requests on the simulation's clock [s]."""
        first_ns: int | None = None
        start_ns = round(self.start_s * 1e9)
        for block in read_trace(self.path, self.trace_format):
            first_ns = int(block.time_ns[0]) if first_ns is None else first_ns
            since_ns = np.rint((block.time_ns - first_ns) / self.rate_scale).astype(np.int64)
            yield block, (since_ns + start_ns) / 1e9
