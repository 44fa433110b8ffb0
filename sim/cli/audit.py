"""``tokenfleet audit``: a model's life, stage by stage, each question answered with numbers."""

from pathlib import Path
from typing import Annotated

import typer

from sim.cli import output
from sim.cli.assignments import Override, Set


def audit(
    scenario: Annotated[
        str, typer.Argument(metavar="[SCENARIO]", help="A name from `tokenfleet list scenarios`, or a YAML file.")
    ] = "meridian-1",
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
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check a student's answers instead: a YAML file of {exercise: number}."),
    ] = None,
    json: output.Json = False,
) -> None:
    """Audit the model that SCENARIO serves: Stages 1 to 7 as audit.html, audit.md and audit.json.

    Every figure has a unit, and a source or the word assumed; what numbers cannot say stands beside them. With
    --answers, the exercises of docs/lessons are marked, and the exit code is 1 where an answer is wrong.
    """
    if answers is not None:
        _mark(answers, json=json)
        return
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


def _mark(file: Path, *, json: bool) -> None:
    """Compare a student's answers with ours."""
    from sim.errors import Problem, SpecError
    from sim.spec.load import read_file
    from sim.spec.text import read_text
    from sim.study.exercises import mark

    document = read_text(read_file(file, str(file)), str(file))
    if not isinstance(document.data, dict):
        raise SpecError(Problem("must be answers by exercise, such as 01.1: 25.95", str(file), 1))
    try:
        marks = mark(document.data)
    except SpecError as error:
        raise SpecError(*(document.problem((str(one.path),), one.message) for one in error.problems)) from None
    wrong = [one for one in marks if not one.right]
    if json:
        output.print_json(
            {"num_right": len(marks) - len(wrong), "marks": [vars(one) | {"answer": vars(one.answer)} for one in marks]}
        )
    else:
        for one in marks:
            unit = "" if one.answer.unit == "1" else f" {one.answer.unit}"
            told = "right" if one.right else f"wrong: it is {one.answer.value:.4g}{unit}. {one.answer.how}"
            output.say(f"{one.answer.id}  {one.given:g}{unit}  {told}")
    output.say(f"{len(marks) - len(wrong)} of {len(marks)} right")
    raise typer.Exit(1 if wrong else 0)
