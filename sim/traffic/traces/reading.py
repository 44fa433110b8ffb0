"""A trace as blocks of requests, whatever its format."""

from collections.abc import Iterator
from pathlib import Path

from sim.errors import Problem, TraceError
from sim.traffic.traces.block import TraceBlock
from sim.traffic.traces.checks import checked
from sim.traffic.traces.format import Options
from sim.traffic.traces.formats import format_of
from sim.traffic.traces.repair import Report
from sim.traffic.traces.timing import timed

DEFAULTS = Options()


def read_trace(
    path: str | Path, trace_format: str = "auto", options: Options = DEFAULTS, report: Report | None = None
) -> Iterator[TraceBlock]:
    """Yield the requests of a trace, in order of time; memory does not grow with the file.

    Parameters
    ----------
    path
        The file, plain or gzip.
    trace_format
        A key of FORMATS, or auto: the format is told by the file's shape.
    options
        What the file does not say itself.
    report
        Counts what became of the rows; where its `repair` is set, flaws are repaired.

    Raises
    ------
    TraceError
        The file cannot be read, is empty, or has wrong rows (the first 20 of a block are named).
    """
    path, report = Path(path), Report() if report is None else report
    kind = format_of(path, trace_format)
    found = kind.open(path, options, report)
    batches = found.batches
    if not found.timed:
        if options.rate_per_s is None:
            advice = "say at which rate its requests arrive, such as --set traffic.rate_per_s=2"
            message = f"a {kind.name} file without times: {advice}"
            raise TraceError(Problem(message, str(path)))
        batches = timed(batches, options.rate_per_s, options)
    yield from checked(batches, kind, path, options, report)
