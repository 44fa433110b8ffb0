"""``tokenfleet traffic --fit``: a workload or the programs of a scenario, fitted to a trace, and how well they fit."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.cli import output

if TYPE_CHECKING:
    from sim.traffic.fit import Row
    from sim.traffic.subject import Subject
    from sim.traffic.turns import Service


def fit_trace(subject: "Subject", *, service: "Service | None", out: Path | None, json: bool) -> None:
    """Fit a workload to the trace of `subject`, or programs to a description of clients; write and compare it."""
    from sim.errors import Problem, SpecError
    from sim.metrics.writer import check_output
    from sim.spec import TraceTraffic
    from sim.traffic.fit import SERVICE
    from sim.traffic.fit import fit_trace as fit
    from sim.traffic.traces.formats import describes_clients

    traffic = subject.scenario.traffic
    if not isinstance(traffic, TraceTraffic):
        message = f"a workload is fitted to the file of a trace; this is a {subject.kind}"
        raise SpecError(Problem(message, file="--fit"))
    folder = out or Path("runs") / subject.scenario.name
    path = Path(traffic.path).expanduser()
    check_output(folder)
    if traffic.format == "auto" and describes_clients(path):
        _fit_clients(subject, path, folder, json=json)
        return
    fitted = fit(
        path,
        traffic.format,
        blocks=subject.blocks(hashed=True),
        done=subject.done,
        seed=subject.scenario.seed,
        service=service or SERVICE,
        say=output.say if json else output.show,
    )
    if subject.report.num_changes:
        output.say(str(subject.report))
    file = _write(fitted.text, folder / "workload.yaml", fitted.goodness, json=json)
    output.say(f"Workload: {file}; look at it with `tokenfleet traffic {file}`")


def _fit_clients(subject: "Subject", path: Path, folder: Path, *, json: bool) -> None:
    """Fit the programs of a scenario to a description of clients."""
    from sim.errors import Problem, SpecError
    from sim.traffic.fit import fit_clients, table

    if subject.done or subject.report.repair:
        message = "a description of clients holds no requests that could be cut, thinned or repaired"
        raise SpecError(Problem(message, file="--fit"))
    fitted = fit_clients(path)
    text = fitted.text(path.name)
    said = output.say if json else output.show
    said(table(fitted.goodness))
    said(f"\n{text}")
    file = _write(text, folder / "api.yaml", fitted.goodness, json=json)
    output.say(f"Programs: {file}; paste it under `traffic` of a scenario of people (kind: population)")


def _write(text: str, file: Path, goodness: "Sequence[Row]", *, json: bool) -> Path:
    """Write what was fitted; as JSON, say where it is and how well it fits."""
    from sim.report.page import write_page

    write_page(text, file)
    if json:
        passed = all(row.passed is not False for row in goodness)
        output.print_json({file.stem: str(file), "passed": passed, "goodness": [_told(row) for row in goodness]})
    return file


def _told(row: "Row") -> dict[str, Any]:
    """Return a row of the comparison as plain data; a bound that does not exist is null."""
    numbers = {name: float(getattr(row, name)) for name in ("trace", "generated", "low", "high")}
    found: dict[str, Any] = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"quantity": row.quantity, **found, "aim": row.aim or None, "passed": row.passed}
