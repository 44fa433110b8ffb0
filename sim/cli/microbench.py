"""``tokenfleet microbench``: measure the operators of this machine's GPU."""

from pathlib import Path
from typing import Annotated

import typer

from sim.cli import output


def microbench(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; it must not exist.")] = Path("runs/microbench"),
    device: Annotated[str, typer.Option(help="cuda, or cpu: a dry run of the same code in tiny shapes.")] = "cuda",
    only: Annotated[
        str, typer.Option(metavar="SECTION,...", help="Sections to measure.", show_default="all of them")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="Every third value of each grid: a first look.")] = False,
    time_limit: Annotated[
        str, typer.Option(metavar="TIME", help="Budget; what does not fit is left out evenly.")
    ] = "9 min",
    seed: Annotated[int, typer.Option(help="Order of the points.")] = 1,
    json: output.Json = False,
) -> None:
    """Measure products, attention, copies, launches and all-reduce into a folder that `calibrate microbench` reads.

    Sections: gemm, prefill, decode, elementwise, copy, launch, all_reduce. Needs PyTorch: the extra `calibrate`.
    """
    from sim import units
    from sim.calibrate.microbench.run import microbench as run

    counts = run(
        out,
        device=device,
        only=[name.strip() for name in only.split(",") if name.strip()],
        quick=quick,
        time_limit_s=units.parse(time_limit, "s"),
        seed=seed,
        say=output.say,
    )
    if json:
        output.print_json({"folder": str(out), **counts})
    else:
        output.show(f"{out}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))
    if not counts["measured"]:
        raise typer.Exit(1)
