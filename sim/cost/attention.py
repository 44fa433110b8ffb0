"""Attention: reading the cache in decode, query x context pairs in prefill; forms times tables of measurements."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost.gemm import smooth_max
from sim.cost.kernels import DecodeKernel, PrefillKernel
from sim.cost.residual import FLAT
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import (
    attention_flops_per_pair_layer,
    decode_flops_per_token_layer,
    kv_bytes_per_token_layer,
)
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import DecodeAttentionFit, PrefillAttentionFit
from sim.spec.model import ModelSpec

PLAIN_BYTES = 2
"""Bytes of a query, key, value or result in prefill: bf16."""
KNOT_TOKENS = (1024.0, 3072.0, 8192.0, 24576.0, 65536.0, 196608.0, 524288.0)
"""Total contexts between which decode attention is affine [tokens]; beyond the last it goes on as before it."""
WALKING_FACTOR = 4.0
"""See `walks`."""
PROMPT_TOKENS = tuple(float(2**i) for i in range(7, 15))
"""Prompt lengths at which prefill attention is split into start, tokens and pairs [tokens]; the tables end there."""


@dataclass(frozen=True)
class Heads:
    """Heads of a layer as one GPU holds them."""

    query: float
    key_value: float
    head_dim: float

    @classmethod
    def of(cls, model: ModelSpec, tensor_parallel_size: int) -> Heads:
        """Heads of a model on one of `tensor_parallel_size` GPUs; fewer key-value heads than GPUs are copied."""
        kv_heads = max(model.num_key_value_heads // tensor_parallel_size, 1)
        if model.kv_lora_rank is not None:
            kv_heads = model.num_attention_heads // tensor_parallel_size
        return cls(model.num_attention_heads / tensor_parallel_size, kv_heads, model.head_dim)

    @property
    def group(self) -> float:
        """Query heads that share a key-value head."""
        return self.query / self.key_value


def decode_form_s(
    num_seqs: Floats,
    kv_heads: Floats | float,
    read_bytes: Floats,
    flops_s: Floats | float,
    fit: DecodeAttentionFit,
    gpu: GpuSpec,
) -> Floats:
    r"""Time of one layer's decode attention by the form alone [s].

    Parameters
    ----------
    num_seqs, kv_heads : sequences n, and key-value heads h on the GPU
    read_bytes : keys and values of all sequences M [B]
    flops_s : time to multiply with them [s]; 0 where reading is sure to take longer
    fit, gpu : efficiencies, ceilings

    Notes
    -----
    .. math:: t = t_0 + n h t_s + \max(M / B b_e,\; t_{flop})
    """
    start_s = fit.start_s + num_seqs * kv_heads * fit.sequence_s
    read_s = read_bytes / (gpu.memory_bandwidth_bytes_per_s * fit.bandwidth_frac)
    return np.asarray(start_s + np.maximum(read_s, flops_s))


def batch_start_s(num_seqs: Floats, kv_heads: Floats | float, fit: DecodeAttentionFit) -> Floats:
    """Further start of a call with several sequences and several key-value heads [s]."""
    return np.where((num_seqs > 1) & (np.asarray(kv_heads) > 1), fit.batch_start_s, 0.0)


def decode_layer_s(
    num_seqs: Floats,
    context_tokens: Floats,
    model: ModelSpec,
    gpu: GpuSpec,
    kernels: tuple[DecodeKernel, PrefillKernel],
    *,
    tensor_parallel_size: int,
    num_queries: int = 1,
    scale: float = 1.0,
) -> Floats:
    r"""Time of one layer's decode attention of n sequences with so many tokens of context each [s].

    Parameters
    ----------
    num_seqs, context_tokens : sequences, and tokens of each one's context; arrays of one shape
    model, gpu : architecture and ceilings
    kernels : decode kernel of the cache's precision; prefill kernel, for how fast a tile multiplies
    tensor_parallel_size : GPUs that share the heads
    num_queries : tokens of each sequence; more than one where drafted tokens are verified
    scale : an engine's own factor on the time [1]

    Notes
    -----
    .. math:: \max\left(s \max\left(t\, e^{R(\log_2 nh, \log_2 c, \log_2 g, \log_2 d)} + t_1 [n > 1, h > 1],\;
        M / B b_{max}\right),\; M / B\right)

    Form `decode_form_s`, h key-value heads on the GPU, g query heads to each; whatever the factor, no
    reading is faster than the bandwidth. The latents of MLA have no table: the form alone, in which multiplying may
    take longer than reading, as all heads share one latent.
    """
    decode, prefill = kernels
    fit, latent = decode.fit, model.kv_lora_rank is not None
    heads = Heads.of(model, tensor_parallel_size)
    kv_heads = 1.0 if latent else heads.key_value
    read_bytes = num_seqs * context_tokens * kv_bytes_per_token_layer(model, fit.value_bytes, tensor_parallel_size)
    flops = num_queries * decode_flops_per_token_layer(model, tensor_parallel_size) * num_seqs * context_tokens
    flops_s = flops / (gpu.peak_flops_per_s("bf16") * prefill.fit.compute_frac)
    time_s = decode_form_s(num_seqs, kv_heads, read_bytes, flops_s, fit, gpu)
    if decode.residual is not FLAT and not latent:
        work, context = np.log2(np.maximum(num_seqs * kv_heads, 1.0)), np.log2(np.maximum(context_tokens, 1.0))
        time_s = time_s * decode.residual.factor(work, context, np.log2(heads.group), np.log2(heads.head_dim))
    time_s = time_s + batch_start_s(num_seqs, kv_heads, fit)
    read_s = read_bytes / gpu.memory_bandwidth_bytes_per_s
    return np.maximum(scale * np.maximum(time_s, read_s / fit.ceiling_frac), read_s)


def walks(num_seqs: Floats, heads: Heads, gpu: GpuSpec) -> NDArray[np.bool_]:
    """Whether an engine with a kernel that does not split contexts uses it for so many sequences, of their shape.

    TensorRT-LLM does while sequences x key-value heads fill less than a quarter of the multiprocessors
    (`kEnableMinBlockFactor` in its decoderXQA sources, 2024).
    """
    return WALKING_FACTOR * num_seqs * heads.key_value < float(gpu.num_sms)


def walk_s(num_seqs: Floats, context_tokens: Floats, heads: Heads, gpu: GpuSpec, token_s: float) -> Floats:
    r"""Time of one layer's decode attention where a thread block walks the context of a sequence's query head [s].

    Parameters
    ----------
    num_seqs, context_tokens : sequences, and tokens of each one's context; arrays of one shape
    heads, gpu : heads on the GPU; its multiprocessors
    token_s : time of a block for a token of context [s]

    Notes
    -----
    .. math:: \kappa c \lceil n h_q / SM \rceil

    A multiprocessor takes one block at a time: more blocks than there are wait for the next wave.
    """
    return np.asarray(token_s * context_tokens * np.ceil(num_seqs * heads.query / float(gpu.num_sms)))


def affine_pieces(values_s: Floats, knots: Floats) -> tuple[Floats, Floats]:
    """Offsets and slopes of the pieces that join values at 0, at each knot and at a point beyond the last.

    Parameters
    ----------
    values_s : time at each of these contexts [s], shape [n, K + 1]; made non-decreasing along the context
    knots : contexts of the values, the first 0 [tokens], shape [K + 1]

    Returns
    -------
    offsets and slopes of the K pieces [s], shape [n, K]
    """
    values_s = np.maximum.accumulate(values_s, axis=1)
    slopes = np.diff(values_s, axis=1) / np.diff(knots)
    return values_s[:, :-1] - slopes * knots[:-1], slopes


def prefill_form_s(
    num_seqs: Floats | float,
    prompt_tokens: Floats,
    heads: tuple[Floats | float, Floats | float, Floats | float],
    fit: PrefillAttentionFit,
    gpu: GpuSpec,
) -> Floats:
    r"""Time of one layer's causal attention over whole prompts by the form alone [s].

    Parameters
    ----------
    num_seqs, prompt_tokens : prompts b, and tokens q of each
    heads : query heads H, key-value heads h, width d of one
    fit, gpu : efficiencies, ceilings

    Notes
    -----
    .. math:: t = t_0 + \left[\left(\frac{4 b H d\, q(q+1)/2}{F f_e}\right)^2
        + \left(\frac{2\mathrm{B} \cdot b q (2H + 2h) d}{B b_e}\right)^2\right]^{1/2}
    """
    query, key_value, width = heads
    flops = 4.0 * query * width * num_seqs * prompt_tokens * (prompt_tokens + 1.0) / 2.0
    moved = PLAIN_BYTES * num_seqs * prompt_tokens * (2.0 * query + 2.0 * key_value) * width
    compute_s = flops / (gpu.peak_flops_per_s(fit.peak) * fit.compute_frac)
    memory_s = moved / (gpu.memory_bandwidth_bytes_per_s * fit.bandwidth_frac)
    return np.asarray(fit.start_s + smooth_max(compute_s, memory_s, 2.0))


def prefill_layer_s(prompt_tokens: Floats, heads: Heads, kernel: PrefillKernel, gpu: GpuSpec) -> Floats:
    """Time of one layer's causal attention over one whole prompt, form times table [s], of `prompt_tokens`' shape."""
    triple = (heads.query, heads.key_value, heads.head_dim)
    time_s = prefill_form_s(1.0, prompt_tokens, triple, kernel.fit, gpu)
    if kernel.residual is not FLAT:
        coordinates = np.log2(prompt_tokens), np.log2(heads.group), np.log2(heads.head_dim)
        time_s = time_s * kernel.residual.factor(np.log2(heads.query), *coordinates)
    return time_s


@dataclass(frozen=True)
class PrefillTerms:
    """Prefill attention of one layer, in the terms that a step's batch has."""

    start_s: float
    """Once in a step that carries prefill [s]."""
    token_s: float
    """For each token of prefill [s]."""
    pair_s: float
    """For each query x context pair [s]."""


def prefill_terms(
    model: ModelSpec,
    gpu: GpuSpec,
    kernel: PrefillKernel,
    timed_on: GpuSpec,
    *,
    tensor_parallel_size: int,
    scale: float = 1.0,
) -> PrefillTerms:
    r"""Split prefill attention into a start, a time per token and a time per query x context pair.

    Parameters
    ----------
    model, gpu, kernel : architecture, ceilings, kernel
    timed_on : GPU whose ceilings the kernel's table belongs to
    tensor_parallel_size : GPUs that share the heads
    scale : an engine's own factor on the time [1]

    Notes
    -----
    .. math:: t(q) \approx a + b\, q + c\, q (q + 1) / 2, \qquad a, b, c \ge 0

    Least squares of the relative error over prompts of `PROMPT_TOKENS`, on the GPU that was timed; so the efficiency's
    rise with length is in b. On another GPU b goes with the bandwidth and c with the peak, which keeps more of either
    from ever being slower. No pair is faster than the peak allows.
    """
    heads = Heads.of(model, tensor_parallel_size)
    prompts = np.array(PROMPT_TOKENS)
    time_s = scale * prefill_layer_s(prompts, heads, kernel, timed_on)
    start_s, token_s, pair_s = _not_negative(prompts, time_s)
    peak = float(gpu.peak_flops_per_s(kernel.fit.peak))
    slower = float(timed_on.peak_flops_per_s(kernel.fit.peak)) / peak
    flops = attention_flops_per_pair_layer(model, tensor_parallel_size)
    thinner = flops / (4.0 * heads.query * heads.head_dim)  # MLA's values are narrower than its keys
    narrower = float(timed_on.memory_bandwidth_bytes_per_s) / float(gpu.memory_bandwidth_bytes_per_s)
    return PrefillTerms(start_s, token_s * narrower, max(pair_s * thinner * slower, flops / peak))


def _not_negative(prompts: Floats, time_s: Floats) -> tuple[float, float, float]:
    """Return a, b, c >= 0 of a + b q + c q (q + 1) / 2 with the least relative squared error."""
    columns = (
        np.stack([np.ones_like(prompts), prompts, prompts * (prompts + 1.0) / 2.0], axis=1) / time_s[:, np.newaxis]
    )
    units = np.linalg.norm(columns, axis=0)
    best, least = np.zeros(3), np.inf
    for number in range(1, 4):
        for chosen in itertools.combinations(range(3), number):
            part = columns[:, chosen] / units[list(chosen)]
            found = np.linalg.lstsq(part, np.ones(len(prompts)), rcond=None)[0]
            error = float(np.sum((part @ found - 1.0) ** 2))
            if np.all(found >= 0) and error < least:
                best, least = np.zeros(3), error
                best[list(chosen)] = found / units[list(chosen)]
    return float(best[0]), float(best[1]), float(best[2])
