"""What `tokenfleet traffic` looks at: a scenario's traffic, a workload by itself, or a recorded trace."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import yaml

from sim import catalog
from sim.errors import CatalogError, Problem, SpecError, TraceError, did_you_mean
from sim.spec import Scenario, TraceOperation, TraceTraffic
from sim.spec.load import read_scenario
from sim.spec.text import read_text
from sim.traffic.arrivals import Source
from sim.traffic.assemble import build
from sim.traffic.export import trace_blocks
from sim.traffic.statistics import MAX_BLOCKS, Seen, SourceView, Statistics, TraceView
from sim.traffic.traces import HASH_BLOCK_TOKENS, Options, Report, TraceBlock
from sim.traffic.traces import operations as do
from sim.traffic.traces.formats import describes_clients
from sim.traffic.traces.playing import operated, played
from sim.traffic.turns import AT_ONCE, Service
from sim.traffic.unfold import Requests, unfold

DEFAULT_RATE_PER_S = 1.0
"""Rate of conversations of a workload that does not say when they start: *assumed*, to have something to look at."""
DEFAULT_DURATION = "24 h"
SAMPLE_BLOCKS = 1_000_000
"""Blocks of text from which the reuse of generated traffic is told; where there are more, a share of conversations."""
_YAML = (".yaml", ".yml")
Kind = Literal["scenario", "workload", "trace"]
Progress = Callable[[float, int], None]


@dataclass(frozen=True, eq=False)
class Subject:
    """Traffic to look at."""

    kind: Kind
    scenario: Scenario
    service: Service = AT_ONCE
    """How long an answer takes; a trace's arrivals do not ask."""
    operations: tuple[TraceOperation, ...] = ()
    """What is done to the requests first; times count from t = 0, of a trace from its first request."""
    block_tokens: int | None = None
    """Tokens of a block of text; None: as a trace says, else HASH_BLOCK_TOKENS."""
    note: str | None = None
    """What was taken for granted."""
    report: Report = field(default_factory=Report)
    """What became of a trace's rows, once it has been read."""

    @property
    def is_recorded(self) -> bool:
        """Whether the requests come from a file."""
        return isinstance(self.scenario.traffic, TraceTraffic)

    @property
    def done(self) -> tuple[str, ...]:
        """What is done to a trace's requests before they are looked at, in short."""
        traffic = self.scenario.traffic
        own: list[str] = []
        if isinstance(traffic, TraceTraffic):
            own += [str(each) for each in traffic.operations]
            own += [] if traffic.rate_scale == 1.0 else [f"scale {traffic.rate_scale:g}"]
        return (*own, *(str(each) for each in self.operations))

    @cached_property
    def source(self) -> Source:
        """Where generated requests come from.

        Raises
        ------
        SpecError
            It cannot be built; or it is a closed loop whose answers take no time, so that all would come at once.
        """
        if self.scenario.traffic.kind == "closed_loop" and self.service == AT_ONCE:
            message = "users who wait for their answers, which take no time; say how long with --ttft and --tpot"
            raise SpecError(Problem(message, path="traffic.kind"))
        return build(self.scenario)

    def blocks(self, *, hashed: bool) -> Iterator[TraceBlock]:
        """The requests as a trace, all operations done; generated ones with or without hash ids."""
        traffic = self.scenario.traffic
        found = self._recorded(traffic) if isinstance(traffic, TraceTraffic) else self._generated(hashed)
        for operation in self.operations:
            found = operated(found, operation, Options(seed=self.scenario.seed), self.report)
        return found

    def _recorded(self, traffic: TraceTraffic) -> Iterator[TraceBlock]:
        options = Options(
            time_unit=traffic.time_unit,
            block_tokens=self.block_tokens or traffic.block_tokens,
            rate_per_s=traffic.rate_per_s,
            turn_gap_s=traffic.turn_gap_s,
            chars_per_token=traffic.chars_per_token,
            seed=self.scenario.seed,
        )
        path = Path(traffic.path).expanduser()
        found = played(path, traffic.format, options, traffic.operations, self.report)
        if traffic.rate_scale != 1.0:
            found = do.scale(found, traffic.rate_scale)
        return do.cut(found, 0.0, self.scenario.horizon_s) if self.kind == "scenario" else found

    def _generated(self, hashed: bool) -> Iterator[TraceBlock]:
        block_tokens = (self.block_tokens or HASH_BLOCK_TOKENS) if hashed else None
        return trace_blocks(self._requests(), self.source, self.scenario.seed, self.service, block_tokens)

    def _requests(self) -> Iterator[Requests]:
        return unfold(self.source, self.scenario.seed, self.service, self.scenario.horizon_s)

    def statistics(self, progress: Progress = lambda _now_s, _num: None) -> dict[str, Any]:
        """What the traffic is like; `progress` is called with the time reached [s] and the requests so far.

        Raises
        ------
        SpecError, TraceError
            As building the source or reading the trace does; or there is no request.
        """
        statistics, seen, end_s = self._seen()
        for part in seen:
            statistics.add(part)
            if len(part.t_s):
                progress(float(part.t_s[-1]), statistics.num)
        if not statistics.num:
            raise TraceError("no request is left to look at; look at more of the traffic")
        return {"traffic": self.described(), **statistics.result(end_s)}

    def _seen(self) -> tuple[Statistics, Iterator[Seen], float | None]:
        """Empty statistics, what they are to see, and when watching ends [s]."""
        if self.operations or self.is_recorded:
            blocks = self.blocks(hashed=True)
            first = next(blocks, None)
            some = [] if first is None else [first]
            block_tokens = HASH_BLOCK_TOKENS if first is None else first.block_tokens
            return Statistics(block_tokens, 1.0, MAX_BLOCKS), TraceView().seen(chain(some, blocks)), None
        block_tokens = self.block_tokens or HASH_BLOCK_TOKENS
        view = SourceView(self.source, self.scenario.seed, block_tokens, SAMPLE_BLOCKS)
        goes_on = self.scenario.traffic.kind in ("population", "sessions")
        end_s = self.scenario.horizon_s if goes_on else None
        return Statistics(block_tokens, view.sample_frac, MAX_BLOCKS), view.seen(self._requests()), end_s

    def described(self) -> dict[str, Any]:
        """What was looked at, and how."""
        traffic = self.scenario.traffic
        found: dict[str, Any] = {"kind": self.kind, "name": self.scenario.name, "source": traffic.kind}
        if isinstance(traffic, TraceTraffic):
            found |= {"path": traffic.path, "format": traffic.format, "rows": self.report.to_dict()}
        else:
            found |= {"seed": self.scenario.seed, "ttft_s": self.service.ttft_s, "tpot_s": self.service.tpot_s}
            found |= {"rows": None}
        return found | {"operations": [str(each) for each in self.operations], "note": self.note}


def find(
    what: str,
    *,
    trace_format: str | None = None,
    repair: bool = False,
    rate_per_s: float | None = None,
    changes: Sequence[str] = (),
    override: Sequence[str] = (),
    **known: Any,
) -> Subject:
    """The traffic that a name or a file means.

    Parameters
    ----------
    what
        A scenario or a workload, by name or YAML file; or the file of a trace.
    trace_format, repair
        Of a trace: how it is written (None: told by its shape), and whether its flaws are repaired.
    rate_per_s
        Of a workload: conversations that start in a second; None: as it says itself, else DEFAULT_RATE_PER_S.
    changes, override
        As `sim.load` takes them. A `horizon` among the changes is how much of a trace is read; else all of it.
    known
        Other fields of Subject.

    Raises
    ------
    SpecError
        Nothing of that name, or everything that is wrong with it.
    """
    kind = _kind(what, trace_format)
    SpecError.raise_if(_misplaced(kind, repair, rate_per_s, override))
    if kind == "scenario":
        return Subject(kind, catalog.load(what, set=changes, override=override), **known)
    traffic: dict[str, Any] = {"kind": "trace", "path": what, "format": trace_format or "auto", "repair": repair}
    note = None
    if kind == "workload":
        traffic, note = _sessions(what, rate_per_s)
    made = read_scenario(_scenario_of(what, traffic), changes=changes)
    if kind == "trace":
        if any(change.partition("=")[0].strip() == "horizon" for change in changes):
            first = TraceOperation.from_dict({"do": "cut", "to": made.horizon_s})
            known["operations"] = (first, *known.get("operations", ()))
        return Subject(kind, made, report=Report(repair=repair), **known)
    return Subject(kind, made, note=note, **known)


def _kind(what: str, trace_format: str | None) -> Kind:
    """Whether something is a scenario, a workload or a trace."""
    if trace_format is not None:
        return "trace"
    path = Path(what).expanduser()
    if path.suffix in _YAML and path.is_file():
        data = read_text(*catalog.read("scenarios", what)).data
        return "workload" if isinstance(data, dict) and "output_sequence_length" in data else "scenario"
    if (path.exists() and not path.is_dir()) or (path.is_dir() and describes_clients(path)):
        return "trace"
    names = {kind: list(catalog.list_entries(kind)) for kind in ("scenarios", "workloads")}
    if what in names["scenarios"]:
        return "scenario"
    if what in names["workloads"]:
        return "workload"
    message = f"no scenario, no workload and no {'trace in folder' if path.is_dir() else 'file'} {what}."
    raise CatalogError(f"{message} {did_you_mean(what, [*names['scenarios'], *names['workloads']])}")


def _misplaced(kind: Kind, repair: bool, rate_per_s: float | None, override: Sequence[str]) -> Iterator[Problem]:
    """Options that the kind does not have."""
    if repair and kind != "trace":
        yield Problem(f"only the file of a trace can be repaired; this is a {kind}", file="--repair")
    if rate_per_s is not None and kind != "workload":
        remedy = (
            "change the scenario with --set"
            if kind == "scenario"
            else "use --scale (or, of a file without times, --set traffic.rate_per_s)"
        )
        yield Problem(f"only a workload by itself takes a rate; this is a {kind}: {remedy}", file="--rate")
    if override and kind != "scenario":
        yield Problem(f"only a scenario has overrides; this is a {kind}", file="--override")


def _sessions(what: str, rate_per_s: float | None) -> tuple[dict[str, Any], str | None]:
    """The traffic of a workload by itself, and what is assumed of it."""
    traffic: dict[str, Any] = {"kind": "sessions", "workload": what}
    if rate_per_s is not None:
        return traffic | {"rate_per_s": rate_per_s}, None
    if catalog.load_workload(what).arrivals is not None:
        return traffic, None
    note = (
        f"the workload does not say when conversations start: {DEFAULT_RATE_PER_S:g} a second at random (a Poisson "
        "process) is assumed; --rate gives another rate"
    )
    return traffic | {"rate_per_s": DEFAULT_RATE_PER_S}, note


def _scenario_of(what: str, traffic: dict[str, Any]) -> str:
    """A scenario of such traffic, as YAML; the fleet that it runs on is never asked for."""
    path = Path(what).expanduser().absolute()
    data = {
        "name": path.parent.name if path.name == "workload.yaml" else path.name.split(".")[0],
        "model": "any",
        "hardware": "any",
        "horizon": DEFAULT_DURATION,
        "traffic": traffic,
        "fleet": {"pools": {"main": {"replicas": 1}}, "paths": {"default": [{"pool": "main"}]}},
    }
    return yaml.safe_dump(data, sort_keys=False)
