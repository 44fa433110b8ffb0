"""Where a verb writes: the result on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print the result alone, as JSON, on standard output.")]

UNBROKEN = 1000  # [columns] wider than any table


def print_json(result: Mapping[str, Any]) -> None:
    """Print `result` as JSON on standard output."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False))


def show(renderable: RenderableType) -> None:
    """Print a table or a text for people on standard output; into a file or a pipe, lines are as long as they are."""
    Console(width=None if sys.stdout.isatty() else UNBROKEN, markup=False).print(renderable)


def say(message: str) -> None:
    """Print a message that is no part of the result: on standard error."""
    typer.echo(message, err=True)
