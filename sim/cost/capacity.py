"""Capacity: whether a model fits, and if not, by how much and what would help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from sim.cost.layout import splits
from sim.cost.machine import Machine
from sim.cost.memory import CachePlan, Draft, Layout, Memory, plan_memory
from sim.cost.precision import Precisions, resolve_precisions
from sim.errors import Problem, SpecError
from sim.spec.engine import EngineSpec
from sim.spec.model import ModelSpec

LEAN = ("fp8", "int4", "mxfp4")
"""Precisions of the weights worth a try where a model does not fit; the checkpoint's own comes first."""


@dataclass(frozen=True)
class Limits:
    """The engine's limits that decide how memory is divided."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    gpu_memory_utilization: float
    max_model_len: int | None
    """Longest prompt plus answer [tokens]; None: the model's, or what fits."""
    kv_cache_layout: str
    """paged: blocks as a sequence grows; contiguous: max_model_len tokens in one piece from its start."""

    def problems(self, model: ModelSpec) -> Iterator[Problem]:
        """Yield the limits that make no sense, by themselves or for the model."""
        for name in ("max_num_seqs", "max_num_batched_tokens", "block_size"):
            if getattr(self, name) < 1:
                yield Problem(f"must be >= 1, got {getattr(self, name)}", path=name)
        if self.max_num_batched_tokens < self.max_num_seqs:
            message = f"must be >= max_num_seqs ({self.max_num_seqs}), got {self.max_num_batched_tokens}"
            yield Problem(message, path="max_num_batched_tokens")
        if not 0 < self.gpu_memory_utilization <= 1:
            message = f"must be above 0 and at most 1, got {self.gpu_memory_utilization:g}"
            yield Problem(message, path="gpu_memory_utilization")
        longest = model.max_position_embeddings
        if self.max_model_len is not None and not 1 <= self.max_model_len <= longest:
            message = f"must be 1 to {longest}, the context length of {model.name}, got {self.max_model_len}"
            yield Problem(message, path="max_model_len")
        if self.kv_cache_layout not in ("paged", "contiguous"):
            message = f'"{self.kv_cache_layout}" is not allowed. Allowed: paged, contiguous'
            yield Problem(message, path="kv_cache_layout")
        elif self.kv_cache_layout == "contiguous" and self.max_model_len is None:
            yield Problem("missing: a contiguous cache reserves so many tokens for each sequence", path="max_model_len")

    def plan(self, machine: Machine, draft: Draft | None = None) -> Memory:
        """Divide the memory of a machine."""
        return plan_memory(
            machine.model,
            machine.gpu,
            machine.engine,
            machine.layout,
            CachePlan(
                machine.precisions.value_bytes,
                self.block_size,
                self.max_model_len if self.kv_cache_layout == "contiguous" else None,
                machine.use_cache,
            ),
            gpu_memory_utilization=self.gpu_memory_utilization,
            max_num_seqs=self.max_num_seqs,
            max_num_batched_tokens=self.max_num_batched_tokens,
            eager=machine.eager,
            draft=draft,
        )


def make_layout(precisions: Precisions, engine: EngineSpec, tp: int, pp: int, ep: int, dp: int) -> Layout:
    """Return how a model lies on its GPUs."""
    return Layout(
        tensor_parallel_size=tp,
        pipeline_parallel_size=pp,
        expert_parallel_size=ep,
        data_parallel_size=dp,
        linear_bytes=precisions.linear.fit.weight_bytes,
        expert_bytes=precisions.experts.fit.weight_bytes if precisions.experts else 0.0,
        expert_multiple=engine.memory.mxfp4_multiple if precisions.weights == "mxfp4" else 1,
    )


def capacity_message(machine: Machine, limits: Limits, memory: Memory, draft: Draft | None = None) -> str:
    """Return by how much a machine is too small, and which other choices would do."""
    max_model_len = limits.max_model_len
    model, gpu, num_gpus = machine.model, machine.gpu, machine.num_gpus
    wanted = max_model_len or limits.block_size
    needed = memory.kv_bytes_per_token * wanted / machine.layout.pipeline_parallel_size
    short_gb = (needed - memory.pool_bytes) / 1e9
    parts = (
        f"{memory.weights_bytes / 1e9:.1f} GB of weights, {memory.activation_bytes / 1e9:.1f} GB of activations and "
        f"{memory.reserve_bytes / 1e9:.1f} GB of reserve"
    )
    cache = f"; {max_model_len} tokens of cache take {needed / 1e9:.1f} GB" if max_model_len else ""
    return (
        f"{model.name} ({machine.precisions.weights}) does not fit {num_gpus} x {gpu.name}: a GPU would hold {parts}, "
        f"and offers {memory.usable_bytes / 1e9:.1f} GB at gpu_memory_utilization="
        f"{limits.gpu_memory_utilization:.2f}{cache}. It is short of {short_gb:.1f} GB a GPU. "
        f"Try {' or '.join(_remedies(machine, limits, memory, draft)) or 'a larger GPU'}."
    )


def _remedies(machine: Machine, limits: Limits, memory: Memory, draft: Draft | None) -> list[str]:
    """Return changes, one of each kind, with which the model would fit; where none does, two changes at once.

    Of each kind the mildest that holds one whole context, else the one that holds most. The checkpoint's own precision
    comes before all others: it costs no quality.
    """
    max_model_len = limits.max_model_len
    whole = max_model_len or machine.model.max_position_embeddings

    def best(kind: Iterator[tuple[str, Machine]]) -> list[str]:
        rooms = {change: limits.plan(other, draft).room_tokens for change, other in kind}
        enough = [change for change, room in rooms.items() if room >= whole]
        if not enough and not max_model_len and rooms:
            enough = [max(rooms, key=rooms.__getitem__)]
        return [change for change in enough[:1] if rooms[change] > 0]

    as_published = f"weights={machine.model.quantization}"
    native = best(each for each in _leaner(machine) if each[0] == as_published)
    kinds = [_larger(machine), *([] if native else [_leaner(machine)]), _deeper(machine)]
    remedies = native + [change for kind in kinds for change in best(kind)]
    if not remedies:
        remedies = best(_larger_and_leaner(machine))
    if max_model_len and memory.room_tokens > 0:
        remedies.append(f"max_model_len={memory.room_tokens}")
    return remedies


def _larger(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """Yield the machine on more GPUs that split each layer."""
    layout = machine.layout
    for size in sorted(machine.kernels.all_reduce):
        larger = replace(layout, tensor_parallel_size=size)
        if size > layout.tensor_parallel_size and splits(machine.model, size):
            yield f"tensor_parallel_size={size}", replace(machine, layout=larger)


def _leaner(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """Yield the machine with leaner weights."""
    model, p, layout = machine.model, machine.precisions, machine.layout
    sizes = (
        layout.tensor_parallel_size,
        layout.pipeline_parallel_size,
        layout.expert_parallel_size,
        layout.data_parallel_size,
    )
    for weights in dict.fromkeys((model.quantization, *LEAN)):
        if weights is None or weights == p.weights:
            continue
        try:
            leaner = resolve_precisions(model, machine.kernels, weights, None, p.kv)
        except SpecError:
            continue
        leaner_layout = make_layout(leaner, machine.engine, *sizes)
        if leaner_layout.linear_bytes + leaner_layout.expert_bytes < layout.linear_bytes + layout.expert_bytes:
            yield f"weights={weights}", replace(machine, precisions=leaner, layout=leaner_layout)


def _larger_and_leaner(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """Yield the machine on more GPUs with leaner weights; the mildest precision first."""
    for weights, leaner in _leaner(machine):
        for size, larger in _larger(leaner):
            yield f"{size} with {weights}", larger


def _deeper(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """Yield the machine with more pipeline stages, where tensor parallelism cannot grow."""
    if any(True for _ in _larger(machine)):
        return
    for size in (2, 4, 8):
        deeper = replace(machine.layout, pipeline_parallel_size=size)
        if machine.layout.pipeline_parallel_size < size <= machine.model.num_hidden_layers:
            yield f"pipeline_parallel_size={size}", replace(machine, layout=deeper)
