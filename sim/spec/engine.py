"""EngineSpec: fitted overheads of a serving engine on a GPU, with their errors.

Engines are data in `hardware_profiles/engines`. A file may say `like: NAME` and then holds only what differs from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field

from sim.spec.base import (
    Bytes,
    NonNegativeNumber,
    PositiveInt,
    PositiveNumber,
    Seconds,
    Spec,
    Text,
)
from sim.spec.evidence import Evidence, FitError
from sim.spec.kernels import Status

Share = Literal["all", "static", "free"]
"""What a pool's `gpu_memory_utilization` is a share of, and what that share holds beside the cache."""


class MemoryRule(Spec):
    """What an engine sets aside before it gives the rest of the memory to the key-value cache."""

    share: Share = "all"
    """all: of the device, for everything (vLLM, gpu_memory_utilization). static: of the device, for weights, reserve
    and cache; activations lie outside (SGLang, mem_fraction_static). free: of what weights, activations and reserve
    leave (TensorRT-LLM, free_gpu_memory_fraction)."""
    sampler_bytes: NonNegativeNumber
    """Peak of the sampler per sequence and vocabulary entry [B]."""
    non_torch_bytes: dict[int, Bytes]
    """Driver, communication and library buffers of one GPU [B] by tensor-parallel size; the nearest below counts."""
    graph_bytes: Bytes = 0.0
    """CUDA graphs, where the engine counts them before it sizes the cache [B]."""
    mxfp4_multiple: PositiveInt = 1
    """Width of 4-bit (mxfp4) experts is padded to a multiple of this."""
    source: Text
    """Where the numbers come from."""


class Range(Spec):
    """What the fitted measurements covered; outside, the profile extrapolates."""

    models: tuple[Text, ...] = ()
    """Models in the measurements."""
    tensor_parallel_sizes: tuple[PositiveInt, ...] = ()
    """Tensor-parallel sizes in the measurements."""
    precisions: tuple[Text, ...] = ()
    """Precisions of the weights in the measurements."""
    note: Text = ""
    """Loads, lengths and whatever else limits them."""


class EngineSpec(Spec):
    """Fitted overheads of one serving engine and version on one GPU; coefficients of `sim.cost`'s step time."""

    name: Text
    """Name in the catalogue: ENGINE-GPU, e.g. `vllm-h100-sxm-80gb`."""
    engine: Text
    """Engine, e.g. `vllm`."""
    version: Text
    """Version measured."""
    date: Text
    """When it was measured."""
    driver: Text = "not stated"
    """Driver and CUDA it ran under."""
    gpu: Text
    """GPU in the catalogue."""
    status: Status
    """Calibrated on this GPU, or extrapolated from another."""
    like: Text | None = None
    """Entry that this one was made from, where it was."""
    source: Text
    """Where the measurements come from."""
    notes: tuple[Text, ...] = ()
    """Choices made, what is held, what is thin."""

    kernels: Text
    """Family of kernels that it runs: vllm, sglang or trtllm; the entry FAMILY-GPU of the kernels applies."""
    gemm_scale: dict[str, PositiveNumber] = Field(default_factory=dict)
    """Time of matrix products relative to the kernels', by precision of the weights; 1 where none is given [1]."""
    gemm_compute_extra: dict[str, NonNegativeNumber] = Field(default_factory=dict)
    """Further time of matrix products, by precision of the weights, relative to the fastest multiplication ever
    measured on the GPU; 0 where none is given [1]."""
    expert_scale: dict[str, PositiveNumber] = Field(default_factory=dict)
    """Time of routed experts relative to the kernels', by precision of the weights; 1 where none is given [1]."""
    decode_attention_scale: dict[str, PositiveNumber] = Field(default_factory=dict)
    """Time of decode attention relative to the kernels', by precision of the cache; 1 where none is given [1]."""
    decode_serial_s: Seconds = 0.0
    """Time in which one thread block walks a token of one sequence's context in a layer, where the engine has a kernel
    that does not split contexts; 0: it has none [s]."""
    prefill_attention_scale: PositiveNumber = 1.0
    """Time of prefill attention relative to the kernels' [1]."""
    elementwise_passes: NonNegativeNumber
    """Times the hidden state crosses the memory in a layer outside products and attention [1]."""
    layer_s: Seconds
    """Overhead of a layer without experts [s]."""
    moe_layer_s: Seconds = 0.0
    """Overhead of a layer with experts [s]."""
    prefill_layer_s: Seconds
    """Further overhead of a layer in a step that carries prefill [s]."""
    all_reduce_extra_s: Seconds
    """Added to each all-reduce of the kernel fit [s]."""
    step_s: Seconds
    """Host time of a step that the GPU waits for [s]."""
    sequence_s: Seconds
    """Host time per sequence that emits [s]."""
    first_token_s: Seconds
    """Host time before the first token, once per request [s]."""
    logits_passes: NonNegativeNumber
    """Times the fp32 logits cross the memory [1]."""
    graph_sizes: tuple[PositiveInt, ...] = ()
    """Batch sizes with a CUDA graph, to which smaller batches are padded; empty: no padding."""
    graph_sizes_per_seq: NonNegativeNumber = 0.0
    """Graphs are captured up to this many times max_num_seqs; 0: up to the largest size."""
    memory: MemoryRule
    """What is set aside before the cache."""
    errors: dict[str, FitError]
    """Cross-validated errors by metric: itl, tpot, ttft, throughput."""
    range: Range
    """What the measurements covered."""
    evidence: Evidence | None = None
    """What the fit rests on; None where it was carried over from another GPU or engine."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the rules between fields that are broken."""
        if any(small >= large for small, large in zip(self.graph_sizes, self.graph_sizes[1:], strict=False)):
            yield "graph_sizes", "must increase"
        if 1 not in self.memory.non_torch_bytes:
            yield "memory.non_torch_bytes", "must have an entry for tensor-parallel size 1"
        for name in self.evidence.names if self.evidence is not None else ():
            if not self._has(name):
                yield "evidence.names", f"{name} is no coefficient of this engine"

    @property
    def has_covariance(self) -> bool:
        """Whether it is known how far the coefficients may be off, and so whether draws of them differ."""
        return self.evidence is not None and bool(self.evidence.log_covariance)

    def _has(self, path: str) -> bool:
        """Whether there is a number at a path."""
        field, _, entry = path.partition(".")
        found = getattr(self, field, None)
        return isinstance(found.get(entry) if isinstance(found, dict) and entry else found, float | int)

    def value_of(self, path: str) -> float:
        """Return a coefficient by path: a field, or an entry of a table such as gemm_scale.bf16."""
        field, _, entry = path.partition(".")
        value = getattr(self, field)
        return float(value[entry] if entry else value)

    def with_values(self, values: Mapping[str, float]) -> EngineSpec:
        """Return the engine with coefficients replaced, by path; the entries of a table that are not named stay."""
        changes: dict[str, object] = {}
        for path, value in values.items():
            field, _, entry = path.partition(".")
            if entry:
                table = changes.get(field, getattr(self, field))
                changes[field] = {**table, entry: value}  # type: ignore[dict-item]
            else:
                changes[field] = value
        return self.model_copy(update=changes)
