"""``tokenfleet audit``: a model's life, stage by stage, each question answered with numbers."""

from pathlib import Path
from typing import Annotated

import typer

from sim.cli import output
from sim.cli.assignments import Override, Set


def audit(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A name from `tokenfleet list scenarios`, or a YAML file.")
    ],
    *,
    lifecycle: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="How the model is made.", show_default="the lifecycle of that name"),
    ] = None,
    set_: Set = None,
    override: Override = None,
    whole: Annotated[
        bool, typer.Option("--whole/--tenth", help="Play the day at full size, or a tenth of it (seconds).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The audit's folder.", show_default="runs/SCENARIO-audit")
    ] = None,
    json: output.Json = False,
) -> None:
    """Audit the model that SCENARIO serves: Stages 1 to 7 as audit.html, audit.md and audit.json.

    Every figure has a unit, and a source or the word assumed; what numbers cannot say stands beside them.
    """
    import sim
    from sim import catalog
    from sim.metrics.writer import check_output
    from sim.report.audit import PAGE, headline, write_audit
    from sim.study.audit import SCALE
    from sim.study.audit import audit as audit_of

    served = sim.load(scenario, set=set_ or (), override=override or ())
    spec = catalog.load_lifecycle(lifecycle or scenario)
    folder = out or Path("runs") / f"{served.name}-audit"
    check_output(folder)
    found = audit_of(spec, served, scale=1.0 if whole else SCALE)
    write_audit(found, folder)
    if json:
        output.print_json(found.to_dict())
    else:
        for title, value in headline(found):
            output.say(f"{title + ':':36} {value}")
    output.say(f"Audit: {folder / PAGE}")
