"""A trace as a scenario wants it: read, then operated on; times count from its first request."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sim.spec.trace import TraceOperation
from sim.traffic.traces import operations as do
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.format import Options
from sim.traffic.traces.reading import DEFAULTS, read_trace
from sim.traffic.traces.repair import Report


def played(
    path: Path,
    trace_format: str = "auto",
    options: Options = DEFAULTS,
    operations: Sequence[TraceOperation] = (),
    report: Report | None = None,
) -> Iterator[TraceBlock]:
    """The requests of a trace after all operations; raises TraceError as read_trace does."""
    report = Report() if report is None else report
    blocks = do.relative(read_trace(path, trace_format, options, report))
    for operation in operations:
        blocks = operated(blocks, operation, options, report)
    return blocks


def operated(
    blocks: Iterator[TraceBlock], operation: TraceOperation, options: Options, report: Report
) -> Iterator[TraceBlock]:
    """Requests after one operation; `options` and `report` are those of reading another trace."""
    match operation.do:
        case "cut":
            end_s = float("inf") if operation.to_s is None else operation.to_s
            return do.cut(blocks, operation.from_s or 0.0, end_s)
        case "thin":
            return do.thin(blocks, _said(operation.frac), options.seed)
        case "scale":
            return do.scale(blocks, _said(operation.rate))
        case "shift":
            return do.shift(blocks, _said(operation.by_s))
    other = do.relative(
        read_trace(Path(operation.path or "").expanduser(), operation.format or "auto", options, report)
    )
    if operation.do == "merge":
        return do.merge(blocks, other)
    return do.splice(blocks, other, gap_s=operation.gap_s or 0.0)


def _said(value: float | None) -> float:
    """A value that the specification makes sure of."""
    if value is None:
        raise AssertionError
    return value
