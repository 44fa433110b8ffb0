"""Rows put in the order of their times, with a bounded number of them in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces.block import joined
from sim.traffic.traces.flaws import Flaw
from sim.traffic.traces.format import Batch
from sim.traffic.traces.repair import Report

WINDOW_ROWS = 262_144  # assumed: a row that comes later than this many rows is not sorted in, but refused


def in_order(batches: Iterator[Batch], path: Path, report: Report, *, note: bool) -> Iterator[Batch]:
    """Rows in order of time, rows of one time as in the file; `note` counts those that moved as repairs."""
    latest_ns: int | None = None
    given_ns: int | None = None
    held: list[Batch] = []
    num_held = 0

    def released(everything: bool) -> Batch:
        nonlocal given_ns, num_held
        block = joined([batch.block for batch in held])
        line = np.concatenate([batch.line for batch in held])
        flaws: list[Flaw] = [flaw for batch in held for flaw in batch.flaws]
        order = np.argsort(block.time_ns, kind="stable")
        block, line = block.take(order), line[order]
        if len(line) and given_ns is not None and block.time_ns[0] < given_ns:
            message = f"comes more than {WINDOW_ROWS:,} rows late; sort the trace by time"
            raise TraceError(Problem(message, str(path), int(line[0])))
        cut = len(line) if everything else len(line) // 2
        given_ns = int(block.time_ns[cut - 1]) if cut else given_ns
        held[:] = [Batch(block.take(slice(cut, None)), line[cut:], [])]
        num_held = len(line) - cut
        return Batch(block.take(slice(cut)), line[:cut], flaws)

    for batch in batches:
        if note and len(batch.line):
            late = late_rows(batch.block.time_ns, latest_ns)
            report.note("order", int(batch.line[late.argmax()]), int(late.sum()))
        if len(batch.line):
            top = int(batch.block.time_ns.max())
            latest_ns = top if latest_ns is None else max(latest_ns, top)
        held.append(batch)
        num_held += len(batch.line)
        if num_held >= 2 * WINDOW_ROWS or sum(len(one.flaws) for one in held) >= WINDOW_ROWS:
            yield released(everything=False)
    if held:
        yield released(everything=True)


def late_rows(time_ns: NDArray[np.int64], latest_ns: int | None) -> NDArray[np.bool_]:
    """Which rows come before a row that stands before them."""
    if not len(time_ns):
        return np.zeros(0, dtype=bool)
    before = np.maximum.accumulate(time_ns)
    if latest_ns is not None:
        before = np.maximum(before, latest_ns)
    return np.asarray(time_ns < before)
