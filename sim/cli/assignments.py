"""``--set a.b=c`` and ``--override NAME``: how the command line changes a scenario."""

from typing import Annotated

import typer

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PATH=VALUE", help="Change one field, such as fleet.pools.main.replicas=40. May be repeated."
    ),
]
Override = Annotated[
    list[str] | None,
    typer.Option("--override", metavar="NAME", help="Apply an override of the scenario. May be repeated."),
]
