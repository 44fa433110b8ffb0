"""Whether a model can be laid out as asked: every rule that is broken, at once."""

from __future__ import annotations

from collections.abc import Iterator

from sim.cost.kernels import Kernels
from sim.errors import Problem, SpecError
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


def layout_problems(
    model: ModelSpec,
    gpu: GpuSpec,
    kernels: Kernels,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    expert_parallel_size: int,
    data_parallel_size: int,
) -> Iterator[Problem]:
    """Yield what forbids a model to be split so; the same rules as vLLM's, and what is measured."""
    tp, pp, ep, dp = tensor_parallel_size, pipeline_parallel_size, expert_parallel_size, data_parallel_size
    for name, size in (
        ("tensor_parallel_size", tp),
        ("pipeline_parallel_size", pp),
        ("expert_parallel_size", ep),
        ("data_parallel_size", dp),
    ):
        if size < 1:
            yield Problem(f"must be >= 1, got {size}", path=name)
    if min(tp, pp, ep, dp) < 1:
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
    if not model.is_moe:
        if ep > 1:
            yield Problem(f"{model.name} has no experts to spread; leave it at 1", path="expert_parallel_size")
        if dp > 1:
            message = f"{model.name} has no experts to share, so its ranks are replicas: take {dp} times the replicas"
            yield Problem(message, path="data_parallel_size")
        return
    group, expert_width = tp * dp, model.moe_intermediate_size
    if group % ep or model.num_experts % ep:
        sizes = f"tensor_parallel_size x data_parallel_size ({group})"
        message = f"must divide {sizes} and the {model.num_experts} experts, got {ep}"
        yield Problem(message, path="expert_parallel_size")
    elif group // ep > expert_width:
        message = f"{group} GPUs cannot split experts of width {expert_width}. Try enable_expert_parallel"
        yield Problem(message, path="data_parallel_size")


def expert_group(
    tensor_parallel_size: int, data_parallel_size: int, expert_parallel_size: int, *, enable_expert_parallel: bool
) -> int:
    """Return the GPUs that the experts are spread over; vLLM spreads them over all of a stage or none.

    Raises
    ------
    SpecError
        Both ways to say it were used, and they contradict each other.
    """
    if not enable_expert_parallel:
        return expert_parallel_size
    group = tensor_parallel_size * data_parallel_size
    if expert_parallel_size not in (1, group):
        message = f"enable_expert_parallel spreads the experts over all {group} GPUs of a stage; leave this at 1"
        raise SpecError(Problem(f"{message}, got {expert_parallel_size}", path="expert_parallel_size"))
    return group


def splits(model: ModelSpec, tensor_parallel_size: int) -> bool:
    """Return whether heads and MLP divide among so many GPUs; fewer key-value heads than GPUs are copied."""
    tp, kv_heads = tensor_parallel_size, model.num_key_value_heads
    heads = model.num_attention_heads % tp == 0 and (kv_heads % tp == 0 or tp % kv_heads == 0)
    return heads and (model.num_dense_layers == 0 or model.intermediate_size % tp == 0)
