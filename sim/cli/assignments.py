"""``--set a.b=c`` and ``--override NAME``: how the command line changes a scenario."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

Set = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field, such as fleet.pools.main.replicas=40. May be repeated."
    ),
]
Override = Annotated[
    list[str], typer.Option("--override", metavar="NAME", help="Apply a named override of the scenario. May be repeated.")
]


def changes(assignments: Sequence[str], shorthands: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted path -> value for ``PATH=VALUE`` texts and for the `shorthands` that were given.

    A value keeps the text of the command line; the specification reads it as it would read YAML.
    """
    found: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not (path and equals):
            message = f"{assignment!r} is not PATH=VALUE, such as fleet.pools.main.replicas=40"
            raise typer.BadParameter(message, param_hint="--set")
        found[path] = value
    return found | {path: value for path, value in shorthands.items() if value is not None}
