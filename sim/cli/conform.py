"""``tokenfleet conform``: replay recorded scheduler cases."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sim.cli import output


def conform(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR...", help="Folders of recorded cases, or folders that hold such folders."),
    ],
    *,
    clock: Annotated[Literal["compiled", "simpy"], typer.Option(help="Which clock plays the cases.")] = "compiled",
    leap: Annotated[bool, typer.Option("--leap/--no-leap", help="Take many decode steps as one event.")] = True,
    cache: Annotated[
        Literal["extents", "blocks"], typer.Option(help="Keep cached blocks as runs of blocks, or one by one.")
    ] = "extents",
    json: output.Json = False,
) -> None:
    """Replay what a real scheduler did with recorded requests; compare every step and every request.

    Exits with 1 where a case differs.
    """
    from sim.fleet.conform import conform as compare

    found = compare(folders, clock=clock, leap=leap, cache=cache)
    if json:
        output.print_json(found.to_dict())
    else:
        output.show(f"matched {found.num_cases - len(found.failures)} of {found.num_cases} ({found.num_steps:,} steps)")
        for failure in found.failures:
            output.show(str(failure))
    raise typer.Exit(1 if found.failures else 0)
