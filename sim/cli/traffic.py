"""``tokenfleet traffic``: what traffic is like, written down as a trace, or fitted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import output
from sim.cli.assignments import Override, Set
from sim.cli.progress import watch
from sim.cli.quantities import Reader

if TYPE_CHECKING:
    from sim.traffic.subject import Subject

_BY_ENDING = {"parquet": "parquet", "csv": "azure", "jsonl": "mooncake"}


def traffic(
    what: Annotated[
        str,
        typer.Argument(metavar="WHAT", help="A scenario or a workload, by name or YAML file; or the file of a trace."),
    ],
    *,
    trace_format: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Of a trace.", show_default="told by its shape")
    ] = None,
    set_: Set = None,
    override: Override = None,
    duration: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Look at so much, such as 2h.",
            show_default="a scenario's horizon, the whole of a trace, 24 h of a workload",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw other people from the same population.")] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Of a workload: conversations that start, such as 5/s.",
            show_default="as it says, else 1/s",
        ),
    ] = None,
    ttft: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time to an answer's first token.", show_default="0 s")
    ] = None,
    tpot: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time of every further token.", show_default="0 s")
    ] = None,
    cut: Annotated[
        str | None,
        typer.Option(metavar="FROM:TO", help="Keep a window of time, such as 10min:1h; either may be left out."),
    ] = None,
    thin: Annotated[
        float | None, typer.Option(metavar="FRAC", help="Keep a fraction of the sessions.", show_default="all")
    ] = None,
    scale: Annotated[
        float | None, typer.Option(metavar="TIMES", help="Let requests come so many times as fast.")
    ] = None,
    shift: Annotated[str | None, typer.Option(metavar="TIME", help="Let requests come so much later.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Repair the flaws of a trace, and count them.")] = False,
    block_tokens: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS", help="Tokens of a block of text.", min=1, show_default="the trace's own, else 512"
        ),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the requests as a trace; gzip where it ends in .gz.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Of the exported trace.", show_default="by the file's ending")
    ] = None,
    fit: Annotated[
        bool,
        typer.Option("--fit", help="Fit a workload to a trace, or API clients to ServeGen's, and compare."),
    ] = False,
    compare: Annotated[
        str | None, typer.Option(metavar="OTHER", help="Show another WHAT beside it, with the same options.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write traffic.json and traffic.html (with --fit, workload.yaml) here."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Say what WHAT's traffic is like: rates, burstiness, lengths, turns, gaps, prefix reuse, who sends how much.

    Generated requests are those of a fleet that answers in the time given by --ttft and --tpot. Cut, thin, scale and
    shift are done in this order. docs/traffic.md defines every number.
    """
    from sim.spec import TraceOperation
    from sim.traffic.subject import find
    from sim.traffic.turns import Service

    reader = Reader()
    ends_s = reader.window("--cut", cut)
    kept = reader.positive("--thin", thin, "1", most=1.0)
    times = reader.positive("--scale", scale, "1")
    by_s = reader.read("--shift", shift, "s")
    rate_per_s = reader.positive("--rate", rate, "1/s")
    service = Service(reader.read("--ttft", ttft, "s") or 0.0, reader.read("--tpot", tpot, "s") or 0.0)
    reader.check()
    from_s, to_s = ends_s or (None, None)
    wanted = {
        "cut": {"from": from_s, "to": to_s},
        "thin": {"frac": kept},
        "scale": {"rate": times},
        "shift": {"by": by_s},
    }
    operations = [
        TraceOperation.from_dict({"do": name, **fields})
        for name, fields in wanted.items()
        if any(value is not None for value in fields.values())
    ]
    shorthands = {"horizon": duration, "seed": seed}
    changes = [*(set_ or ()), *(f"{path}={value}" for path, value in shorthands.items() if value is not None)]

    def subject_of(name: str, **of_a_trace: Any) -> "Subject":
        return find(
            name,
            changes=changes,
            rate_per_s=rate_per_s,
            operations=tuple(operations),
            service=service,
            block_tokens=block_tokens,
            **of_a_trace,
        )

    if out is not None:
        from sim.metrics.writer import check_output

        check_output(out)
    if fit and (export is not None or compare is not None):
        from sim.errors import Problem, SpecError

        option = "--export" if export is not None else "--compare"
        raise SpecError(Problem("not together with --fit, which writes a workload and compares it itself", file=option))
    subject = subject_of(what, trace_format=trace_format, repair=repair, override=override or ())
    if fit:
        from sim.cli.traffic_fit import fit_trace

        fit_trace(subject, service=service if ttft or tpot else None, out=out, json=json)
        return
    if export is not None:
        _export(subject, export, to)
        if not (json or out):
            return
    found = _looked_at(subject)
    others = [_looked_at(subject_of(compare))] if compare is not None else []
    _tell(found, others, out, json=json)


def _fits_alone(export: Path | None, compare: str | None) -> None:
    """Refuse what a fit would leave undone."""
    from sim.errors import Problem, SpecError

    both = {"--export": export, "--compare": compare}
    SpecError.raise_if(
        Problem(f"a fit does not do this; leave out {option} or --fit", file=option)
        for option, given in both.items()
        if given is not None
    )


def _looked_at(subject: "Subject") -> dict[str, Any]:
    """Return the statistics of some traffic; of generated traffic, with a bar meanwhile."""
    if subject.is_recorded:
        return subject.statistics()
    spec = subject.scenario
    with watch(spec.name, start_s=-spec.run_in_s, end_s=spec.horizon_s, first="drawing people") as progress:
        return subject.statistics(progress)


def _export(subject: "Subject", path: Path, trace_format: str | None) -> None:
    """Write requests as a trace, and say what it could not hold."""
    from sim.errors import Problem, SpecError, did_you_mean
    from sim.traffic.traces import FORMATS, write_trace

    name = trace_format or _BY_ENDING.get(path.name.removesuffix(".gz").rpartition(".")[2])
    if name not in FORMATS:
        help_ = did_you_mean(name, FORMATS) if name else f"Known: {', '.join(FORMATS)}."
        what = f'"{name}" is no trace format' if name else f"the ending of {path} does not tell a format"
        raise SpecError(Problem(f"{what}. {help_}", file="--to"))
    written = write_trace(path, subject.blocks(hashed="hash_ids" in FORMATS[name].holds), name)
    lost = f"; {name} has no place for {', '.join(written.lost)}" if written.lost else ""
    output.say(f"Trace: {path} ({written.num_rows:,} requests{lost})")
    if subject.report.num_changes:
        output.say(str(subject.report))


def _tell(found: dict[str, Any], others: list[dict[str, Any]], out: Path | None, *, json: bool) -> None:
    """Print statistics, and write them into a folder."""
    from sim.report import traffic_page

    told = {**found, "compared_with": others[0]} if others else found
    if json:
        output.print_json(told)
    elif others:
        output.show(traffic_page.render_compared(found, others[0]))
    else:
        output.show(traffic_page.render_traffic(found))
    if out is not None:
        traffic_page.write_folder(told, out)
        output.say(f"Figures: {out / traffic_page.PAGE}")
