"""The step time of a replica, part by part, as arrays over the tokens of the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sim.cost.attention import (
    KNOT_TOKENS,
    Heads,
    PrefillTerms,
    affine_pieces,
    decode_layer_s,
    prefill_terms,
    walk_s,
    walks,
)
from sim.cost.collective import all_reduce_s, all_to_all_s, dispatch_bytes
from sim.cost.eager import eager_pair_s, score_s
from sim.cost.gemm import gemm_s
from sim.cost.kernels import GemmKernel
from sim.cost.machine import Machine
from sim.cost.memory import PLAIN_BYTES
from sim.cost.moe import experts_s
from sim.cost.pipeline import STEP, hops, stage_times
from sim.cost.power import attention_w, power_w
from sim.cost.recompute import recompute_pieces
from sim.cost.step_times import Floats, StepTimes
from sim.lifecycle.shapes import Matrix, attention_matrices, head_matrix, mlp_matrices
from sim.spec.engine import EngineSpec

CONTEXT_KNOTS = np.array([*KNOT_TOKENS, np.inf])
"""Total decode contexts at which a piece of decode attention ends [tokens]."""
BEYOND = 4.0
"""Multiple of the last knot that gives the slope beyond it."""


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
    """Return the parts of a step whose time follows from the number of batch tokens, of the shape of `tokens`.

    `tokens` are those of one data-parallel rank; all ranks have as many, and the experts see them all.
    """
    m, layout, engine, gpu, kernels = machine.model, machine.layout, machine.engine, machine.gpu, machine.kernels
    tp, ep, dp = layout.tensor_parallel_size, layout.expert_parallel_size, layout.data_parallel_size
    layers, hidden_bytes = m.num_hidden_layers, tokens * m.hidden_size * PLAIN_BYTES
    fit_source = f"hardware_profiles/kernels/{kernels.name}"
    engine_source = f"hardware_profiles/engines/{engine.name}"

    def product(count: int, matrix: Matrix) -> Part:
        time_s = product_s(tokens, matrix, machine.precisions.linear, machine)
        equation = f"scale x max(form x e^table, floor) + extra x FLOPs, k={matrix.depth}, n={matrix.width}"
        return Part(f"product {matrix.name}", count, time_s, equation, fit_source)

    parts = [product(layers, matrix) for matrix in attention_matrices(m, tp)]
    if m.num_dense_layers:
        parts += [product(m.num_dense_layers, matrix) for matrix in mlp_matrices(m, m.intermediate_size, tp)]
    if m.is_moe and machine.precisions.experts is not None:
        matrices = layout.expert_matrices(m)
        kernel = machine.precisions.experts
        scale = engine.expert_scale.get(kernel.precision, 1.0)
        time_s = experts_s(dp * tokens, m, matrices, kernel, gpu, ep, scale)
        equation = "scale x max(form x e^table, floor)"
        parts.append(Part("experts", m.num_moe_layers, time_s, equation, fit_source))
        if m.shared_expert_intermediate_size:
            shared = mlp_matrices(m, m.shared_expert_intermediate_size, tp)
            parts += [product(m.num_moe_layers, Matrix(f"shared {x.name}", x.depth, x.width)) for x in shared]
    exchanges = m.num_moe_layers if dp > 1 else 0
    if tp > 1:
        time_s = all_reduce_s(hidden_bytes, tp, gpu, kernels, engine.all_reduce_extra_s)
        parts.append(
            Part("all-reduce", 2 * layers - exchanges, time_s, "(alpha + 2 T h / B) e^table + extra", fit_source)
        )
    if exchanges:
        message_bytes = dispatch_bytes(dp * hidden_bytes, m.num_experts_per_tok, ep)
        time_s = all_to_all_s(message_bytes, layout.stage_gpus, gpu, kernels)
        equation = "all-to-all of min(k / g, 1) 2 T h: (alpha + bytes / B) e^table"
        parts.append(Part("dispatch and combine", 2 * exchanges, time_s, equation, fit_source))
    elementwise_s = engine.elementwise_passes * hidden_bytes / gpu.memory_bandwidth_bytes_per_s * (0.4 + 0.6 / tp)
    parts.append(Part("elementwise", layers, elementwise_s, "passes x 2 T h / B x (0.4 + 0.6 / tp)", engine_source))
    for name, count, each_s in (
        ("layer_s", layers - m.num_moe_layers, engine.layer_s),
        ("moe_layer_s", m.num_moe_layers, engine.moe_layer_s),
    ):
        if count:
            kind = "MoE layer overhead" if name == "moe_layer_s" else "layer overhead"
            parts.append(Part(kind, count, np.full_like(tokens, each_s), name, engine_source))
    for name, count, time_s in hops(hidden_bytes, machine):
        parts.append(Part(name, count, time_s, "latency + 4 T h / link", fit_source))
    step_s = np.full_like(tokens, engine.step_s)
    parts.append(Part(STEP, 1, step_s, "step_s", engine_source))
    return parts


def sample_s(num_rows: Floats, num_seqs: Floats, machine: Machine) -> Floats:
    """Output head and passes over the fp32 logits of so many rows, host time of n sequences [s]; 0 for none.

    A sequence that emits has one row, one that verifies k drafted tokens k + 1; numbers are those of one rank, and
    whole. More rows are never faster.
    """
    gpu, engine = machine.gpu, machine.engine
    matrix = head_matrix(machine.model, machine.layout.tensor_parallel_size)
    every = product_s(np.arange(np.max(num_rows, initial=0.0) + 1.0), matrix, machine.precisions.plain, machine)
    head_s = np.maximum.accumulate(every)[num_rows.astype(np.intp)]
    logits_s = engine.logits_passes * 4 * num_rows * matrix.width / gpu.memory_bandwidth_bytes_per_s
    return np.where(num_rows > 0, head_s + logits_s + engine.sequence_s * num_seqs, 0.0)


def product_s(tokens: Floats, matrix: Matrix, kernel: GemmKernel, machine: Machine) -> Floats:
    """Time of one matrix product as the engine runs it [s], of the shape of `tokens`."""
    engine, precision = machine.engine, kernel.precision
    scale, extra = engine.gemm_scale.get(precision, 1.0), engine.gemm_compute_extra.get(precision, 0.0)
    return gemm_s(tokens, matrix, kernel, machine.gpu, scale, extra)


def batch_total_s(tokens: Floats, machine: Machine) -> Floats:
    """Time of all that depends on the tokens of a rank's batch alone [s], of the shape of `tokens`.

    A larger batch among them is never faster: between the nodes of a table, a form may rise less than the table falls.
    """
    sizes, back = np.unique(tokens, return_inverse=True)
    total_s = np.sum([part.total_s for part in token_parts(sizes, machine)], axis=0)
    return np.asarray(np.maximum.accumulate(total_s)[back].reshape(np.shape(tokens)))


def prefill_attention(machine: Machine) -> PrefillTerms:
    """Prefill attention of all layers in the terms of a step [s]; data-parallel ranks share tokens and pairs.

    A query in a sliding-window layer sees at most the window: charged in full to every token.
    """
    m, gpu, tp = machine.model, machine.gpu, machine.layout.tensor_parallel_size
    dp, layers, full = machine.layout.data_parallel_size, m.num_hidden_layers, m.num_full_attention_layers
    windows = m.num_sliding_layers * (m.sliding_window or 0)
    if machine.eager:
        pair_s = eager_pair_s(m, gpu, machine.kernels, tp) / dp
        return PrefillTerms(0.0, windows * pair_s, full * pair_s)
    scale, timed_on = machine.engine.prefill_attention_scale, machine.kernels.timed_on
    layer = prefill_terms(m, gpu, machine.attention[1], timed_on, tensor_parallel_size=tp, scale=scale)
    token_s = (layers * layer.token_s + windows * layer.pair_s) / dp
    return PrefillTerms(layers * layer.start_s, token_s, full * layer.pair_s / dp)


def decode_attention(num_seqs: Floats, machine: Machine, num_queries: int = 1) -> tuple[Floats, Floats]:
    r"""Offset and slope in total context of n sequences' decode attention in each piece [s], shape [n, K].

    Parameters
    ----------
    num_seqs : sequences of the replica; data-parallel ranks have an even share of them and of their context
    machine : what runs where
    num_queries : tokens of each sequence in the step; more than one where drafted tokens are verified

    Notes
    -----
    .. math:: A_n(C) = L_f\, a(n, C/n) + L_w\, a(n, \min(C/n, w))

    a is the time of one layer: `decode_layer_s`, or where the engine's kernel does not split contexts (`walks`) a start
    and `walk_s`; L_f and L_w are the layers with full attention and with a window w. All sequences are taken to be
    equally long.
    """
    m, layout = machine.model, machine.layout
    dp, kv = layout.data_parallel_size, machine.precisions.kv
    totals = np.array([0.0, *KNOT_TOKENS, BEYOND * KNOT_TOKENS[-1]])
    ranks, back = np.unique(np.ceil(num_seqs / dp), return_inverse=True)
    shape = (len(ranks), len(totals))
    seqs = np.broadcast_to(np.maximum(ranks, 1.0)[:, np.newaxis], shape)
    context = totals / dp / seqs

    def layer_s(tokens: Floats) -> Floats:
        return decode_layer_s(
            seqs,
            tokens,
            m,
            machine.gpu,
            machine.attention,
            tensor_parallel_size=layout.tensor_parallel_size,
            num_queries=num_queries,
            scale=machine.engine.decode_attention_scale.get(kv, 1.0),
        )

    serial_s, heads = machine.engine.decode_serial_s, Heads.of(m, layout.tensor_parallel_size)
    walking = (serial_s > 0) & walks(seqs, heads, machine.gpu)

    def attention_s(tokens: Floats) -> Floats:
        walked_s = layer_s(np.zeros(shape)) + walk_s(seqs, tokens, heads, machine.gpu, serial_s)
        return np.where(walking, walked_s, layer_s(tokens))

    values_s = m.num_full_attention_layers * attention_s(context)
    if m.num_sliding_layers:
        values_s = values_s + m.num_sliding_layers * attention_s(np.minimum(context, m.sliding_window or 0))
    if machine.eager:
        pair_s = num_queries * score_s(m, machine.gpu, machine.kernels, layout.tensor_parallel_size)
        values_s = values_s + m.num_full_attention_layers * pair_s * totals / dp
    offset_s, slope_s = affine_pieces(values_s, totals)
    some = (num_seqs > 0)[:, np.newaxis]
    return np.where(some, offset_s[back], 0.0), np.where(some, slope_s[back], 0.0)


def step_times(
    machine: Machine, max_num_seqs: int, max_num_batched_tokens: int, max_model_len: int
) -> tuple[StepTimes, StepTimes]:
    """Fold all parts into tables over batch tokens and affine pieces in context.

    Parameters
    ----------
    machine : what runs where
    max_num_seqs, max_num_batched_tokens : limits of a rank; the tables are those of the replica, all ranks together
    max_model_len : longest prompt plus answer [tokens]

    Returns
    -------
    times of a step from its start to its end, all pipeline stages in turn; times that it occupies the slowest stage
    """
    m, dp = machine.model, machine.layout.data_parallel_size
    batch, seqs = np.arange(dp * max_num_batched_tokens + 1.0), np.arange(dp * max_num_seqs + 1.0)
    padded = padded_tokens(np.concatenate([np.ceil(batch / dp), np.ceil(seqs / dp)]), machine.engine, max_num_seqs)
    total_s = batch_total_s(padded, machine)
    batch_s, decode_batch_s = total_s[: len(batch)], total_s[len(batch) :]
    terms = prefill_attention(machine)
    batch_s = batch_s + batch * terms.token_s
    batch_s[0] = decode_batch_s[0] = 0.0
    emit_s = sample_s(np.ceil(seqs / dp), np.ceil(seqs / dp), machine)
    knots = CONTEXT_KNOTS
    if machine.use_cache:
        offset_s, slope_s = decode_attention(seqs, machine)
    else:
        knots, offset_s, slope_s = recompute_pieces(seqs, seqs[-1] * max_model_len, _excess(machine), terms.pair_s)
    emitting_s = emit_s[np.minimum(np.arange(len(batch)), len(seqs) - 1)]
    times = StepTimes(
        batch_s=batch_s,
        decode_batch_s=decode_batch_s,
        sample_s=emit_s,
        knot_tokens=knots,
        decode_offset_s=offset_s,
        decode_slope_s=slope_s,
        pair_s=terms.pair_s,
        prefill_step_s=terms.start_s + m.num_hidden_layers * machine.engine.prefill_layer_s,
        power_w=power_w(batch, batch_s + emitting_s, machine),
        attention_w=attention_w(machine),
        idle_w=machine.num_gpus * machine.gpu.idle_w,
    )
    return times, stage_times(times, machine, padded[: len(batch)], padded[len(batch) :])


def _excess(machine: Machine) -> Callable[[Floats], Floats]:
    """Return the function that gives the time of a batch of tokens beyond that of an empty one [s]."""
    dp, empty_s = machine.layout.data_parallel_size, batch_total_s(np.zeros(1), machine)
    return lambda tokens: batch_total_s(tokens / dp, machine) - empty_s
