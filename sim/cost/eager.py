"""Attention without an IO-aware kernel: the scores go to memory and come back."""

from __future__ import annotations

from sim.cost.gemm import compute_rate, memory_rate
from sim.cost.kernels import Kernels
from sim.lifecycle.shapes import attention_flops_per_pair_layer
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec

SCORE_PASSES = 4
"""Times a score crosses the memory: scores written, read by the softmax, probabilities written, read by the second
product (FlashAttention, arXiv:2205.14135, algorithm 0). Scaling, masking and an fp32 softmax of their own add more."""
SCORE_BYTES = 2
"""Bytes of a score or probability: bf16, as in the paper."""
UNMASKED = 2.0
"""Pairs computed for each pair that counts: the masked half of a prompt read in one step is computed too. A chunk
after c tokens of context has fewer, so this is an upper bound there."""


def score_s(model: ModelSpec, gpu: GpuSpec, kernels: Kernels, tensor_parallel_size: int) -> float:
    r"""Time to move the scores of one query x context pair in one layer [s].

    Notes
    -----
    .. math:: t = 4 \cdot \frac{H}{tp} \cdot 2 \mathrm{B} / (B b_e)

    b_e: the share of the bandwidth that thin products reach (*assumed* for these kernels).
    """
    moved_bytes = SCORE_PASSES * SCORE_BYTES * model.num_attention_heads / tensor_parallel_size
    return moved_bytes / memory_rate(kernels.gemm["bf16"].fit, gpu)


def eager_pair_s(model: ModelSpec, gpu: GpuSpec, kernels: Kernels, tensor_parallel_size: int) -> float:
    """Prefill attention of one layer per query x context pair [s]: two products, then the scores through memory.

    The products run as fast as large matrix products do; they and the scores take turns.
    """
    rate = compute_rate(kernels.gemm["bf16"].fit, gpu)
    product_s = attention_flops_per_pair_layer(model, tensor_parallel_size) / rate
    return UNMASKED * (product_s + score_s(model, gpu, kernels, tensor_parallel_size))


def score_bytes(model: ModelSpec, num_tokens: int, tensor_parallel_size: int) -> float:
    """Memory for the scores and probabilities of one prompt of `num_tokens` on one GPU [B]: 2 H / tp x T^2 x 2 B."""
    return 2.0 * SCORE_BYTES * model.num_attention_heads / tensor_parallel_size * num_tokens**2
