"""Memory: weights, peak of the activations, reserve; what is left is the pool of key-value blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.cost.shapes import (
    Matrix,
    attention_matrices,
    head_matrix,
    kv_bytes_per_token_layer,
    mlp_matrices,
    parameters,
)
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec

PLAIN_BYTES = 2
"""Bytes of a value that is never quantised: embedding, head, router, norms, biases, hidden states (bf16)."""


@dataclass(frozen=True)
class Layout:
    """How a model lies on the GPUs of one replica."""

    tensor_parallel_size: int
    pipeline_parallel_size: int
    expert_parallel_size: int
    linear_bytes: float
    """Bytes of a weight of attention, dense MLP and shared experts [B]."""
    expert_bytes: float
    """Bytes of a weight of a routed expert [B]."""
    expert_multiple: int
    """Routed experts' width on a GPU is padded to a multiple of this."""

    def expert_matrices(self, model: ModelSpec) -> tuple[Matrix, ...]:
        """One routed expert as a GPU holds it; expert parallelism keeps experts whole, the rest of TP splits them."""
        share = self.tensor_parallel_size // self.expert_parallel_size
        width = -(-model.moe_intermediate_size // share)
        return mlp_matrices(model, math.ceil(width / self.expert_multiple) * self.expert_multiple)


@dataclass(frozen=True)
class Memory:
    """Where the memory of the fullest GPU of a replica goes [B]."""

    usable_bytes: float
    """Device memory times gpu_memory_utilization."""
    weights_bytes: float
    activation_bytes: float
    """Peak of the forward pass or of the sampler, whichever is larger."""
    reserve_bytes: float
    """Driver, communication and library buffers; CUDA graphs where the engine counts them first."""
    pool_bytes: float
    """What is left for the cache; negative where the model does not fit."""
    block_size: int
    """Tokens in a block of the cache."""
    block_bytes: float
    """One block of the cache."""
    num_gpu_blocks: int
    """Blocks in the pool, the null block included; 0 where the model does not fit."""
    kv_bytes_per_token: float
    """Cache bytes of a token on one GPU of each stage together; layers whose cache grows with the context [B]."""

    @property
    def room_tokens(self) -> int:
        """Tokens that the usable blocks hold; one block is the null block."""
        return max(self.num_gpu_blocks - 1, 0) * self.block_size


def stage_layers(num_layers: int, num_stages: int) -> tuple[int, ...]:
    """Layers of each pipeline stage; what does not divide goes to the last stages but one (vLLM, get_pp_indices)."""
    layers = [num_layers // num_stages] * num_stages
    for stage in range(num_layers % num_stages):
        layers[-2 - stage if num_stages > 1 else 0] += 1
    return tuple(layers)


def weights_bytes(model: ModelSpec, layout: Layout, num_layers: int, *, first: bool, last: bool) -> float:
    """Weights that one GPU of a pipeline stage holds [B].

    Parameters
    ----------
    model : the architecture
    layout : parallelism and bytes of a weight
    num_layers : layers of the stage; dense and MoE layers in the model's proportion
    first, last : whether the stage holds the embedding, the head
    """
    tp = layout.tensor_parallel_size
    counts = parameters(model)
    projections = sum(matrix.size for matrix in attention_matrices(model, tp)) * layout.linear_bytes
    plain_attention = counts.attention_layer - sum(matrix.size for matrix in attention_matrices(model))
    dense = sum(matrix.size for matrix in mlp_matrices(model, model.intermediate_size, tp)) * layout.linear_bytes
    moe = 0.0
    if model.is_moe:
        shared = mlp_matrices(model, model.shared_expert_intermediate_size, tp)
        expert = sum(matrix.size for matrix in layout.expert_matrices(model)) * layout.expert_bytes
        biases = counts.expert - sum(matrix.size for matrix in mlp_matrices(model, model.moe_intermediate_size))
        moe = (
            counts.router_layer * PLAIN_BYTES
            + sum(matrix.size for matrix in shared) * layout.linear_bytes
            + model.num_experts / layout.expert_parallel_size * (expert + biases * PLAIN_BYTES)
        )
    layer = (
        projections
        + (plain_attention + 2 * model.hidden_size) * PLAIN_BYTES
        + (model.num_dense_layers * dense + model.num_moe_layers * moe) / model.num_hidden_layers
    )
    vocabulary = head_matrix(model, tp).size * PLAIN_BYTES
    copies = int(first) + int(last) - int(first and last and model.tie_word_embeddings)
    return num_layers * layer + copies * vocabulary + (model.hidden_size * PLAIN_BYTES if last else 0)


def forward_bytes(model: ModelSpec, layout: Layout, max_num_batched_tokens: int) -> float:
    """Peak of the activations in a forward pass of the largest batch on one GPU [B].

    Live at the widest point: hidden state and residual, and inputs and results of the widest block (attention, dense
    MLP, or the two workspaces of the fused experts). *Assumed* from the shapes that vLLM's kernels ask for.
    """
    tp, h = layout.tensor_parallel_size, model.hidden_size
    attention = attention_matrices(model, tp)
    mlp = mlp_matrices(model, model.intermediate_size, tp)
    widest = [sum(m.width for m in attention[:-1]) + attention[-1].depth]
    if model.num_dense_layers:
        widest.append(mlp[0].width + mlp[-1].depth)
    if model.is_moe:
        first, last = layout.expert_matrices(model)
        routed = model.num_experts_per_tok / layout.expert_parallel_size
        widest.append(math.ceil(routed * (max(first.width, h) + last.depth)))
    return max_num_batched_tokens * (2 * h + max(widest)) * PLAIN_BYTES


def plan_memory(
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    layout: Layout,
    *,
    value_bytes: float,
    block_size: int,
    gpu_memory_utilization: float,
    max_num_seqs: int,
    max_num_batched_tokens: int,
) -> Memory:
    r"""Divide the memory of a replica's GPUs and return the division of the one that holds the fewest blocks.

    Parameters
    ----------
    model, gpu, engine, layout : what runs where
    value_bytes : bytes of a cached value [B]
    block_size : tokens in a block
    gpu_memory_utilization : share of the device memory that the engine may use [1]
    max_num_seqs, max_num_batched_tokens : limits of a batch, with which the engine measures its peak at the start

    Notes
    -----
    .. math:: N = \left\lfloor \frac{u M - W - \max(A, S) - R}{\text{block bytes}} \right\rfloor

    As vLLM sizes its pool: device memory M, weights W, a profiling run whose peak is the forward pass A or the sampler
    S over max_num_seqs x vocabulary, non-torch reserve R. CUDA graphs come later and on top (vLLM 0.15).
    """
    rule, tp = engine.memory, layout.tensor_parallel_size
    usable = gpu.hbm_bytes * gpu_memory_utilization
    forward = forward_bytes(model, layout, max_num_batched_tokens)
    sampler = rule.sampler_bytes * max_num_seqs * model.vocab_size
    reserve = rule.non_torch_bytes[max(size for size in rule.non_torch_bytes if size <= tp)] + rule.graph_bytes
    stages = stage_layers(model.num_hidden_layers, layout.pipeline_parallel_size)
    plans = []
    for stage, num_layers in enumerate(stages):
        first, last = stage == 0, stage == len(stages) - 1
        weights = weights_bytes(model, layout, num_layers, first=first, last=last)
        activation = max(forward, sampler) if last else forward
        pool = usable - weights - activation - reserve
        share = num_layers / model.num_hidden_layers
        layer_bytes = kv_bytes_per_token_layer(model, value_bytes, tp) * share
        blocks, token_bytes = _blocks(model, pool, layer_bytes, block_size, max_num_seqs)
        plans.append(
            Memory(
                usable_bytes=usable,
                weights_bytes=weights,
                activation_bytes=activation,
                reserve_bytes=reserve,
                pool_bytes=pool,
                block_size=block_size,
                block_bytes=block_size * token_bytes,
                num_gpu_blocks=blocks,
                kv_bytes_per_token=token_bytes / share,
            )
        )
    return min(plans, key=lambda plan: (plan.num_gpu_blocks, plan.pool_bytes))


def _blocks(
    model: ModelSpec, pool_bytes: float, layer_bytes: float, block_size: int, max_num_seqs: int
) -> tuple[int, float]:
    """Number of blocks in the pool, and the cache bytes of a token that they count [B].

    Sliding-window layers: either every layer's cache grows with the context, or `max_num_seqs` windows (one block more
    than the window each, as it moves) are set aside and only the full-attention layers grow. Both understate what an
    allocator with separate groups can hold; the larger is taken.
    """
    every = model.num_hidden_layers * layer_bytes
    best = max(int(pool_bytes // (block_size * every)), 0), every
    if model.sliding_window and model.num_full_attention_layers:
        window = (math.ceil(model.sliding_window / block_size) + 1) * block_size
        kept = max_num_seqs * window * model.num_sliding_layers * layer_bytes
        growing = model.num_full_attention_layers * layer_bytes
        best = max(best, (int((pool_bytes - kept) // (block_size * growing)), growing))
    return best
