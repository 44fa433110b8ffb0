"""Exercises of lessons 1 to 3: one model on one replica."""

from __future__ import annotations

import sim
from sim import catalog
from sim.cost import Profile
from sim.lifecycle.shapes import kv_bytes_per_sequence
from sim.study.exercises.exercise import Exercise, exercise


def _small(**changes: object) -> Profile:
    """Llama-3.1-8B on an H100, or what differs."""
    gpu = catalog.load_gpu(str(changes.pop("hardware", "h100-sxm-80gb")))
    return sim.compile(catalog.load_model("llama-3.1-8b"), gpu, **changes)  # type: ignore[arg-type]


@exercise(
    "01.1",
    "An answer of 500 tokens: its first token comes after 1 s, the others 50 ms apart. When is it complete?",
    unit="s",
)
def _latency() -> float:
    """TTFT + (n - 1) x ITL: the first of the 500 tokens is in TTFT already."""
    return 1 + 499 * 0.050


@exercise(
    "01.2",
    "Llama-3.1-8B in bf16 on one H100 (3.35 TB/s): how many tokens per second can one user get at the very most?",
    unit="tokens/s",
)
def _most_tokens() -> float:
    """Bandwidth over the bytes that a token must read: all weights but the input embedding, 2 bytes each."""
    gpu = catalog.load_gpu("h100-sxm-80gb")
    return gpu.memory_bandwidth_bytes_per_s / (2 * _small().num_active_parameters)


@exercise(
    "01.3",
    "The scenario `quickstart` with `busy` (40 requests/s in place of 10): USD for a million output tokens?",
    unit="USD",
    tolerance_frac=0.05,
)
def _busy_price() -> float:
    """`tokenfleet run quickstart --override busy`, `sim.cost.usd_per_1m_output_tokens`: the same GPUs, more tokens."""
    scenario = sim.load("quickstart").replace("traffic.rate_per_s", 40)
    return float(sim.run(scenario).result["sim"]["cost"]["usd_per_1m_output_tokens"])


@exercise("02.1", "At how many FLOP/byte does an A100 SXM cross over, by its data sheet?", unit="FLOP/byte")
def _corner() -> float:
    """Peak over bandwidth: 312 TFLOP/s (bf16, dense) over 2.039 TB/s."""
    gpu = catalog.load_gpu("a100-sxm-80gb")
    return gpu.bf16_flops_per_s / gpu.memory_bandwidth_bytes_per_s


@exercise(
    "02.2",
    """Weights of Llama-3.1-8B in fp8 in place of bf16, products in fp8 too: how many times as fast is a decode step of
    one sequence of 1,000 tokens on an H100?""",
    unit="times",
    tolerance_frac=0.05,
)
def _fp8() -> float:
    """`sim.compile` with `weights="fp8"` and without: `step_times.step_s(1, 1, 1000, 1)`.

    Less than twice, for host time and the cache do not halve.
    """
    bf16, fp8 = (_small(weights=weights).step_times.step_s(1, 1, 1000, 1) for weights in ("bf16", "fp8"))
    return bf16 / fp8


@exercise(
    "02.3",
    """How many FLOP does decode attention do for each byte of the cache in Llama-3.1-70B (64 query heads, 8 key-value
    heads, bf16)?""",
    unit="FLOP/byte",
)
def _attention_intensity() -> float:
    """4 FLOP for each query head and channel, 2 x 2 bytes for each key-value head and channel: heads / KV heads."""
    model = catalog.load_model("llama-3.1-70b")
    return model.num_attention_heads / model.num_key_value_heads


@exercise(
    "03.1", "KV cache of one conversation of 32,768 tokens with Meridian-1 70B (GQA, 8 heads) in bf16?", unit="GB"
)
def _long_conversation() -> float:
    """2 x 80 layers x 8 heads x 128 x 2 bytes x 32,768 tokens."""
    return kv_bytes_per_sequence(catalog.load_model("meridian-1-70b"), 32_768, 2) / 1e9


@exercise(
    "03.2",
    """How many conversations of 8,192 tokens fit beside Meridian-1 70B in bf16 on eight H100 (tensor parallel), and
    not on four?""",
    unit="conversations",
    tolerance_frac=0.03,
)
def _eight_gpus() -> float:
    """`sim.compile(..., tensor_parallel_size=8)`: blocks x 16 / 8,192.

    More than twice as many, for the weights are there only once.
    """
    profile = sim.compile(
        catalog.load_model("meridian-1-70b"), catalog.load_gpu("h100-sxm-80gb"), tensor_parallel_size=8
    )
    return (profile.num_gpu_blocks - 1) * profile.block_size / 8192


@exercise(
    "03.3",
    "The cache of Meridian-1 70B in fp8 in place of bf16, on four H100: how many times as many tokens fit?",
    unit="times",
    tolerance_frac=0.01,
)
def _fp8_cache() -> float:
    """`sim.compile(..., kv="fp8")`: a token takes half the bytes, and the pool is the same."""
    model, gpu = catalog.load_model("meridian-1-70b"), catalog.load_gpu("h100-sxm-80gb")
    blocks = [sim.compile(model, gpu, tensor_parallel_size=4, kv=kv).num_gpu_blocks - 1 for kv in ("auto", "fp8")]
    return blocks[1] / blocks[0]


EXERCISES: tuple[Exercise, ...] = (
    _latency,
    _most_tokens,
    _busy_price,
    _corner,
    _fp8,
    _attention_intensity,
    _long_conversation,
    _eight_gpus,
    _fp8_cache,
)
