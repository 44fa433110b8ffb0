"""KernelSpec and BoardSpec: what a GPU's ceilings are worth in practice, by framework family, with errors.

Both are data in `hardware_profiles/`. A file may say `like: NAME` and then holds only what differs from that entry. The
coefficients stand in the file; `tables` names the binary beside it, which holds what the forms leave unexplained.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sim.spec.base import (
    BytesPerSecond,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Seconds,
    Spec,
    Text,
)
from sim.spec.evidence import FitError

Status = Literal["calibrated", "extrapolated"]
"""Fitted to measurements on this GPU, or carried over from another one."""


class Fitted(Spec):
    """What every fit says about itself."""

    table: Text | None = None
    """Name of its table of residuals; None: the form alone."""
    error: FitError | None = None
    """Error on the rows that were fitted; None where the coefficients are assumed."""
    held_out: FitError | None = None
    """Error of the same fit on shapes that were left out of it."""
    monotone: FitError | None = None
    """How far the table was moved to be monotone before it was fitted."""
    range: Text = ""
    """What the measurements covered."""
    source: Text
    """Where the coefficients come from."""


class GemmFit(Fitted):
    """Time of a matrix product of one precision: launch, smooth roofline, table (see `sim.cost.gemm`)."""

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
    ceiling_frac: PositiveFraction
    """Largest share of the peak that was ever measured with ordinary data, which no product exceeds [1]."""


class ExpertFit(Fitted):
    """Time of one MoE layer's routed experts: launch, smooth roofline, permutation, table (see `sim.cost.moe`)."""

    weight_bytes: PositiveNumber
    """Bytes of one weight as stored, scales included [B]."""
    peak: Literal["bf16", "fp8"]
    """Precision of the multiplications."""
    launch_s: PositiveSeconds
    """Routing and launches of a layer [s]."""
    expert_s: Seconds = 0.0
    """Further time for each expert on the GPU, visited or not [s]."""
    compute_frac: PositiveFraction
    """Share of the peak throughput reached by a large batch [1]."""
    bandwidth_frac: PositiveFraction
    """Share of the memory bandwidth reached by a small batch [1]."""
    sharpness: float = Field(ge=1)
    """Exponent that joins the compute and the memory side."""
    permute_passes: NonNegativeNumber
    """Times a routed token's hidden state crosses the memory [1]."""
    ceiling_frac: PositiveFraction
    """Largest share of the peak that was ever measured with ordinary data, which no batch exceeds [1]."""


class DecodeAttentionFit(Fitted):
    """Time of one decode attention call: start, sequences, reading the cache, table (see `sim.cost.attention`)."""

    value_bytes: PositiveNumber
    """Bytes of one cached value [B]."""
    start_s: PositiveSeconds
    """Start of a call [s]."""
    batch_start_s: Seconds = 0.0
    """Further start where there are several sequences and several key-value heads [s]."""
    sequence_s: Seconds
    """Per sequence and key-value head on the GPU [s]."""
    bandwidth_frac: PositiveFraction
    """Share of the memory bandwidth at which the cache is read [1]."""
    ceiling_frac: PositiveFraction = 1.0
    """Largest share of the bandwidth at which a cache was ever read from memory, which no call exceeds [1]."""


class PrefillAttentionFit(Fitted):
    """Time of one prefill attention call: start, smooth roofline, table (see `sim.cost.attention`)."""

    peak: Literal["bf16", "fp8"]
    """Precision of the multiplications."""
    start_s: PositiveSeconds
    """Start of a call [s]."""
    compute_frac: PositiveFraction
    """Share of the peak throughput that long prompts reach [1]."""
    bandwidth_frac: PositiveFraction
    """Share of the memory bandwidth at which queries, keys, values and results move [1]."""


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


class CollectiveFit(Spec):
    """Time of one collective inside a node: latency + message bytes / bandwidth, times the table's residual."""

    latency_s: PositiveSeconds
    """Time of an empty message [s]."""
    bytes_per_s: BytesPerSecond
    """Message bytes (not bus bytes) over time, in the limit [B/s]."""
    link_bytes_per_s: BytesPerSecond | None = None
    """Link of one GPU, one direction, that it was measured on [B/s]; None: whatever link there is."""
    table: Text | None = None
    """Name of its table of residuals; None: the form alone."""
    error: FitError | None = None
    """Error on the rows that were fitted; None where the coefficients are assumed."""
    held_out: FitError | None = None
    """Error of the same fit on message sizes that were left out of it."""


class KernelSpec(Spec):
    """Fitted kernels of one framework family on one GPU."""

    name: Text
    """Name in the catalogue: FAMILY-GPU, e.g. `vllm-h100-sxm-80gb`."""
    family: Text
    """Framework family whose kernels were timed: vllm, sglang or trtllm."""
    version: Text
    """Version of the framework."""
    gpu: Text
    """GPU in the catalogue that the kernels were timed on."""
    status: Status
    """Calibrated on the GPU of its name, or extrapolated from another."""
    like: Text | None = None
    """Entry that this one was made from, where it was."""
    tables: Text | None = None
    """File beside this one that holds the tables of residuals."""
    gemm: dict[str, GemmFit]
    """Matrix products by precision of the weights: bf16, and fp8, fp8_block, int8, int4 where there are."""
    experts: dict[str, ExpertFit]
    """Routed experts by precision of the weights: bf16, fp8, fp8_block, int4, mxfp4."""
    decode_attention: dict[str, DecodeAttentionFit]
    """Decode attention by precision of the cache: bf16, fp8."""
    prefill_attention: dict[str, PrefillAttentionFit]
    """Prefill attention by precision of the cache: bf16, fp8."""
    all_reduce: dict[PositiveInt, CollectiveFit]
    """All-reduce as the framework does it inside CUDA graphs, by number of GPUs."""
    source: Text
    """Where the numbers come from, as far as an entry does not say it itself."""
    notes: tuple[Text, ...] = ()
    """What a reader must know to use them."""


class BoardSpec(Spec):
    """What is fitted for a GPU and its node, whatever framework runs on it: power, links, NCCL."""

    name: Text
    """Name in the catalogue: the GPU's name."""
    status: Status
    """Calibrated on this GPU, or extrapolated from another."""
    like: Text | None = None
    """Entry that this one was made from, where it was."""
    kernels_like: Text | None = None
    """GPU whose kernels apply where none were timed on this one; its efficiencies go with this board's ceilings."""
    tables: Text | None = None
    """File beside this one that holds the tables of residuals."""
    gemm: dict[str, GemmFit] = Field(default_factory=dict)
    """Matrix products that take the place of those of `kernels_like`, by precision of the weights."""
    all_reduce: dict[PositiveInt, CollectiveFit] = Field(default_factory=dict)
    """All-reduce in place of that of `kernels_like`, where the links differ in kind."""
    power: PowerFit
    """Electrical power by use."""
    link_frac: PositiveFraction
    """Share of the link bandwidth that point-to-point transfers reach [1]."""
    link_latency_s: Seconds
    """Latency of a point-to-point transfer [s]."""
    all_to_all: dict[PositiveInt, CollectiveFit] = Field(default_factory=dict)
    """NCCL's all-to-all by number of GPUs; a message is what one GPU sends in all."""
    all_gather: dict[PositiveInt, CollectiveFit] = Field(default_factory=dict)
    """NCCL's all-gather by number of GPUs; a message is what every GPU has in the end."""
    source: Text
    """Where the numbers come from, as far as an entry does not say it itself."""
    notes: tuple[Text, ...] = ()
    """What a reader must know to use them."""
