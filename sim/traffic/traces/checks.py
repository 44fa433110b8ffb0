"""The checks that all formats share: order of time, repeated rows, and a unit of time that cannot be.

Repeats are told where times are fine, in formats such as Azure's from the first block on that has a time between two
milliseconds: two rows that agree in everything are one row twice. Where times are coarse, people and programs do send
equal requests at one tick (Mooncake's conversation trace has such a pair); there the rows are said to be doubled only
where more than half of 100 rows or more repeat another.

The unit is told by the mean rate and the span of a trace of 1000 rows or more: it is wrong where more than 1000
requests a second last less than a minute (seconds read as milliseconds), or where the trace spans more than three
years (milliseconds read as seconds). All these limits are assumed; what lies between cannot be told.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.errors import Problem, TraceError
from sim.traffic.traces.block import TraceBlock, joined
from sim.traffic.traces.flaws import MAX_PROBLEMS, Flaw
from sim.traffic.traces.format import Batch, Format, Options
from sim.traffic.traces.order import in_order, late_rows
from sim.traffic.traces.repair import Report

MIN_ROWS_DOUBLED, MIN_ROWS_UNIT = 100, 1000
MAX_RATE_PER_S, MIN_SPAN_S, MAX_SPAN_S = 1000.0, 60.0, 3 * 365.25 * 86400
_REPAIR = "Such rows can be repaired, and counted: --repair, in a scenario `repair: true` of its traffic."
_MAX_TAIL_ROWS, _MS_NS = 65_536, 1_000_000


def checked(
    batches: Iterator[Batch], kind: Format, path: Path, options: Options, report: Report
) -> Iterator[TraceBlock]:
    """Rows that are as they should be; raises TraceError for the first flaws, or repairs them."""
    if report.repair or not kind.ordered:
        batches = in_order(batches, path, report, note=kind.ordered)
    latest_ns: int | None = None
    first_ns, last_line = 0, 0
    repeats = Repeats(kind.fine)
    for batch in batches:
        block, line = batch.block, batch.line
        late = late_rows(block.time_ns, latest_ns)
        repeated = repeats.find(block)
        if report.repair:
            for flaw in batch.flaws:
                report.note(flaw.kind, flaw.line)
            report.note("duplicate", int(line[repeated.argmax()]) if len(line) else 0, int(repeated.sum()))
        else:
            _refuse([*batch.flaws, *_late(block, line, late, latest_ns), *_repeated(line, repeated)], path)
        if repeated.any():
            block, line = block.take(~repeated), line[~repeated]
        if not len(line):
            continue
        first_ns = int(block.time_ns[0]) if latest_ns is None else first_ns
        latest_ns, last_line = int(block.time_ns[-1]), int(line[-1])
        report.num_kept += len(line)
        yield block
    if latest_ns is None:
        raise TraceError(Problem("the trace has no requests", str(path)))
    if kind.unit is not None and options.time_unit is None:
        _check_unit(report.num_kept, (latest_ns - first_ns) / 1e9, kind, path, last_line)


def _refuse(flaws: list[Flaw], path: Path) -> None:
    flaws.sort(key=lambda flaw: flaw.line)
    if flaws:
        problems = [Problem(flaw.message, str(path), flaw.line) for flaw in flaws[:MAX_PROBLEMS]]
        error = TraceError(*problems)
        error.add_note(_REPAIR)
        raise error


def _late(block: TraceBlock, line: NDArray[np.int64], late: NDArray[np.bool_], latest_ns: int | None) -> Iterator[Flaw]:
    if not late.any():
        return
    before = np.maximum.accumulate(block.time_ns)
    before = before if latest_ns is None else np.maximum(before, latest_ns)
    for row in np.flatnonzero(late)[:MAX_PROBLEMS].tolist():
        back_s = (before[row] - block.time_ns[row]) / 1e9
        yield Flaw(int(line[row]), "order", f"the time goes back by {back_s:g} s; sort the trace by time")


def _repeated(line: NDArray[np.int64], repeated: NDArray[np.bool_]) -> Iterator[Flaw]:
    for row in np.flatnonzero(repeated)[:MAX_PROBLEMS].tolist():
        yield Flaw(int(line[row]), "duplicate", "the row repeats an earlier one, time and all")


class Repeats:
    """Finds rows that repeat an earlier row of the same time, block after block."""

    def __init__(self, may_be_fine: bool) -> None:
        self._may_be_fine, self._fine = may_be_fine, False
        self._tail: TraceBlock | None = None

    def find(self, block: TraceBlock) -> NDArray[np.bool_]:
        """Which rows do."""
        if not len(block):
            return np.zeros(0, dtype=bool)
        self._fine |= self._may_be_fine and bool(np.any(block.time_ns % _MS_NS))
        tail = self._tail
        goes_on = tail is not None and tail.time_ns[0] == block.time_ns[0] and tail.block_tokens == block.block_tokens
        before = len(tail) if goes_on and tail is not None else 0
        whole = joined([tail, block]) if goes_on and tail is not None else block
        found = _equal_rows(whole)[before:]
        last = np.flatnonzero(whole.time_ns == whole.time_ns[-1])[-_MAX_TAIL_ROWS:]
        self._tail = whole.take(last)
        if not self._fine and (len(block) < MIN_ROWS_DOUBLED or found.sum() <= len(block) / 2):
            found[:] = False
        return found


def _equal_rows(block: TraceBlock) -> NDArray[np.bool_]:
    """Rows that equal an earlier one in every column."""
    found = np.zeros(len(block), dtype=bool)
    same_time = np.concatenate([[False], block.time_ns[1:] == block.time_ns[:-1], [False]])
    rows = np.flatnonzero(same_time[1:] | same_time[:-1])
    if not len(rows):
        return found
    numbers = [block.output_tokens[rows], block.prompt_tokens[rows], block.time_ns[rows]]
    order = rows[np.lexsort(numbers)]
    equal = np.ones(len(order) - 1, dtype=bool)
    for column in (block.time_ns, block.prompt_tokens, block.output_tokens):
        equal &= column[order[1:]] == column[order[:-1]]
    if not equal.any():
        return found
    linked = np.concatenate([[False], equal, [False]])
    likely = np.sort(order[linked[1:] | linked[:-1]])
    some = block.take(likely)
    names = [name for name in some.optional if name not in {"hash_ids", "elapsed_s"}]
    columns = [some.time_ns, some.prompt_tokens, some.output_tokens, *(some.column(name) for name in names)]
    hashes = map(tuple, some.hash_ids) if some.hash_ids else [()] * len(some)
    seen: set[tuple[object, ...]] = set()
    for row, *values in zip(likely.tolist(), hashes, *(column.tolist() for column in columns), strict=True):
        key = tuple(values)
        found[row] = key in seen
        seen.add(key)
    return found


def _check_unit(num_rows: int, span_s: float, kind: Format, path: Path, line: int) -> None:
    """Raise TraceError where the numbers cannot be times of the unit that they are taken for."""
    if num_rows < MIN_ROWS_UNIT or span_s == 0.0:
        return
    rate_per_s = num_rows / span_s
    said = f"{num_rows:,} requests in {span_s:g} s if times are in {kind.unit}"
    told = " Say the unit, such as --set traffic.time_unit=s (s, ms or us)"
    if rate_per_s > MAX_RATE_PER_S and span_s < MIN_SPAN_S:
        message = f"{said}: {rate_per_s:,.0f} a second is too many to be true; are they in a larger unit?{told}"
        raise TraceError(Problem(message, str(path), line))
    if span_s > MAX_SPAN_S:
        message = f"{said}: {span_s / (365.25 * 86400):.0f} years; are they in a smaller unit?{told}"
        raise TraceError(Problem(message, str(path), line))
