"""``tokenfleet calibrate operators``: kernels fitted to operator timings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from sim.calibrate.operators.run import Calibrated


def operators(
    source: Annotated[
        str,
        typer.Option("--from", metavar="DIR", help="Folder of operator tables, or `aiconfigurator`: the package's."),
    ] = "aiconfigurator",
    *,
    gpu: Annotated[list[str] | None, typer.Option(help="GPU; may be repeated. Default: all that were timed.")] = None,
    family: Annotated[list[str] | None, typer.Option(help="vllm, sglang or trtllm; may be repeated.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write kernels/ and boards/ into this folder.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Fit kernels to operator timings and score them on shapes that were left out of the fit.

    Exits with 1 where a target is missed.
    """
    from sim.calibrate.operators.run import calibrate_operators

    done = calibrate_operators(source, gpus=gpu or (), families=family or (), folder=out, watch=output.say)
    if json:
        output.print_json(done.to_dict())
    else:
        output.show(_score_table(done))
        if done.independent:
            output.show(_independent_table(done))
        output.show(f"{len(done.missed)} of {sum(score.reached is not None for score in done.scores)} targets missed")
    for file in done.files:
        output.say(f"Written: {file}")
    raise typer.Exit(1 if done.missed else 0)


def _score_table(done: "Calibrated") -> "Table":
    """Return errors by GPU, family, operator and precision as a table."""
    from rich.table import Table

    from sim.calibrate.operators.scores import TARGETS

    table = Table(title="Errors, median / 90th percentile [%]", box=None, header_style="bold", title_justify="left")
    for name in ("GPU", "family", "operator", "precision"):
        table.add_column(name)
    for name in ("held out", "rows", "target", "", "with ceilings", "fitted", "made monotone by"):
        table.add_column(name, justify="right")
    for score in done.scores:
        target = TARGETS.get(score.operator)
        errors = (score.capped, score.fitted, score.monotone)
        table.add_row(
            score.gpu,
            f"{score.family} {score.version}",
            score.operator,
            score.precision,
            _percent(score.held_out.median_frac, score.held_out.p90_frac),
            f"{score.held_out.num_points:,}",
            _percent(*target) if target else "",
            {True: "reached", False: "MISSED", None: ""}[score.reached],
            *("" if error is None else _percent(error.median_frac, error.p90_frac) for error in errors),
        )
    return table


def _independent_table(done: "Calibrated") -> "Table":
    """Return the errors on products that others timed as a table."""
    from rich.table import Table

    from sim.calibrate.operators.independent import TARGET

    title = f"Vidur's products, nothing fitted to them [%]; median asked for: {100 * TARGET:.0f}"
    table = Table(title=title, box=None, header_style="bold", title_justify="left")
    for name in ("GPU", "rows", "number", "median / p90", "bias"):
        table.add_column(name)
    for one in done.independent:
        error = _percent(one.error.median_frac, one.error.p90_frac)
        table.add_row(one.gpu, one.what, f"{one.error.num_points:,}", error, f"{100 * one.bias_frac:+.1f}")
    return table


def _percent(median_frac: float, p90_frac: float) -> str:
    """Return two shares as percents."""
    return f"{100 * median_frac:.1f} / {100 * p90_frac:.1f}"
