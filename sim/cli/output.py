"""Where a verb writes: the result on standard output, everything else on standard error."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

Json = Annotated[bool, typer.Option("--json", help="Print the result alone, as JSON, on standard output.")]


def print_json(result: Mapping[str, Any]) -> None:
    """Print `result` as JSON on standard output."""
    typer.echo(json.dumps(result, indent=2, allow_nan=False))


def show(renderable: RenderableType) -> None:
    """Print a table or a text for people on standard output."""
    Console().print(renderable)


def say(message: str) -> None:
    """Print a message that is no part of the result: on standard error."""
    typer.echo(message, err=True)
