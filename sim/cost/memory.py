"""Memory: weights, peak of the activations, reserve; what is left is the pool of key-value blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sim.cost.eager import score_bytes
from sim.lifecycle.shapes import (
    Matrix,
    attention_matrices,
    head_matrix,
    kv_bytes_per_token_layer,
    mlp_matrices,
    parameters,
)
from sim.spec.engine import EngineSpec, Share
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
    data_parallel_size: int
    """Ranks with attention and cache of their own, whose experts are shared."""
    linear_bytes: float
    """Bytes of a weight of attention, dense MLP and shared experts [B]."""
    expert_bytes: float
    """Bytes of a weight of a routed expert [B]."""
    expert_multiple: int
    """Routed experts' width on a GPU is padded to a multiple of this."""

    @property
    def stage_gpus(self) -> int:
        """GPUs of one pipeline stage: those that the experts of a layer are spread over."""
        return self.tensor_parallel_size * self.data_parallel_size

    @property
    def num_gpus(self) -> int:
        """GPUs of one replica."""
        return self.stage_gpus * self.pipeline_parallel_size

    def expert_matrices(self, model: ModelSpec) -> tuple[Matrix, ...]:
        """One routed expert as a GPU holds it; expert parallelism keeps experts whole, the other GPUs split them."""
        share = self.stage_gpus // self.expert_parallel_size
        width = -(-model.moe_intermediate_size // share)
        return mlp_matrices(model, math.ceil(width / self.expert_multiple) * self.expert_multiple)


@dataclass(frozen=True)
class Draft:
    """What the drafter of a speculating engine adds on a GPU."""

    weights_bytes: float
    """Weights of its own [B]."""
    kv_bytes_per_token: float
    """Cache bytes of a token in its layers [B]."""


@dataclass(frozen=True)
class CachePlan:
    """How the room that is left is given to sequences."""

    value_bytes: float
    """Bytes of a cached value [B]."""
    block_size: int
    """Tokens in a block."""
    reserved_tokens: int | None = None
    """Tokens that a sequence reserves in one piece, whatever it uses; None: blocks as it grows (PagedAttention)."""
    use_cache: bool = True
    """False: nothing is kept, and the room holds the activations of what each step computes again."""


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
    """Tokens in a block of the cache; contiguous: the tokens reserved for a sequence."""
    block_bytes: float
    """One block of the cache."""
    num_gpu_blocks: int
    """Blocks in the pool of one data-parallel rank, the null block included; 0 where the model does not fit."""
    kv_bytes_per_token: float
    """Bytes that a token takes from the pool on one GPU of each stage together; layers whose cache grows with the
    context, or, without a cache, the activations of a token that is computed again [B]."""

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
    towers = model.tower_parameters / tp * PLAIN_BYTES if first else 0.0
    copies = int(first) + int(last) - int(first and last and model.tie_word_embeddings)
    return num_layers * layer + copies * vocabulary + towers + (model.hidden_size * PLAIN_BYTES if last else 0)


def forward_bytes(model: ModelSpec, layout: Layout, max_num_batched_tokens: int) -> float:
    """Peak of the activations in a forward pass of the largest batch on one GPU [B].

    Live at the widest point: hidden state and residual, and inputs and results of the widest block (attention, dense
    MLP, or 4-bit experts, whose kernels allocate as they run). *Assumed* from the shapes that vLLM's kernels ask for.
    """
    tp, h = layout.tensor_parallel_size, model.hidden_size
    attention = attention_matrices(model, tp)
    mlp = mlp_matrices(model, model.intermediate_size, tp)
    widest = [sum(m.width for m in attention[:-1]) + attention[-1].depth]
    if model.num_dense_layers:
        widest.append(mlp[0].width + mlp[-1].depth)
    if model.is_moe and not _keeps_workspace(layout):
        widest.append(_workspace_width(model, layout))
    return max_num_batched_tokens * (2 * h + max(widest)) * PLAIN_BYTES


def workspace_bytes(model: ModelSpec, layout: Layout, max_num_batched_tokens: int) -> float:
    """Workspaces of the fused experts that a GPU keeps beside whatever else is live [B].

    Two of them: inputs or results of the first product, and inputs of the second, for every routed token of the largest
    batch. vLLM's modular kernels keep them, so they add to the sampler's peak: 2.68 GiB logged for Qwen3-30B-A3B where
    the dense models of its vocabulary have 2.21.
    """
    if not (model.is_moe and _keeps_workspace(layout)):
        return 0.0
    return float(max_num_batched_tokens * _workspace_width(model, layout) * PLAIN_BYTES)


def _keeps_workspace(layout: Layout) -> bool:
    return layout.expert_bytes >= 1


def _workspace_width(model: ModelSpec, layout: Layout) -> int:
    """Values that a token takes in the workspaces of the fused experts on one GPU."""
    first, last = layout.expert_matrices(model)
    routed = model.num_experts_per_tok * layout.data_parallel_size / layout.expert_parallel_size
    return math.ceil(routed * (max(first.width, model.hidden_size) + last.depth))


def plan_memory(
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    layout: Layout,
    cache: CachePlan,
    *,
    gpu_memory_utilization: float,
    max_num_seqs: int,
    max_num_batched_tokens: int,
    eager: bool = False,
    draft: Draft | None = None,
) -> Memory:
    r"""Divide the memory of a replica's GPUs and return the division of the one that holds the fewest blocks.

    Parameters
    ----------
    model, gpu, engine, layout, cache : what runs where, and how the room is given out
    gpu_memory_utilization : share of the device memory that the engine may use [1]
    max_num_seqs, max_num_batched_tokens : limits of a batch, with which the engine measures its peak at the start
    eager : the scores of one prompt as long as the largest batch are in memory at the peak
    draft : what drafts tokens; it lies with the last stage

    Notes
    -----
    .. math:: N = \left\lfloor \frac{u M - W - \max(A, S) - E - R}{\text{block bytes}} \right\rfloor

    As vLLM sizes its pool: device memory M, weights W, a profiling run whose peak is the forward pass A or the sampler
    S over max_num_seqs x vocabulary, workspaces of experts E, non-torch reserve R. CUDA graphs come later and on top
    (vLLM 0.15). Other engines share the same parts out in another order (`MemoryRule.share`).
    """
    rule, tp = engine.memory, layout.tensor_parallel_size
    usable = gpu.hbm_bytes * gpu_memory_utilization
    forward = forward_bytes(model, layout, max_num_batched_tokens)
    if eager:
        forward += score_bytes(model, max_num_batched_tokens, tp)
    workspace = workspace_bytes(model, layout, max_num_batched_tokens)
    sampler = rule.sampler_bytes * max_num_seqs * model.vocab_size
    reserve = rule.non_torch_bytes[max(size for size in rule.non_torch_bytes if size <= tp)] + rule.graph_bytes
    stages = stage_layers(model.num_hidden_layers, layout.pipeline_parallel_size)
    plans = []
    for stage, num_layers in enumerate(stages):
        first, last = stage == 0, stage == len(stages) - 1
        weights = weights_bytes(model, layout, num_layers, first=first, last=last)
        drafted = draft if last else None
        weights += drafted.weights_bytes if drafted else 0.0
        activation = (max(forward, sampler) if last else forward) + workspace
        pool = _pool_bytes(rule.share, gpu.hbm_bytes, gpu_memory_utilization, weights, activation, reserve)
        share = num_layers / model.num_hidden_layers
        extra = drafted.kv_bytes_per_token if drafted else 0.0
        if cache.use_cache:
            layer_bytes = kv_bytes_per_token_layer(model, cache.value_bytes, tp) * share
            blocks, token_bytes = _blocks(model, pool, layer_bytes, extra, cache, max_num_seqs)
        else:
            token_bytes = forward_bytes(model, layout, 1)
            blocks = max(int(pool // (cache.block_size * token_bytes)), 0)
        plans.append(
            Memory(
                usable_bytes=usable,
                weights_bytes=weights,
                activation_bytes=activation,
                reserve_bytes=reserve,
                pool_bytes=pool,
                block_size=cache.reserved_tokens or cache.block_size,
                block_bytes=(cache.reserved_tokens or cache.block_size) * token_bytes,
                num_gpu_blocks=blocks,
                kv_bytes_per_token=(token_bytes - extra) / share + extra if cache.use_cache else token_bytes,
            )
        )
    return min(plans, key=lambda plan: (plan.num_gpu_blocks, plan.pool_bytes))


def _pool_bytes(share: Share, device: float, frac: float, weights: float, activation: float, reserve: float) -> float:
    """What is left for the cache [B], by what the engine's share `frac` of the memory has to hold."""
    if share == "all":
        return device * frac - weights - activation - reserve
    if share == "static":
        return device * frac - weights - reserve
    return (device - weights - activation - reserve) * frac


def _blocks(
    model: ModelSpec, pool_bytes: float, layer_bytes: float, extra_bytes: float, cache: CachePlan, max_num_seqs: int
) -> tuple[int, float]:
    """Number of blocks in the pool, and the cache bytes of a token that they count, `extra_bytes` included [B].

    Sliding-window layers: either every layer's cache grows with the context, or `max_num_seqs` windows (one block more
    than the window each, as it moves) are set aside and only the full-attention layers grow. Both understate what an
    allocator with separate groups can hold; the larger is taken. A block holds as many layers of one kind as there are
    full ones: what does not fill its last group is padding (vLLM, kv_cache_utils). Reserved in one piece, every layer
    holds the whole length, and the null block takes no room.
    """
    full, sliding = model.num_full_attention_layers, model.num_sliding_layers
    padding = -sliding % full if 0 < full < sliding else 0
    every = (model.num_hidden_layers + padding) * layer_bytes + extra_bytes
    if cache.reserved_tokens:
        return 1 + max(int(pool_bytes // (cache.reserved_tokens * every)), 0), every
    size = cache.block_size
    best = max(int(pool_bytes // (size * every)), 0), every
    if model.sliding_window and model.num_full_attention_layers:
        window = (math.ceil(model.sliding_window / size) + 1) * size
        kept = max_num_seqs * window * model.num_sliding_layers * layer_bytes
        growing = model.num_full_attention_layers * layer_bytes + extra_bytes
        best = max(best, (int((pool_bytes - kept) // (size * growing)), growing))
    return best
