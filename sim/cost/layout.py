"""Whether a model can be laid out as asked: every rule that is broken, at once."""

from __future__ import annotations

from collections.abc import Iterator

from sim.errors import Problem
from sim.spec.engine import KernelSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


def layout_problems(
    model: ModelSpec,
    gpu: GpuSpec,
    kernels: KernelSpec,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    expert_parallel_size: int,
) -> Iterator[Problem]:
    """Yield what forbids a model to be split so; the same rules as vLLM's, and what is measured."""
    tp, pp, ep = tensor_parallel_size, pipeline_parallel_size, expert_parallel_size
    for name, size in (
        ("tensor_parallel_size", tp),
        ("pipeline_parallel_size", pp),
        ("expert_parallel_size", ep),
    ):
        if size < 1:
            yield Problem(f"must be >= 1, got {size}", path=name)
    if min(tp, pp, ep) < 1:
        return
    fitting = sorted(size for size in (1, *kernels.all_reduce) if splits(model, size) and size <= gpu.gpus_per_node)
    try_sizes = f"Try {' or '.join(map(str, fitting))}"
    heads, kv_heads = model.num_attention_heads, model.num_key_value_heads
    if not splits(model, tp):
        width = "" if not model.num_dense_layers else f", intermediate_size {model.intermediate_size}"
        yield Problem(
            f"{tp} does not divide {model.name}: {heads} query heads, {kv_heads} key-value heads{width}. {try_sizes}",
            path="tensor_parallel_size",
        )
    elif tp > gpu.gpus_per_node:
        yield Problem(
            f"{tp} spans nodes of {int(gpu.gpus_per_node)} GPUs, which is not measured. {try_sizes}, "
            "and split further by pipeline_parallel_size",
            path="tensor_parallel_size",
        )
    elif tp not in (1, *kernels.all_reduce):
        yield Problem(f"all-reduce among {tp} GPUs is not measured. {try_sizes}", path="tensor_parallel_size")
    if pp > model.num_hidden_layers:
        yield Problem(f"{pp} stages for {model.num_hidden_layers} layers", path="pipeline_parallel_size")
    if ep > 1 and not model.is_moe:
        yield Problem(f"{model.name} has no experts to spread; leave it at 1", path="expert_parallel_size")
    elif tp % ep or (ep > 1 and model.num_experts % ep):
        yield Problem(
            f"must divide tensor_parallel_size ({tp}) and the {model.num_experts} experts, got {ep}",
            path="expert_parallel_size",
        )


def splits(model: ModelSpec, tensor_parallel_size: int) -> bool:
    """Return whether heads and MLP divide among so many GPUs; fewer key-value heads than GPUs are copied."""
    tp, kv_heads = tensor_parallel_size, model.num_key_value_heads
    heads = model.num_attention_heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0)
    return heads and (model.num_dense_layers == 0 or model.intermediate_size % tp == 0)
