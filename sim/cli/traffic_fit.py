"""``tokenfleet traffic --fit``: a workload fitted to a trace, or clients to a description, and how well they fit."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli import output

if TYPE_CHECKING:
    from sim.traffic.fit import Row
    from sim.traffic.subject import Subject
    from sim.traffic.turns import Service


def fit_trace(subject: "Subject", *, service: "Service | None", out: Path | None, json: bool) -> None:
    """Fit a workload to the trace of `subject`, write it, and print the comparison."""
    from sim.errors import Problem, SpecError
    from sim.metrics.writer import check_output
    from sim.report.page import write_page
    from sim.spec import TraceTraffic
    from sim.traffic.fit import SERVICE
    from sim.traffic.fit import fit_trace as fit

    traffic = subject.scenario.traffic
    if not isinstance(traffic, TraceTraffic):
        message = f"a workload is fitted to the file of a trace; this is a {subject.kind}"
        raise SpecError(Problem(message, file="--fit"))
    if subject.operations or traffic.operations or traffic.repair:
        message = "a fit reads the file as it is; write what you want to fit with --export first, and fit that"
        raise SpecError(Problem(message, file="--fit"))
    folder = out or Path("runs") / subject.scenario.name
    path = Path(traffic.path).expanduser()
    check_output(folder)
    said = output.say if json else output.show
    fitted = fit(path, traffic.format, seed=subject.scenario.seed, service=service or SERVICE, say=said)
    file = folder / "workload.yaml"
    write_page(fitted.text, file)
    if json:
        output.print_json(
            {"workload": str(file), "passed": bool(fitted.passed), "goodness": [_told(row) for row in fitted.goodness]}
        )
    output.say(f"Workload: {file}; look at it with `tokenfleet traffic {file}`")


def describes_clients(what: str) -> bool:
    """Return whether there is ServeGen's description of clients under this name."""
    from sim.traffic.traces.formats import describes_clients as is_description

    path = Path(what).expanduser()
    return path.exists() and is_description(path)


def fit_clients(path: Path, *, plain: bool, out: Path | None, json: bool) -> None:
    """Fit the clients of `traffic.api` to a description, write them, and print the comparison.

    `plain`: no option asks for more than that.
    """
    from sim.errors import Problem, SpecError
    from sim.metrics.writer import check_output
    from sim.report.page import write_page
    from sim.spec.text import write_text
    from sim.traffic.fit import fit_clients as fit
    from sim.traffic.fit import table

    if not plain:
        message = "clients are fitted to a description as it is; leave the other options out (but --out and --json)"
        raise SpecError(Problem(message, file="--fit"))
    folder = out or Path("runs") / path.name.split(".")[0]
    check_output(folder)
    fitted = fit(path)
    (output.say if json else output.show)(table(fitted.goodness))
    file = folder / "clients.yaml"
    found = {"api": fitted.fields, "hourly": list(fitted.hourly), "lengths": fitted.lengths}
    write_page(write_text(found, compact=True), file)
    if json:
        goodness = [_told(row) for row in fitted.goodness]
        output.print_json({"clients": str(file), "passed": fitted.passed, "goodness": goodness})
    output.say(f"Clients: {file}; its `api` are fields of `traffic.api`")


def _told(row: "Row") -> dict[str, Any]:
    """Return a row of the comparison as plain data; a bound that does not exist is null."""
    numbers = {name: float(getattr(row, name)) for name in ("trace", "generated", "low", "high")}
    found: dict[str, Any] = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    passed = None if row.passed is None else bool(row.passed)
    return {"quantity": row.quantity, **found, "aim": row.aim or None, "passed": passed}
