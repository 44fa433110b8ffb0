"""``tokenfleet run``: simulate a scenario and write its folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sim.cli import output
from sim.cli.assignments import Override, Set
from sim.cli.progress import watch


def run(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help="A name from `tokenfleet list scenarios`, or a YAML file.")
    ],
    *,
    set_: Set = None,
    override: Override = None,
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Simulate this long, such as 2h; the same as --set horizon=2h.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw other people from the same population.")] = None,
    clock: Annotated[
        Literal["compiled", "simpy"], typer.Option(help="Both give the same result; SimPy can be watched, and is slow.")
    ] = "compiled",
    leap: Annotated[
        bool, typer.Option("--leap/--no-leap", help="Take many decode steps as one event; the same result either way.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run's folder.", show_default="runs/SCENARIO")
    ] = None,
    json: output.Json = False,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write report.html.")] = True,
) -> None:
    """Simulate SCENARIO; write result.json, the records and report.html into a folder.

    A scenario with a ladder is run once for each of its rungs, and a table compares them; --override NAME runs one.
    """
    import sim

    shorthands = {"horizon": duration, "seed": seed}
    changes = [*(set_ or ()), *(f"{path}={value}" for path, value in shorthands.items() if value is not None)]
    spec = sim.load(scenario, set=changes, override=override or ())
    folder = out or Path("runs") / spec.name
    if spec.ladder:
        from sim.cli.ladder import run_ladder

        run_ladder(spec, scenario, changes, clock=clock, leap=leap, folder=folder, json=json, report=report)
        return
    with watch(spec.name, start_s=-spec.run_in_s, end_s=spec.horizon_s) as progress:
        done = sim.run(spec, clock=clock, leap=leap, out=folder, progress=progress)
    done.write(folder)
    if report:
        done.report(folder / "report.html")

    if json:
        output.print_json({**done.result, "run_info": done.info})
    else:
        from sim.report.terminal import render_result

        output.show(render_result(done.result, done.info))
    output.say(f"Report: {folder / 'report.html'}" if report else f"Result: {folder / 'result.json'}")
