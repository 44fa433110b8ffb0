"""The step time of a replica, part by part, as arrays over the tokens of the batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.cost.attention import decode_offset_s, decode_slope_s, decode_token_s, prefill_pair_s
from sim.cost.collective import all_reduce_s, all_to_all_s, point_to_point_s
from sim.cost.gemm import gemm_s
from sim.cost.memory import PLAIN_BYTES, Layout
from sim.cost.moe import distinct_experts, experts_s
from sim.cost.power import busy_w
from sim.cost.precision import Precisions
from sim.cost.shapes import Matrix, attention_matrices, head_matrix, linear_flops_per_token, mlp_matrices
from sim.cost.step_times import Floats, StepTimes
from sim.spec.engine import EngineSpec, KernelSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


@dataclass(frozen=True)
class Machine:
    """What runs where: everything that a step time depends on."""

    model: ModelSpec
    gpu: GpuSpec
    kernels: KernelSpec
    engine: EngineSpec
    precisions: Precisions
    layout: Layout

    @property
    def num_gpus(self) -> int:
        """GPUs of one replica."""
        return self.layout.tensor_parallel_size * self.layout.pipeline_parallel_size


@dataclass(frozen=True)
class Part:
    """One part of a step that depends on the batch's tokens alone."""

    name: str
    count: int
    """How often it occurs in a step: layers, or 1."""
    each_s: Floats
    """Time of one occurrence [s]."""
    equation: str
    source: str

    @property
    def total_s(self) -> Floats:
        """Time of all occurrences [s]."""
        return self.count * self.each_s


def padded_tokens(num_tokens: Floats, engine: EngineSpec, max_num_seqs: int) -> Floats:
    """Batch sizes after padding to the next captured CUDA graph; larger batches run as they are.

    vLLM captures graphs up to min(512, 2 x max_num_seqs) tokens (vllm/config, cudagraph_capture_sizes).
    """
    limit = engine.graph_sizes_per_seq * max_num_seqs or np.inf
    sizes = np.array([0, *(size for size in engine.graph_sizes if size <= limit)], dtype=np.float64)
    index = np.searchsorted(sizes, num_tokens)
    return np.where(index < len(sizes), sizes[np.minimum(index, len(sizes) - 1)], num_tokens)


def token_parts(tokens: Floats, machine: Machine) -> list[Part]:
    """Return the parts of a step whose time follows from the number of batch tokens, of the shape of `tokens`."""
    m, layout, engine, gpu, kernels = machine.model, machine.layout, machine.engine, machine.gpu, machine.kernels
    tp, ep, pp = layout.tensor_parallel_size, layout.expert_parallel_size, layout.pipeline_parallel_size
    layers, hidden_bytes = m.num_hidden_layers, tokens * m.hidden_size * PLAIN_BYTES
    fit_source = f"hardware_profiles/kernels/{kernels.name}"
    engine_source = f"hardware_profiles/engines/{engine.name}"

    def product(count: int, matrix: Matrix) -> Part:
        time_s = gemm_s(
            tokens,
            matrix,
            machine.precisions.linear,
            gpu,
            engine.gemm_compute_scale,
            engine.gemm_bandwidth_scale,
        )
        equation = f"t0 + [(2 T n k / F fe)^p + (bytes / B be + kappa k)^p]^(1/p), k={matrix.depth}, n={matrix.width}"
        return Part(f"product {matrix.name}", count, time_s, equation, fit_source)

    parts = [product(layers, matrix) for matrix in attention_matrices(m, tp)]
    if m.num_dense_layers:
        parts += [product(m.num_dense_layers, matrix) for matrix in mlp_matrices(m, m.intermediate_size, tp)]
    if m.is_moe and machine.precisions.experts is not None:
        matrices = layout.expert_matrices(m)
        time_s = experts_s(tokens, m, matrices, machine.precisions.experts, gpu, ep)
        equation = "t0 + [(2 k T w / F fe)^p + (E (1 - (1 - k/E)^T) w b / B be)^p]^(1/p) + 2 c k T h / B"
        parts.append(Part("experts", m.num_moe_layers, time_s, equation, fit_source))
        if m.shared_expert_intermediate_size:
            shared = mlp_matrices(m, m.shared_expert_intermediate_size, tp)
            parts += [product(m.num_moe_layers, Matrix(f"shared {x.name}", x.depth, x.width)) for x in shared]
    exchanges = m.num_moe_layers if ep > 1 else 0
    if tp > 1:
        time_s = all_reduce_s(hidden_bytes, tp, kernels, engine.all_reduce_extra_s)
        parts.append(Part("all-reduce", 2 * layers - exchanges, time_s, "alpha + extra + 2 T h / B", fit_source))
    if exchanges:
        time_s = all_to_all_s(hidden_bytes * m.num_experts_per_tok / ep, ep, gpu, kernels)
        parts.append(Part("all-to-all", 2 * exchanges, time_s, "latency + 2 k T h / g x (g-1)/g / link", fit_source))
    elementwise_s = engine.elementwise_passes * hidden_bytes / gpu.memory_bandwidth_bytes_per_s * (0.4 + 0.6 / tp)
    parts.append(Part("elementwise", layers, elementwise_s, "passes x 2 T h / B x (0.4 + 0.6 / tp)", engine_source))
    overhead_s = np.full_like(tokens, engine.layer_s + kernels.decode_attention.layer_s)
    parts.append(Part("layer overhead", layers, overhead_s, "layer_s + attention start", engine_source))
    if pp > 1:
        same_node = tp * pp <= gpu.gpus_per_node
        transfer_s = point_to_point_s(2 * hidden_bytes, gpu, kernels, same_node=same_node)
        parts.append(Part("stage transfer", pp - 1, transfer_s, "latency + 4 T h / link", fit_source))
    step_s = np.full_like(tokens, engine.step_s)
    parts.append(Part("step overhead", 1, step_s, "step_s", engine_source))
    return parts


def sample_s(num_emitting: Floats, machine: Machine) -> Floats:
    """Output head, passes over the fp32 logits and host time for n sequences that emit [s]; 0 for none."""
    gpu, engine = machine.gpu, machine.engine
    matrix = head_matrix(machine.model, machine.layout.tensor_parallel_size)
    head_s = gemm_s(
        num_emitting,
        matrix,
        machine.precisions.plain,
        gpu,
        engine.gemm_compute_scale,
        engine.gemm_bandwidth_scale,
    )
    logits_s = engine.logits_passes * 4 * num_emitting * matrix.width / gpu.memory_bandwidth_bytes_per_s
    return np.where(num_emitting > 0, head_s + logits_s + engine.sequence_s * num_emitting, 0.0)


def step_times(machine: Machine, max_num_seqs: int, max_num_batched_tokens: int) -> StepTimes:
    """Fold all parts into tables over batch tokens and affine pieces in context.

    Stages of a pipeline take turns: the time of a step is the sum over its stages (no micro-batches overlap).
    """
    m, gpu, engine, tp = machine.model, machine.gpu, machine.engine, machine.layout.tensor_parallel_size
    batch, seqs = np.arange(max_num_batched_tokens + 1.0), np.arange(max_num_seqs + 1.0)
    padded = padded_tokens(np.concatenate([batch, seqs]), engine, max_num_seqs)
    total_s = np.sum([part.total_s for part in token_parts(padded, machine)], axis=0)
    batch_s, decode_batch_s = total_s[: len(batch)], total_s[len(batch) :]

    value_bytes, kv = machine.precisions.value_bytes, machine.precisions.kv
    token_s = decode_token_s(m, gpu, engine, kv=kv, value_bytes=value_bytes, tensor_parallel_size=tp)
    slope_s = decode_slope_s(seqs, token_s, engine.decode_serial_s, m.num_full_attention_layers)
    window_slope_s = decode_slope_s(seqs, token_s, engine.decode_serial_s, m.num_sliding_layers)
    kv_heads = 1 if m.kv_lora_rank is not None else max(m.num_key_value_heads // tp, 1)
    offset_s = decode_offset_s(
        seqs,
        window_slope_s,
        window_tokens=m.sliding_window or 0,
        sequence_s=kv_heads * machine.kernels.decode_attention.sequence_s,
        num_layers=m.num_hidden_layers,
    )
    pair_s = prefill_pair_s(m, gpu, engine, tp)
    # A query in a sliding-window layer sees at most the window: charged in full to every token of a mixed batch.
    batch_s = batch_s + batch * (m.num_sliding_layers * (m.sliding_window or 0) * pair_s)
    batch_s[0] = decode_batch_s[0] = 0.0
    emit_s = sample_s(seqs, machine)
    return StepTimes(
        batch_s=batch_s,
        decode_batch_s=decode_batch_s,
        sample_s=emit_s,
        knot_tokens=np.array([np.inf]),
        decode_offset_s=offset_s[:, np.newaxis],
        decode_slope_s=slope_s[:, np.newaxis],
        pair_s=m.num_full_attention_layers * pair_s,
        prefill_step_s=m.num_hidden_layers * engine.prefill_layer_s,
        power_w=power_w(batch, batch_s + emit_s[np.minimum(np.arange(len(batch)), max_num_seqs)], machine),
        idle_w=machine.num_gpus * gpu.idle_w,
    )


def read_bytes(tokens: Floats, machine: Machine) -> Floats:
    """Weights that all GPUs of a replica read in one step [B]: everything once, experts only if visited."""
    m, p, tp = machine.model, machine.precisions, machine.layout.tensor_parallel_size
    attention = sum(matrix.size for matrix in attention_matrices(m, tp))
    dense = sum(matrix.size for matrix in mlp_matrices(m, m.intermediate_size, tp))
    shared = sum(matrix.size for matrix in mlp_matrices(m, m.shared_expert_intermediate_size, tp))
    linear = m.num_hidden_layers * attention + m.num_dense_layers * dense + m.num_moe_layers * shared
    fixed = linear * p.linear.weight_bytes + head_matrix(m, tp).size * PLAIN_BYTES
    if p.experts is None:
        return np.full_like(tokens, fixed * tp)
    visited = distinct_experts(tokens, m.num_experts, m.num_experts_per_tok)
    expert = sum(matrix.size for matrix in mlp_matrices(m, m.moe_intermediate_size)) * p.experts.weight_bytes
    return np.asarray(fixed * tp + m.num_moe_layers * visited * expert)


def power_w(tokens: Floats, step_s: Floats, machine: Machine) -> Floats:
    """Power of the replica while a step of T tokens runs [W].

    Bytes and time are those of the weights and the sampling; attention is left out of both. Of the stages of a
    pipeline one is busy at a time, the others idle.
    """
    gpu, pp = machine.gpu, machine.layout.pipeline_parallel_size
    tp = machine.layout.tensor_parallel_size
    time_s = np.where(step_s > 0, step_s, np.inf)
    memory_frac = read_bytes(tokens, machine) / (tp * time_s * gpu.memory_bandwidth_bytes_per_s)
    peak = gpu.peak_flops_per_s(machine.precisions.linear.peak)
    compute_frac = tokens * linear_flops_per_token(machine.model) / (tp * time_s * peak)
    busy = busy_w(memory_frac, compute_frac, machine.kernels.power, gpu)
    return np.where(tokens > 0, tp * (busy + (pp - 1) * gpu.idle_w), machine.num_gpus * gpu.idle_w)
