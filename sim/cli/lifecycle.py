"""``tokenfleet lifecycle``: a model's life stage by stage, in numbers."""

from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import output
from sim.cli.assignments import Set

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sim.lifecycle.figures import Figure
    from sim.lifecycle.stages import Stages

SCALE, PEAK_FACTOR, TARGET = 0.05, 1.5, 0.9
"""Of the fleets of choices: part of the users, highest rate of the day over its mean, requests that keep their SLO."""


def lifecycle(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="A name from `tokenfleet list lifecycles`, or a YAML file.")
    ],
    *,
    choices: Annotated[
        bool,
        typer.Option(
            "--choices",
            help="Print what choices (attention, vocabulary, context, weights, experts) change downstream instead: "
            "a fleet is sized for each, which takes some minutes.",
        ),
    ] = False,
    set_: Set = None,
    json: output.Json = False,
) -> None:
    """Print the stages of a model's life: each figure with unit, range, and its source or the word assumed."""
    from sim import catalog
    from sim.lifecycle.stages import stages_of

    stages = stages_of(catalog.load_lifecycle(spec, set=set_ or ()))
    if choices:
        _print_choices(stages, json=json)
    elif json:
        output.print_json(stages.to_dict())
    else:
        output.show(_as_tables(stages))


def _print_choices(stages: "Stages", *, json: bool) -> None:
    """Size and play a fleet for each choice; print the table."""
    from dataclasses import asdict

    from sim.report.choices import render_choices
    from sim.study.echo import CHOICES, echo, scenario_of

    scenario = scenario_of(stages.spec)
    output.say(f"{len(CHOICES)} fleets are sized and played, a twentieth of {scenario.name}: some two minutes")
    rows = []
    for row in echo(stages, scenario, scale=SCALE, peak_factor=PEAK_FACTOR, target=TARGET):
        output.say(f"  {row.choice}")
        rows.append(row)
    if json:
        output.print_json({"choices": [asdict(row) for row in rows]})
    else:
        output.show(render_choices(stages.spec.name, rows))


def _as_tables(stages: "Stages") -> "RenderableType":
    """Return one table a stage, and the sources they refer to by number."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    numbers: dict[str, int] = {}
    tables: list[RenderableType] = [Text(f"{stages.spec.name}: {stages.spec.description}")]
    for stage in stages:
        table = Table("figure", "value", "range", "unit", "source", title=stage.title, box=box.SIMPLE_HEAD)
        for figure in stage.figures:
            number = numbers.setdefault(_whole_source(figure), len(numbers) + 1)
            table.add_row(
                figure.name, _shown(figure.value), _range(figure), figure.unit, f"{_kind(figure)} [{number}]".strip()
            )
        tables.append(table)
    notes = Table.grid(padding=(0, 1))
    for source, number in numbers.items():
        notes.add_row(f"[{number}]", Text(source, overflow="fold"))
    return Group(*tables, notes)


def _whole_source(figure: "Figure") -> str:
    """Return a figure's source with what a reader must know of it."""
    return f"{figure.source}. {figure.note}" if figure.note else figure.source


def _kind(figure: "Figure") -> str:
    """Return whether a figure is computed, published or assumed; the last also where an input of it is."""
    from sim.lifecycle.figures import ASSUMED, COMPUTED

    if figure.source.startswith(ASSUMED):
        return ASSUMED
    first = COMPUTED if figure.source.startswith(COMPUTED) else "published"
    return f"{first}, {ASSUMED}" if ASSUMED in figure.source else first


def _range(figure: "Figure") -> str:
    """Return the spread of a figure, or nothing where none is known."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{_shown(figure.low)} to {_shown(figure.high)}"


def _shown(value: float) -> str:
    """Return a number to four digits, large ones with thousands or as powers of ten."""
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
