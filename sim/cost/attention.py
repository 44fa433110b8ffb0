"""Attention: reading the cache in decode, query x context pairs in prefill."""

from __future__ import annotations

import numpy as np

from sim.cost.shapes import (
    attention_flops_per_pair_layer,
    decode_flops_per_token_layer,
    kv_bytes_per_token_layer,
)
from sim.cost.step_times import Floats
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


def decode_token_s(
    model: ModelSpec,
    gpu: GpuSpec,
    engine: EngineSpec,
    *,
    kv: str,
    value_bytes: float,
    tensor_parallel_size: int,
    num_queries: int = 1,
) -> float:
    """Time per token of total context in one layer's decode attention, many sequences at once [s].

    The larger of reading the token's keys and values, bytes / (bandwidth x efficiency), and multiplying with them,
    FLOPs / (bf16 peak x prefill efficiency); the second matters for MLA, whose heads share one latent, and where
    a sequence has `num_queries` > 1 (verification of drafted tokens), which read the cache together.
    """
    read_bytes = kv_bytes_per_token_layer(model, value_bytes, tensor_parallel_size)
    flops = num_queries * decode_flops_per_token_layer(model, tensor_parallel_size)
    return max(
        read_bytes / (gpu.memory_bandwidth_bytes_per_s * engine.decode_bandwidth_frac[kv]),
        flops / (gpu.peak_flops_per_s("bf16") * engine.prefill_compute_frac),
    )


def decode_slope_s(num_seqs: Floats, token_s: float, serial_s: float, num_layers: int) -> Floats:
    r"""Decode attention per token of total context, by number of sequences [s], of the shape of `num_seqs`.

    Notes
    -----
    .. math:: s_n = L \sqrt{a^2 + (\kappa / n)^2}

    a is the time to read one token's keys and values; kappa the time one thread block takes for it where a sequence
    is walked by one block (no split of the context), in which case n sequences share the wait.
    """
    n = np.maximum(num_seqs, 1.0)
    slope = num_layers * np.sqrt(token_s**2 + (serial_s / n) ** 2)
    return np.asarray(np.where(num_seqs > 0, slope, 0.0))


def decode_offset_s(
    num_seqs: Floats, slope_s: Floats, *, window_tokens: int, sequence_s: float, num_layers: int
) -> Floats:
    """Decode attention that does not depend on the context, by number of sequences [s].

    Each sequence costs `sequence_s` in each of `num_layers` layers. Sliding-window layers cost each sequence
    `window_tokens` tokens at `slope_s`: an upper bound, reached once its context exceeds the window.
    """
    return np.asarray(num_seqs * (num_layers * sequence_s + window_tokens * slope_s))


def prefill_pair_s(model: ModelSpec, gpu: GpuSpec, engine: EngineSpec, tensor_parallel_size: int) -> float:
    """Time per query x context pair in one layer's prefill attention [s]: FLOPs / (bf16 peak x efficiency)."""
    flops = attention_flops_per_pair_layer(model, tensor_parallel_size)
    return flops / (gpu.peak_flops_per_s("bf16") * engine.prefill_compute_frac)
