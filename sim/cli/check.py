"""``tokenfleet check``: read scenarios without running them."""

from typing import Annotated, Any

import typer

from sim.cli import output
from sim.cli.assignments import Override, Set


def check(
    scenario: Annotated[
        list[str], typer.Argument(metavar="SCENARIO...", help="Names from `tokenfleet list scenarios`, or YAML files.")
    ],
    *,
    set_: Set = None,
    override: Override = None,
    json: output.Json = False,
) -> None:
    """Validate each SCENARIO, whether its models fit included; list what is wrong; exit with 2 where anything is."""
    import sim
    from sim.errors import TokenfleetError
    from sim.fleet.build import build
    from sim.study.ladder import load_rungs

    exit_code = 0
    found: list[dict[str, Any]] = []
    for name in scenario:
        try:
            spec = sim.load(name, set=set_ or (), override=override or ())
            build(spec)
            if spec.ladder:
                load_rungs(name, set_ or ())
        except TokenfleetError as error:
            exit_code = error.exit_code
            found.append({"scenario": name, "ok": False, "problems": [str(problem) for problem in error.problems]})
            output.say(f"{name}: {type(error).__name__}\n{error}")
        else:
            found.append({"scenario": name, "ok": True, "digest": spec.digest, "problems": []})
            if not json:
                output.show(f"{name}: ok")
    if json:
        output.print_json({"scenarios": found})
    raise typer.Exit(exit_code)
