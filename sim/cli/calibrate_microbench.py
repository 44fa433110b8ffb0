"""``tokenfleet calibrate microbench`` and ``calibrate compare``: what is made of a measurement folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import output

if TYPE_CHECKING:
    from rich.table import Table

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="What `tokenfleet microbench` wrote.")]


def microbench(
    folder: Folder,
    *,
    name: Annotated[
        str, typer.Option(help="Name of the measured GPU in the catalogue.", show_default="the folder's")
    ] = "",
    like: Annotated[
        str | None,
        typer.Option(metavar="GPU", help="Entry that gives what was not measured.", show_default="the device's own"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of a catalogue, to be named in TOKENFLEET_CATALOG_PATH.")] = Path(
        "catalog"
    ),
    family: Annotated[str, typer.Option(help="Framework family whose kernels are replaced.")] = "vllm",
    engine: Annotated[str, typer.Option(help="Engine whose overheads are taken over.")] = "vllm",
    json: output.Json = False,
) -> None:
    """Fit kernels to a measurement FOLDER; write GPU, kernels, board and engine of that name into a catalogue."""
    from sim.calibrate.microbench.folder import read
    from sim.calibrate.microbench.profile import entries, write

    measurements = read(folder)
    made = entries(measurements, name=name or folder.resolve().name, like=like, family=family, engine=engine)
    files = [str(path) for path in write(made, out)]
    if json:
        output.print_json(
            {"files": files, "scores": [score.to_dict() for score in made.scores], "kept": list(made.kept)}
        )
        return
    output.show(_scores(made.scores, f"{made.kernels.name}: |predicted / measured - 1|, median / p90"))
    output.show(f"Not measured, as before: {', '.join(made.kept)}")
    output.show("\n".join(files))
    output.say(f"Use it: export TOKENFLEET_CATALOG_PATH={out}; tokenfleet compile MODEL {made.gpu.name}")


def compare(
    folder: Folder,
    kernels: Annotated[
        str, typer.Argument(metavar="KERNELS", help="Entry of the catalogue, such as vllm-h200-sxm-141gb.")
    ],
    *,
    json: output.Json = False,
) -> None:
    """Compare the points of a measurement FOLDER with the fitted KERNELS of a catalogue."""
    from rich.table import Table

    from sim.calibrate.microbench.ceilings import largest_rates
    from sim.calibrate.microbench.compare import compare as compare_points
    from sim.calibrate.microbench.folder import read
    from sim.cost.calibration import load_kernels

    measurements = read(folder)
    family, _, gpu = kernels.partition("-")
    loaded = load_kernels(gpu, family)
    ceilings = loaded.timed_on
    found = compare_points(measurements, loaded, ceilings)
    reached = {
        field: (rate, rate / ceiling)
        for field, rate, _ in largest_rates(measurements)
        if (ceiling := getattr(ceilings, field)) is not None
    }
    if json:
        shares = {field: {"reached": rate, "share": share} for field, (rate, share) in reached.items()}
        output.print_json({"operators": [one.to_dict() for one in found], "ceilings": shares})
        return
    columns = ("operator", "precision", "points", "median", "p90", "bias", "farthest off")
    table = Table(*columns, title=f"{kernels} predicts {folder}: |predicted / measured - 1|")
    for one in found:
        errors = (f"{one.median_frac:.1%}", f"{one.p90_frac:.1%}", f"{one.bias_frac:+.1%}")
        table.add_row(one.operator, one.precision, str(one.num_points), *errors, one.worst)
    output.show(table)
    for field, (rate, share) in reached.items():
        output.show(f"{field}: {rate:.4g} reached, {share:.0%} of the entry's")


def _scores(scores: tuple[Any, ...], title: str) -> "Table":
    from rich.table import Table

    table = Table("operator", "precision", "points", "fitted", "held out", "held out was", title=title)
    for score in scores:
        pairs = [f"{error.median_frac:.1%} / {error.p90_frac:.1%}" for error in (score.fitted, score.held_out)]
        table.add_row(score.operator, score.precision, str(score.fitted.num_points), *pairs, score.held_out.note)
    return table
