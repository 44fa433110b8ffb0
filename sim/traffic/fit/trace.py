"""A workload fitted to a trace, and how well it fits."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.spec.workload import Workload
from sim.traffic.fit.goodness import (
    TEXT_EVERY,
    Row,
    arrival_rows,
    independence_row,
    length_rows,
    table,
    text_rows,
)
from sim.traffic.fit.model import Model, fit_model
from sim.traffic.fit.recorded import Recorded, recorded_of
from sim.traffic.fit.window import playable
from sim.traffic.traces import TraceBlock, read_trace
from sim.traffic.turns import Service

SERVICE = Service(ttft_s=1.0, tpot_s=0.03)
"""Time of an answer where nothing is known of it: *assumed*; a second, then 33 tokens a second."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted workload."""

    workload: Workload
    text: str
    """The workload as YAML: what to write into a file."""
    goodness: tuple[Row, ...]
    """The trace against generated traffic, quantity by quantity."""

    @property
    def passed(self) -> bool:
        """Every aim is met."""
        return all(row.passed is not False for row in self.goodness)


def fit_trace(
    path: str | Path,
    trace_format: str,
    *,
    blocks: Iterable[TraceBlock] | None = None,
    done: Sequence[str] = (),
    seed: int = 1,
    service: Service = SERVICE,
    replications: int = 200,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Fit a workload to a trace, generate from it, and compare.

    Parameters
    ----------
    path, trace_format
        The trace.
    blocks, done
        Its requests, if something was done to them first, and what that was.
    seed
        Of the generated traffic; its replications have the seeds after it.
    service
        How long an answer took, which the trace does not say; matters where there are conversations.
    replications
        Of the generated traffic, at least; more where their mean would not be known within 1 %.
    say
        Called with the table of the comparison.

    Raises
    ------
    TraceError
        The trace is wrong, or too short.
    """
    file = Path(path).name
    recorded = recorded_of(read_trace(path, trace_format) if blocks is None else blocks, str(path))
    source = ", ".join((file, *done))
    name = file.split(".")[0]
    model = fit_model(recorded, name, f"{source} ({len(recorded):,} requests in {recorded.span_s:,.0f} s)", service)
    goodness = tuple(compared(model, recorded, seed=seed, service=service, replications=replications))
    say(table(goodness))
    return Fitted(model.workload, model.text, goodness)


def compared(model: Model, recorded: Recorded, *, seed: int, service: Service, replications: int) -> Iterator[Row]:
    """The trace against traffic generated from the fitted workload, played as `kind: sessions` plays it."""
    source = playable(model.workload, recorded.span_s)
    yield from length_rows(model, recorded, source, seed)
    yield independence_row(recorded)
    yield from arrival_rows(model, recorded, source, seed, service, replications)
    if len(model.later_tokens):
        yield from text_rows(model, recorded, source, seed, service, max(replications // TEXT_EVERY, 2))


__all__ = ["SERVICE", "Fitted", "compared", "fit_trace"]
