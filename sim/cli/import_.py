"""``tokenfleet import``: result files of serving benchmarks as one table of measurements."""

from pathlib import Path
from typing import Annotated

import typer

from sim.cli import output

Said = Annotated[str | None, typer.Option(show_default="what the files say")]


def import_results(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Results of vLLM, SGLang, GuideLLM, AIPerf, GenAI-Perf or inference-perf."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="CSV", help="Table to write; it must not exist.")] = Path("measured.csv"),
    gpu: Annotated[str | None, typer.Option(help="A name from `tokenfleet list hardware`.")] = None,
    tensor_parallel_size: Annotated[
        int | None, typer.Option("--tensor-parallel-size", "--tp", help="GPUs that share each layer.", min=1)
    ] = None,
    pipeline_parallel_size: Annotated[
        int | None, typer.Option("--pipeline-parallel-size", "--pp", help="Stages of layers; 1 if not said.", min=1)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Type of the weights: bf16, fp8, ...")] = None,
    engine: Said = None,
    engine_version: Said = None,
    model: Said = None,
    isl: Annotated[str | None, typer.Option(help="Mean prompt length [tokens], or dist:NAME.")] = None,
    osl: Annotated[str | None, typer.Option(help="Mean answer length [tokens], or dist:NAME.")] = None,
    load: Annotated[str | None, typer.Option(help='"concurrency=16", "rate=4 req/s", ...')] = None,
    notes: Annotated[
        str, typer.Option(help="Settings of the server, as on its command line: --max-num-seqs 64 ...")
    ] = "",
    json: output.Json = False,
) -> None:
    """Write what result FILEs measured as the table that `tokenfleet validate` reads, one value a row.

    What the files do not say is given here, once for all of them; whatever is missing is asked for at once.
    """
    from sim.calibrate.results.table import Conditions, write_table
    from sim.calibrate.results.table import import_results as rows_of

    said = Conditions(
        engine=engine,
        version=engine_version,
        model=model,
        precision=precision,
        gpu=gpu,
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        isl=isl,
        osl=osl,
        load=load,
        notes=notes,
    )
    table = rows_of(files, said)
    write_table(table, out)
    loads = list(dict.fromkeys(row["concurrency_or_rate"] for row in table))
    if json:
        output.print_json({"table": str(out), "rows": len(table), "loads": loads})
        return
    output.show(f"{out}: {len(table)} rows at {len(loads)} loads: {', '.join(loads)}")
