"""``tokenfleet calibrate serving``: engines fitted to measured serving."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import output

if TYPE_CHECKING:
    from rich.table import Table

    from sim.calibrate.serving.engine_fit import Fitted


def serving(
    tables: Annotated[
        list[Path],
        typer.Argument(metavar="CSV...", help="Tables of measurements; `tokenfleet import` makes one of result files."),
    ],
    *,
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="ENTRY", help="Entry of hardware_profiles/recipes.yaml; may be repeated. Default: all."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of a new engine, fitted to all rows of its GPU; needs --like.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="ENTRY", help="Entry to begin at, such as vllm-h100-sxm-80gb.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Entries fitted beside one another.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write hardware_profiles/engines/ENTRY.yaml into this folder.")
    ] = None,
    json: output.Json = False,
) -> None:
    """Fit overheads and factors of engines, hold whole curves out, and write the entries."""
    from sim.calibrate.serving.run import calibrate_serving, chosen_recipes, own_recipe, read_points
    from sim.errors import Problem, SpecError

    if (name is None) != (like is None):
        raise SpecError(Problem("--name and --like go together: what the new engine is called, and where it begins"))
    points = read_points(tables)
    recipes = [own_recipe(name, like, points)] if name and like else chosen_recipes(recipe or ())
    done = calibrate_serving(
        points, recipes, folder=out, processes=processes, watch=lambda entry: output.say(f"fitted: {entry}")
    )
    if json:
        output.print_json({"engines": [_as_data(fitted) for fitted in done]})
        return
    output.show(_errors(done))
    for fitted in done:
        output.show(_coefficients(fitted))


def _as_data(fitted: "Fitted") -> dict[str, Any]:
    from sim.calibrate.serving.publish import entry_of

    return {"entry": fitted.recipe.name, "settings": dict(fitted.settings), **entry_of(fitted).to_dict()}


def _errors(done: "list[Fitted]") -> "Table":
    """Return errors by entry and quantity as a table."""
    from rich.table import Table

    from sim.calibrate.serving.publish import errors_of

    table = Table(title="Errors, median / 90th percentile, bias [%]", box=None, title_justify="left")
    for column in ("entry", "grade", "curves", "points", "quantity", "rows", "fitted", "held out"):
        table.add_column(column)
    from sim.calibrate.serving.publish import entry_of

    for fitted in done:
        evidence = entry_of(fitted).evidence
        held_out = dict(errors_of(fitted, fitted.held_out, ""))
        for quantity, error in errors_of(fitted, fitted.fit.log_predicted, ""):
            ours = [
                f"{100 * one.median_frac:.1f} / {100 * one.p90_frac:.1f}, {100 * (one.bias_frac or 0.0):+.1f}"
                for one in (error, held_out.get(quantity))
                if one is not None
            ]
            counts = (str(evidence.num_curves), str(evidence.num_points)) if evidence else ("", "")
            grade = evidence.grade if evidence else ""
            table.add_row(fitted.recipe.name, grade, *counts, quantity, str(error.num_points), *ours)
    return table


def _coefficients(fitted: "Fitted") -> "Table":
    """Return the coefficients with how far they may be off as a table."""
    import numpy as np
    from rich.table import Table

    settings = ", ".join(f"{key}={value}" for key, value in fitted.settings.items())
    title = f"{fitted.recipe.name}: coefficients" + (f" ({settings})" if settings else "")
    table = Table(title=title, box=None, title_justify="left")
    for column in ("path", "value", "known within", "believed before"):
        table.add_column(column)
    deviations = np.sqrt(np.diag(fitted.log_covariance))
    for one, place, deviation in zip(fitted.fit.coefficients, fitted.fit.place, deviations, strict=True):
        before = f"{one.prior:.3g}, within {np.expm1(one.spread):.0%}"
        table.add_row(one.path, f"{one.value(float(place)):.3g}", f"{np.expm1(deviation):.0%}", before)
    return table
