"""Profile: a model on a GPU with a parallelism and precisions, compiled to tables for the simulator."""

from __future__ import annotations

from dataclasses import dataclass

from sim import catalog
from sim.cost.calibration import Calibration, load_engine, load_kernels
from sim.cost.capacity import Limits, capacity_message, make_layout
from sim.cost.card import CardRow, make_card
from sim.cost.drafter import make_drafter
from sim.cost.kernels import Kernels
from sim.cost.layout import expert_group, layout_problems
from sim.cost.machine import Machine
from sim.cost.precision import resolve_precisions
from sim.cost.speculation import Speculation, speculate, speculation_problems
from sim.cost.step import step_times
from sim.cost.step_times import StepTimes
from sim.errors import CapacityError, Problem, SpecError
from sim.lifecycle.shapes import parameters
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.speculation import SpeculativeConfig


@dataclass(frozen=True, eq=False)
class Profile:
    """One kind of replica: how long its steps take, what it holds, what it draws, and where the numbers come from."""

    name: str
    model: str
    hardware: str
    engine: str
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    expert_parallel_size: int
    weights: str
    activations: str
    kv_cache_dtype: str
    kv_cache_layout: str
    use_cache: bool
    attn_implementation: str
    max_model_len: int
    """Longest prompt plus answer [tokens]."""
    max_num_seqs: int
    """Most sequences in a batch, all data-parallel ranks together."""
    max_num_batched_tokens: int
    """Most tokens in a batch, all data-parallel ranks together."""
    block_size: int
    """Tokens in a block of the cache; contiguous: max_model_len."""
    gpu_memory_utilization: float
    num_gpus: int
    """GPUs of one replica."""
    num_parameters: int
    num_active_parameters: int
    """Parameters that one token visits, input embedding left out."""
    num_gpu_blocks: int
    """Blocks of the cache, the null block included, all data-parallel ranks together."""
    kv_bytes_per_token: float
    """Cache bytes of a token on all GPUs that hold a part of it [B]; without a cache, its activations."""
    weights_bytes_per_gpu: float
    """Weights on the fullest GPU [B]."""
    activation_bytes_per_gpu: float
    """Peak of the activations on the fullest GPU [B]."""
    reserve_bytes_per_gpu: float
    """Driver, communication and library buffers [B]."""
    kv_pool_bytes_per_gpu: float
    """Room for the cache (without one: for what is computed again) on the fullest GPU [B]."""
    frontend_s: float
    """Host time before the first token, once per request [s]."""
    step_times: StepTimes
    """Times of a step from its start to its end, all pipeline stages in turn."""
    stage_times: StepTimes
    """Times that a step occupies the slowest pipeline stage, after which the next may follow; those of the step where
    there is one stage."""
    speculation: Speculation | None
    """Speculative decoding, where it was asked for; `step_times` are those without it."""
    calibration: Calibration
    card: tuple[CardRow, ...]
    """Every intermediate with its unit, equation and source."""


def compile(
    model: ModelSpec | str,
    gpu: GpuSpec | str,
    *,
    tensor_parallel_size: int = 1,
    pipeline_parallel_size: int = 1,
    data_parallel_size: int = 1,
    enable_expert_parallel: bool = False,
    expert_parallel_size: int = 1,
    weights: str = "bf16",
    activations: str | None = None,
    kv: str = "auto",
    kv_cache_layout: str = "paged",
    use_cache: bool = True,
    attn_implementation: str = "flash_attention",
    speculative_config: SpeculativeConfig | None = None,
    max_model_len: int | None = None,
    max_num_seqs: int = 256,
    max_num_batched_tokens: int = 8192,
    block_size: int = 16,
    gpu_memory_utilization: float = 0.90,
    engine: str | EngineSpec = "vllm",
    kernels: Kernels | None = None,
) -> Profile:
    """Compile a model and a GPU to the profile of one replica.

    Parameters
    ----------
    model, gpu
        What runs where: specifications, or names of the catalogue.
    tensor_parallel_size, pipeline_parallel_size, data_parallel_size
        GPUs that split a layer, stages that split the layers, ranks of a MoE model that have attention and cache of
        their own (limits of a batch and of memory are each rank's).
    enable_expert_parallel, expert_parallel_size
        Spread whole experts over all GPUs of a stage (vLLM), or over so many of them.
    weights, activations, kv
        Precisions: bf16, fp16, fp8, int8, int4, mxfp4; bf16 or fp8 (None: what the weights imply); auto, bf16, fp8.
    kv_cache_layout, use_cache, attn_implementation
        paged or contiguous (max_model_len tokens reserved for each sequence); whether there is a cache at all;
        flash_attention or eager (scores go through memory).
    speculative_config
        Speculative decoding, if any.
    max_model_len
        Longest prompt plus answer [tokens]. None: the model's context, or what the cache holds if that is less.
    max_num_seqs, max_num_batched_tokens, block_size, gpu_memory_utilization
        As in vLLM.
    engine
        Engine whose calibration on this GPU applies, e.g. `vllm`, `nim`; or the calibration itself.
    kernels
        Fitted kernels to use in place of the catalogue's.

    Raises
    ------
    SpecError
        The model cannot be split or quantised so, or there is no calibration: everything that is wrong, at once.
    CapacityError
        The model does not fit; the message says by how much and what would.
    """
    model = catalog.load_model(model) if isinstance(model, str) else model
    gpu = catalog.load_gpu(gpu) if isinstance(gpu, str) else gpu
    overheads = load_engine(engine, gpu.name) if isinstance(engine, str) else engine
    kernels = kernels or load_kernels(gpu.name, overheads.kernels)
    tp, pp, dp = tensor_parallel_size, pipeline_parallel_size, data_parallel_size
    ep = expert_group(tp, dp, expert_parallel_size, enable_expert_parallel=enable_expert_parallel)
    limits = Limits(
        max_num_seqs, max_num_batched_tokens, block_size, gpu_memory_utilization, max_model_len, kv_cache_layout
    )
    problems = [*layout_problems(model, gpu, kernels, tp, pp, ep, dp), *limits.problems(model)]
    if attn_implementation not in ("flash_attention", "eager"):
        message = f'"{attn_implementation}" is not allowed. Allowed: flash_attention, eager'
        problems.append(Problem(message, path="attn_implementation"))
    if not use_cache and kv_cache_layout == "contiguous":
        problems.append(Problem("must be paged where use_cache is false: there is no cache", path="kv_cache_layout"))
    draft = None
    if speculative_config is not None:
        draft = catalog.load_model(speculative_config.model) if speculative_config.model else None
        problems += speculation_problems(speculative_config, model, draft, pp, use_cache=use_cache)
    try:
        precisions = resolve_precisions(model, kernels, weights, activations, kv)
    except SpecError as error:
        raise SpecError(*problems, *error.problems) from None
    SpecError.raise_if(problems)

    layout = make_layout(precisions, overheads, tp, pp, ep, dp)
    eager = attn_implementation == "eager"
    machine = Machine(model, gpu, kernels, overheads, precisions, layout, eager, use_cache)
    drafter, draft_memory = make_drafter(speculative_config, machine, draft) if speculative_config else (None, None)
    memory = limits.plan(machine, draft_memory)
    if memory.room_tokens < (max_model_len or 1):
        raise CapacityError(capacity_message(machine, limits, memory, draft_memory))
    longest = max_model_len or min(model.max_position_embeddings, memory.room_tokens)
    times, in_stage = step_times(machine, max_num_seqs, max_num_batched_tokens, longest)
    speculation = None
    if speculative_config is not None:
        table = catalog.load_acceptance(speculative_config)
        speculation = speculate(speculative_config, table, machine, drafter, times)
    counts = parameters(model)
    return Profile(
        name="-".join((model.name, weights, *_sizes(tp, pp, ep, dp), overheads.name)),
        model=model.name,
        hardware=gpu.name,
        engine=engine if isinstance(engine, str) else overheads.engine,
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        data_parallel_size=dp,
        expert_parallel_size=ep,
        weights=weights,
        activations=precisions.activations,
        kv_cache_dtype=precisions.kv,
        kv_cache_layout=kv_cache_layout,
        use_cache=use_cache,
        attn_implementation=attn_implementation,
        max_model_len=longest,
        max_num_seqs=times.max_num_seqs,
        max_num_batched_tokens=times.max_num_batched_tokens,
        block_size=memory.block_size,
        gpu_memory_utilization=gpu_memory_utilization,
        num_gpus=machine.num_gpus,
        num_parameters=counts.total,
        num_active_parameters=counts.active,
        num_gpu_blocks=dp * (memory.num_gpu_blocks - 1) + 1,
        kv_bytes_per_token=memory.kv_bytes_per_token * tp,
        weights_bytes_per_gpu=memory.weights_bytes,
        activation_bytes_per_gpu=memory.activation_bytes,
        reserve_bytes_per_gpu=memory.reserve_bytes,
        kv_pool_bytes_per_gpu=memory.pool_bytes,
        frontend_s=overheads.first_token_s,
        step_times=times,
        stage_times=in_stage,
        speculation=speculation,
        calibration=_calibration(machine, speculation),
        card=make_card(machine, memory, times, in_stage, speculation, gpu_memory_utilization),
    )


def _sizes(tp: int, pp: int, ep: int, dp: int) -> list[str]:
    """Return the parallelism as parts of a name, such as tp8, ep8."""
    sizes = (("tp", tp), ("pp", pp), ("dp", dp), ("ep", ep))
    return [f"{name}{size}" for name, size in sizes if size > 1 or name == "tp"]


def _calibration(machine: Machine, speculation: Speculation | None) -> Calibration:
    """Return what the profile rests on; outside the measured range it is extrapolated, and the notes say why."""
    engine, kernels, measured = machine.engine, machine.kernels, machine.engine.range
    p, layout = machine.precisions, machine.layout
    evidence = engine.evidence if engine.status == "calibrated" else None
    outside = []
    if layout.tensor_parallel_size not in measured.tensor_parallel_sizes:
        outside.append(f"tensor_parallel_size={layout.tensor_parallel_size} was not measured with {engine.name}.")
    if layout.pipeline_parallel_size > 1:
        outside.append("Pipeline parallelism was not measured.")
    if layout.data_parallel_size > 1:
        outside.append("Data-parallel ranks were not measured; batches are taken to be spread evenly over them.")
    if machine.eager:
        outside.append("Attention without IO-aware kernels was not measured; its traffic is counted, not timed.")
    if not machine.use_cache:
        outside.append("Decoding without a cache was not measured.")
    if speculation is not None:
        outside.append(f"Speculation was not measured; acceptance from {speculation.source}")
    if p.weights not in ("fp16", *measured.precisions):
        outside.append(f"{p.weights} weights were not measured with {engine.name}.")
    if p.experts and f"expert_scale.{p.experts.precision}" not in (evidence.names if evidence else ()):
        outside.append(f"Experts in {p.experts.precision} rest on operator timings, not on serving runs.")
    if machine.model.attention == "mla":
        outside.append("MLA has no table; its decode attention follows the form alone.")
    if machine.model.sliding_window:
        outside.append("Sliding windows are charged in full, an upper bound for contexts shorter than the window.")
    borrowed = _assumed(machine)
    extrapolated = bool(outside or borrowed) or "extrapolated" in (engine.status, kernels.spec.status)
    return Calibration(
        engine=engine.engine,
        version=engine.version,
        date=engine.date,
        driver=engine.driver,
        gpu=engine.gpu,
        status="extrapolated" if extrapolated else "calibrated",
        grade=evidence.grade if evidence else "extrapolated",
        num_curves=evidence.num_curves if evidence else 0,
        num_points=evidence.num_points if evidence else 0,
        errors=dict(engine.errors),
        source=engine.source,
        notes=(*outside, *borrowed, *engine.notes, *kernels.spec.notes),
        evidence=evidence,
    )


def _assumed(machine: Machine) -> list[str]:
    """Return the sources of those fits in use that rest on an assumption."""
    p = machine.precisions
    decode, prefill = machine.attention
    sources = [p.linear.fit.source, decode.fit.source, prefill.fit.source]
    sources += [p.experts.fit.source] if p.experts else []
    return [source for source in sources if source.startswith("assumed")]
