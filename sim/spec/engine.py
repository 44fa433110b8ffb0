"""KernelSpec and EngineSpec: fitted efficiencies of a GPU's kernels and of a serving engine, with their errors.

Both are data in `hardware_profiles/`. A file may say `like: NAME` and then holds only what differs from that entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from sim.spec.base import (
    Bytes,
    BytesPerSecond,
    FlopsPerSecond,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Seconds,
    Spec,
    Text,
)
from sim.spec.evidence import Evidence, FitError

Status = Literal["calibrated", "extrapolated"]
"""Fitted to measurements of this engine on this GPU, or carried over from another one."""


class GemmFit(Spec):
    """Time of a matrix product of one precision: a launch plus a smooth roofline (see `sim.cost.gemm`)."""

    weight_bytes: PositiveNumber
    """Bytes of one weight as stored, scales included [B]."""
    activation_bytes: PositiveNumber
    """Bytes of one activation read [B]; results are written in 2 bytes."""
    peak: Literal["bf16", "fp8"]
    """Precision of the multiplications."""
    launch_s: PositiveSeconds
    """Time of an empty product [s]."""
    compute_frac: PositiveFraction
    """Share of the peak throughput reached by a large product [1]."""
    bandwidth_frac: PositiveFraction
    """Share of the memory bandwidth reached by a thin product [1]."""
    sharpness: float = Field(ge=1)
    """Exponent that joins the compute and the memory side; infinite would be the maximum of both."""
    depth_s: Seconds = 0.0
    """Time per element of the inner dimension, one output tile's walk along it [s]."""
    ceiling_flops_per_s: FlopsPerSecond
    """Largest throughput measured for this precision, which no product exceeds [FLOP/s]."""
    error: FitError | None = None
    """Error of the fit; None where the coefficients are assumed."""
    source: Text
    """Where the coefficients come from."""


class ExpertFit(Spec):
    """Time of one MoE layer's routed experts: launch, smooth roofline, token permutation (see `sim.cost.moe`)."""

    weight_bytes: PositiveNumber
    """Bytes of one weight as stored, scales included [B]."""
    peak: Literal["bf16", "fp8"]
    """Precision of the multiplications."""
    launch_s: PositiveSeconds
    """Routing and launches of a layer [s]."""
    compute_frac: PositiveFraction
    """Share of the peak throughput reached by a large batch [1]."""
    bandwidth_frac: PositiveFraction
    """Share of the memory bandwidth reached by a small batch [1]."""
    sharpness: float = Field(ge=1)
    """Exponent that joins the compute and the memory side."""
    permute_passes: NonNegativeNumber
    """Times a routed token's hidden state crosses the memory [1]."""
    error: FitError | None = None
    """Error of the fit; None where the coefficients are assumed."""
    source: Text
    """Where the coefficients come from."""


class DecodeAttentionFit(Spec):
    """Time of one decode attention call beyond reading the cache (see `sim.cost.attention`)."""

    layer_s: Seconds
    """Start of the call, per layer [s]."""
    sequence_s: Seconds
    """Per sequence and key-value head on the GPU, per layer [s]."""
    error: FitError | None = None
    """Error of the fit; None where the coefficients are assumed."""
    source: Text
    """Where the coefficients come from."""


class PowerFit(Spec):
    """Power of a busy GPU between idle and its board limit (see `sim.cost.power`)."""

    base: NonNegativeNumber
    """Drive of a step that moves and computes nothing [1]."""
    memory: NonNegativeNumber
    """Drive per share of the peak memory bandwidth [1]."""
    compute: NonNegativeNumber
    """Drive per share of the peak throughput [1]."""
    attention: PositiveFraction
    """Share of the span between idle and limit that is drawn during attention [1]."""
    error: FitError | None = None
    """Error of the fit; None where the coefficients are assumed."""
    source: Text
    """Where the coefficients come from."""


class AllReduceFit(Spec):
    """Time of one all-reduce inside a node: latency + message bytes / bandwidth."""

    latency_s: PositiveSeconds
    """Time of an empty message [s]."""
    bytes_per_s: BytesPerSecond
    """Message bytes (not bus bytes) over time, in the limit [B/s]."""


class KernelSpec(Spec):
    """Fitted efficiencies of one GPU's kernels: what its ceilings are worth in practice."""

    name: Text
    """Name in the catalogue: the GPU's name."""
    status: Status
    """Calibrated on this GPU, or extrapolated from another."""
    like: Text | None = None
    """Entry that this one was made from, where it was."""
    gemm: dict[str, GemmFit]
    """Matrix products by precision of the weights: bf16, and fp8, int8, int4 where there are."""
    experts: dict[str, ExpertFit]
    """Routed experts by precision of the weights: bf16, fp8, int4, mxfp4."""
    decode_attention: DecodeAttentionFit
    """Decode attention; how fast it reads the cache differs by engine and stands there."""
    all_reduce: dict[int, AllReduceFit]
    """All-reduce by number of GPUs."""
    power: PowerFit
    """Electrical power by use."""
    link_frac: PositiveFraction
    """Share of the link bandwidth that point-to-point and all-to-all transfers reach [1]."""
    link_latency_s: Seconds
    """Latency of a point-to-point transfer [s]."""
    source: Text
    """Where the numbers come from, as far as an entry does not say it itself."""
    notes: tuple[Text, ...] = ()
    """What a reader must know to use them."""


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

    gemm_compute_scale: PositiveNumber = 1.0
    """Factor on the compute side of every matrix product [1]."""
    gemm_bandwidth_scale: PositiveNumber = 1.0
    """Factor on the memory side of every matrix product [1]."""
    decode_bandwidth_frac: dict[str, PositiveFraction]
    """Share of the memory bandwidth that decode attention reaches, by precision of the cache [1]."""
    decode_serial_s: Seconds = 0.0
    """Decode attention that walks each sequence with one thread block: per token of mean context, per layer [s]."""
    prefill_compute_frac: PositiveFraction
    """Share of the bf16 peak that prefill attention reaches [1]."""
    elementwise_passes: NonNegativeNumber
    """Times the hidden state crosses the memory in a layer outside products and attention [1]."""
    layer_s: Seconds
    """Overhead of a layer [s]."""
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
