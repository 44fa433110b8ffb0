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
    tensor_parallel_size: Annotated[
        int, typer.Option("--tensor-parallel-size", "--tp", help="GPUs that share each layer.", min=1)
    ] = 1,
    pipeline_parallel_size: Annotated[
        int, typer.Option("--pipeline-parallel-size", "--pp", help="Stages that the layers are split into.", min=1)
    ] = 1,
    data_parallel_size: Annotated[
        int, typer.Option("--data-parallel-size", "--dp", help="Ranks of a MoE model with their own attention.", min=1)
    ] = 1,
    enable_expert_parallel: Annotated[
        bool, typer.Option("--enable-expert-parallel", help="Spread whole experts over all GPUs of a stage.")
    ] = False,
    expert_parallel_size: Annotated[
        int, typer.Option("--expert-parallel-size", "--ep", help="GPUs that whole experts are spread over.", min=1)
    ] = 1,
    weights: Annotated[str, typer.Option(help="Type of the weights: bf16, fp8, int4, ...")] = "bf16",
    activations: Annotated[
        str | None, typer.Option(help="Type of the activations in matrix products.", show_default="as the weights ask")
    ] = None,
    kv_cache_dtype: Annotated[
        str, typer.Option("--kv-cache-dtype", "--kv", help="Type of the KV cache: auto, bf16, fp8.")
    ] = "auto",
    kv_cache_layout: Annotated[
        str, typer.Option(help="paged, or contiguous: max-model-len tokens reserved for each sequence.")
    ] = "paged",
    use_cache: Annotated[
        bool, typer.Option("--use-cache/--no-cache", help="Keep keys and values from step to step.")
    ] = True,
    attn_implementation: Annotated[
        str, typer.Option(help="flash_attention, or eager: scores go through memory.")
    ] = "flash_attention",
    speculative_config: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help='Speculative decoding, such as \'{"method": "eagle3", "num_speculative_tokens": 3}\'.',
            show_default="none",
        ),
    ] = None,
    max_model_len: Annotated[
        int | None, typer.Option(help="Longest context [tokens].", min=1, show_default="the model's")
    ] = None,
    max_num_seqs: Annotated[int, typer.Option(help="Most sequences in a batch.", min=1)] = 256,
    max_num_batched_tokens: Annotated[int, typer.Option(help="Most tokens in a batch.", min=1)] = 8192,
    block_size: Annotated[int, typer.Option(help="Tokens in a KV-cache block.", min=1)] = 16,
    gpu_memory_utilization: Annotated[float, typer.Option(help="Fraction of GPU memory that is used.")] = 0.90,
    engine: Annotated[str, typer.Option(help="Engine whose calibration applies: vllm, nim.")] = "vllm",
    json: output.Json = False,
) -> None:
    """Compile MODEL on HARDWARE; print every intermediate with its equation and source.

    Options are called as in `vllm serve`, where it has them.
    """
    import sim
    from sim import catalog
    from sim.spec.speculation import SpeculativeConfig

    profile = sim.compile(
        catalog.load_model(model),
        catalog.load_gpu(hardware),
        tensor_parallel_size=tensor_parallel_size,
        pipeline_parallel_size=pipeline_parallel_size,
        data_parallel_size=data_parallel_size,
        enable_expert_parallel=enable_expert_parallel,
        expert_parallel_size=expert_parallel_size,
        weights=weights,
        activations=activations,
        kv=kv_cache_dtype,
        kv_cache_layout=kv_cache_layout,
        use_cache=use_cache,
        attn_implementation=attn_implementation,
        speculative_config=SpeculativeConfig.from_yaml(speculative_config, "--speculative-config")
        if speculative_config is not None
        else None,
        max_model_len=max_model_len,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        block_size=block_size,
        gpu_memory_utilization=gpu_memory_utilization,
        engine=engine,
    )
    if json:
        output.print_json(_as_data(profile))
    else:
        output.show(_as_card(profile))


def _as_data(profile: "Profile") -> dict[str, Any]:
    """Return a profile as plain data: its figures and its card, not the tables the simulator reads."""
    figures = {name: value for name, value in vars(profile).items() if isinstance(value, str | int | float)}
    card = [{**vars(row), "value": float(row.value)} for row in profile.card]
    return {**figures, "calibration": profile.calibration.to_dict(), "card": card}


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
    notes.add_row("", calibration.title)
    for metric, error in calibration.errors.items():
        notes.add_row("", f"{metric}: off by {error.median_frac:.1%} (median), {error.p90_frac:.1%} (p90)")
    return Group(intermediates, notes)
