"""``tokenfleet compile``: the Profile of a model on a GPU, with every intermediate and its source."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli import output

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sim.cost import Profile


def compile_profile(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name from `tokenfleet list models`, or a file.")],
    hardware: Annotated[
        str, typer.Argument(metavar="HARDWARE", help="A name from `tokenfleet list hardware`, or a file.")
    ],
    *,
    tp: Annotated[int, typer.Option(help="Tensor parallel size.", min=1)] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline parallel size.", min=1)] = 1,
    ep: Annotated[int, typer.Option(help="Expert parallel size.", min=1)] = 1,
    weights: Annotated[str, typer.Option(help="Type of the weights: bf16, fp8, int4, ...")] = "bf16",
    activations: Annotated[
        str | None, typer.Option(help="Type of the activations in matrix products.", show_default="as the weights ask")
    ] = None,
    kv: Annotated[str, typer.Option(help="Type of the KV cache: auto, fp8, ...")] = "auto",
    max_model_len: Annotated[
        int | None, typer.Option(help="Longest context [tokens].", min=1, show_default="the model's")
    ] = None,
    json: output.Json = False,
) -> None:
    """Compile MODEL on HARDWARE; print every intermediate with its equation and source."""
    import sim
    from sim import catalog

    profile = sim.compile(
        catalog.load_model(model),
        catalog.load_gpu(hardware),
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        expert_parallel_size=ep,
        weights=weights,
        activations=activations,
        kv=kv,
        max_model_len=max_model_len,
    )
    if json:
        output.print_json(_as_data(profile))
    else:
        output.show(_as_card(profile))


def _as_data(profile: "Profile") -> dict[str, Any]:
    """Return a profile as plain data: its figures and its card, not the tables the simulator reads."""
    figures = {name: value for name, value in vars(profile).items() if isinstance(value, str | int | float)}
    errors = {metric: error.to_dict() for metric, error in profile.calibration.errors.items()}
    card = [{**vars(row), "value": float(row.value)} for row in profile.card]
    return {**figures, "calibration": {**vars(profile.calibration), "errors": errors}, "card": card}


def _as_card(profile: "Profile") -> "RenderableType":
    """Return a profile's card for people: the intermediates in order, then the sources they refer to by number."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from sim import units

    title = f"{profile.name} on {profile.hardware}"
    intermediates = Table("quantity", "value", "equation", "source", title=title, box=box.SIMPLE_HEAD)
    numbers: dict[str, int] = {}
    for row in profile.card:
        number = numbers.setdefault(row.source, len(numbers) + 1)
        intermediates.add_row(row.name, units.show(row.value, row.unit), row.equation, f"[{number}]")

    calibration = profile.calibration
    notes = Table.grid(padding=(0, 1))
    for source, number in numbers.items():
        notes.add_row(f"[{number}]", Text(source, overflow="fold"))
    notes.add_row("", "")
    notes.add_row("", f"{calibration.engine} {calibration.version} on {calibration.gpu}: {calibration.status}")
    for metric, error in calibration.errors.items():
        notes.add_row("", f"{metric}: off by {error.median_frac:.1%} (median), {error.p90_frac:.1%} (p90)")
    return Group(intermediates, notes)
