"""``tokenfleet validate``: measured rows predicted and scored."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sim.cli import output

Pattern = Annotated[str | None, typer.Option(metavar="PATTERN", help="Only rows whose column holds this.")]


def validate(
    csv: Annotated[Path, typer.Argument(metavar="CSV", help="Serving measurements, one value a row.")],
    *,
    source: Pattern = None,
    model: Pattern = None,
    gpu: Pattern = None,
    tier: Pattern = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every row with what was predicted of it (CSV).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw predicted against measured (HTML).")] = None,
    scenario: Annotated[
        int | None,
        typer.Option(
            metavar="ROW", help="Print the scenario that this row is played as, and stop; 1 is the first.", min=1
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes to use; the result is the same.", min=1, show_default="processors")
    ] = None,
    json: output.Json = False,
) -> None:
    """Predict every row of CSV, and say how far off the predictions are.

    The columns are those of docs/validate.md. Patterns are regular expressions, found anywhere in the column.
    """
    from sim.calibrate.serving.rows import read_table
    from sim.calibrate.serving.validate import check_writable, chosen, scenario_of_row
    from sim.calibrate.serving.validate import validate as predict_all

    table = read_table(csv)
    if scenario is not None:
        typer.echo(scenario_of_row(table, scenario - 1).to_yaml(), nl=False)
        return
    asked = {"source": source, "model": model, "gpu": gpu, "tier": tier}
    table = chosen(table, {name: pattern for name, pattern in asked.items() if pattern is not None})
    check_writable(path for path in (out, plot) if path is not None)
    with _watch() as progress:
        done = predict_all(table, processes=processes, progress=progress)
    if out is not None:
        done.write(out)
    if plot is not None:
        from sim.report.validation import write_figure

        write_figure(done.results, plot)
    if json:
        output.print_json(done.summary)
    else:
        from sim.report.validation import render_validation

        output.show(render_validation(done.summary))
    for what, path in (("Rows", out), ("Figure", plot)):
        if path is not None:
            output.say(f"{what}: {path}")


@contextmanager
def _watch() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, where that is a terminal; yield what is called with (points done, points)."""
    console = Console(stderr=True)
    columns = (TextColumn("points"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("points", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
