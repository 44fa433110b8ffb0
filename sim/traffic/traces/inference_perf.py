"""What inference-perf replays and reports (kubernetes-sigs/inference-perf).

inference_perf           its SharedPrefix traces, JSON lines (docs/tracegen.md), timestamp in seconds:
    {"timestamp": 1.51, "shared_prefix_length": 400, "tail_input_length": 50, "output_length": 150,
     "shared_prefix_id": 2}
    Prompts of one id share their prefix; of two lengths, the shorter.
inference_perf_requests  its report per_request_lifecycle_metrics.json (docs/reports.md), one array, in the order in
    which answers ended: {"start_time": [s], "end_time": [s], "info": {"input_tokens": ..., "output_tokens": ...},
    "error": null, ...}; newer ones say info.request_metrics.text.input_tokens, info.response_metrics.output_tokens.
    Failed requests are left out and counted.
Its third, AzurePublicDataset, is azure.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from sim.traffic.traces.array import array_batches, write_array
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.flaws import RowError, count, instant, shown
from sim.traffic.traces.format import Format, Head, Opened, Options
from sim.traffic.traces.hashing import text_word
from sim.traffic.traces.jsonl import JsonLines, with_keys
from sim.traffic.traces.repair import Report
from sim.traffic.traces.table import seconds

FAILED = "failed requests"


class SharedPrefix(JsonLines):
    """timestamp [s], shared_prefix_length, tail_input_length, output_length, shared_prefix_id."""

    name = "inference_perf"
    shape = "JSON lines with timestamp [s], shared_prefix_length, tail_input_length, output_length"
    unit = "s"
    holds = ("prefix", "prefix_tokens")
    keys = ("timestamp", "shared_prefix_length", "tail_input_length", "output_length")
    fields = ("time_ns", "prompt_tokens", "output_tokens", "prefix", "prefix_tokens")

    def row(self, data: dict[str, Any], options: Options) -> tuple[Any, ...]:
        """See JsonLines."""
        time_ns = instant(data["timestamp"], "timestamp", options.time_unit or self.unit)
        shared = count(data["shared_prefix_length"], "shared_prefix_length", 0)
        tail = count(data["tail_input_length"], "tail_input_length", 0)
        prompt = count(shared + tail, "shared_prefix_length + tail_input_length")
        name = data.get("shared_prefix_id")
        if name is not None and type(name) is not int:
            raise RowError(f"shared_prefix_id must be a whole number, got {shown(name)}")
        known = name is not None and shared > 0
        return (
            time_ns,
            prompt,
            count(data["output_length"], "output_length"),
            str(name) if known else "",
            shared if known else 0,
        )

    def texts(self, block: TraceBlock) -> Iterator[str]:
        """See JsonLines; names that are no numbers become numbers."""
        prefix, shared = block.column("prefix").tolist(), block.column("prefix_tokens")
        rows = zip(
            seconds(block.time_ns),
            shared.tolist(),
            (block.prompt_tokens - shared).tolist(),
            block.output_tokens.tolist(),
            prefix,
            strict=True,
        )
        for time, head, tail, output, name in rows:
            known = f', "shared_prefix_id": {_number(name)}' if name and head else ""
            yield (
                f'{{"timestamp": {time}, "shared_prefix_length": {head}, "tail_input_length": {tail}, '
                f'"output_length": {output}{known}}}'
            )


def _number(name: str) -> int:
    is_number = name.isascii() and name.isdecimal() and len(name) < 19 and str(int(name)) == name
    return int(name) if is_number else text_word(name) >> 1


class Requests(Format):
    """A report of single requests: start_time, end_time, info, error."""

    name = "inference_perf_requests"
    shape = "a JSON array of objects with start_time, end_time and info (per_request_lifecycle_metrics.json)"
    ordered = False
    unit = "s"
    holds = ("elapsed_s",)

    def recognises(self, head: Head) -> bool:
        """See Format."""
        return head.start == "[" and {"start_time", "end_time", "info"} <= head.keys

    def open(self, path: Path, options: Options, report: Report) -> Opened:
        """See Format."""

        def rows(item: Any) -> Iterator[tuple[Any, ...]]:
            data = with_keys(item, ("start_time", "end_time", "info"))
            if data.get("error"):
                report.num_rows += 1
                report.left_out[FAILED] += 1
                return
            start = instant(data["start_time"], "start_time", options.time_unit or "s")
            end = instant(data["end_time"], "end_time", options.time_unit or "s")
            if end < start:
                raise RowError("end_time must not be before start_time", "time")
            info = with_keys(data["info"], ())
            prompt = _count(info, "input_tokens", ("request_metrics", "text", "input_tokens"))
            output = _count(info, "output_tokens", ("response_metrics", "output_tokens"))
            yield start, prompt, output, (end - start) / 1e9

        fields = ("time_ns", "prompt_tokens", "output_tokens", "elapsed_s")
        return Opened(array_batches(path, fields, rows, report))

    def write(self, file: IO[bytes], blocks: Iterable[TraceBlock]) -> int:
        """See Format; where it is not known when answers ended, at once."""
        return write_array(file, (self._texts(block) for block in blocks))

    def _texts(self, block: TraceBlock) -> list[str]:
        elapsed_ns = np.rint(np.nan_to_num(block.column("elapsed_s")) * 1e9).astype(np.int64)
        rows = zip(
            seconds(block.time_ns),
            seconds(block.time_ns + elapsed_ns),
            block.prompt_tokens.tolist(),
            block.output_tokens.tolist(),
            strict=True,
        )
        return [
            f'{{"start_time": {start}, "end_time": {end}, "request": "", "response": "", '
            f'"info": {{"input_tokens": {prompt}, "output_tokens": {output}}}, "error": null}}'
            for start, end, prompt, output in rows
        ]


def _count(info: dict[str, Any], name: str, path: tuple[str, ...]) -> int:
    """A count of `info`, where older or newer reports have it."""
    value: Any = info
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    value = info.get(name) if value is None else value
    if value is None:
        raise RowError(f"info.{name} is missing")
    return count(value, f"info.{name}")


SHARED_PREFIX: Final = SharedPrefix()
REQUESTS: Final = Requests()
