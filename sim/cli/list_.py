"""``tokenfleet list``: what the catalogue holds, the user's folders included."""

from typing import Annotated, Literal

import typer

from sim.cli import output

Kind = Literal["models", "hardware", "workloads", "scenarios", "lifecycles"]


def list_entries(
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="models, hardware, workloads, scenarios or lifecycles.")],
    *,
    json: output.Json = False,
) -> None:
    """List the catalogue: the package's entries and those in the folders of TOKENFLEET_CATALOG_PATH."""
    from rich.table import Table

    from sim import catalog

    entries = catalog.list_entries(kind)
    if json:
        output.print_json({kind: [{"name": name, "file": str(file)} for name, file in entries.items()]})
        return
    table = Table(kind, "", box=None, header_style="bold")
    for name in entries:
        table.add_row(name, _in_short(kind, name))
    output.show(table)


def _in_short(kind: Kind, name: str) -> str:
    """Return what an entry is, in one line."""
    from sim import catalog

    match kind:
        case "models":
            model = catalog.load_model(name)
            return f"{model.architecture}, {model.num_hidden_layers} layers of {model.hidden_size}, {model.attention}"
        case "hardware":
            gpu = catalog.load_gpu(name)
            return f"{gpu.hbm_bytes / 1e9:.1f} GB at {gpu.memory_bandwidth_bytes_per_s / 1e12:.2f} TB/s"
        case "workloads" | "scenarios" | "lifecycles":
            return catalog.description(kind, name)
