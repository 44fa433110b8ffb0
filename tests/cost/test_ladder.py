"""The ladder of what makes serving fast: each rung taken away, and what that costs."""

import math

import numpy as np
import pytest

from sim.cost import compile
from sim.cost.recompute import FIRST_KNOT, RATIO, recompute_pieces
from sim.errors import SpecError


def decode(times, num_seqs, context):
    return times.step_s(num_seqs, num_seqs, num_seqs * context, num_seqs)


def test_eager_attention_moves_eight_bytes_a_head_and_pair(compiled, gpus, kernels):
    """Twice (masked half) the sum of the products at the rate of large products and 4 x 2 B through memory."""
    gpu, fit = gpus("h100-sxm-80gb"), kernels.gemm["bf16"].fit
    rate = gpu.bf16_flops_per_s * min(fit.compute_frac, fit.ceiling_frac)
    move_s = 8 * 32 / (gpu.memory_bandwidth_bytes_per_s * fit.bandwidth_frac)
    eager = compiled("llama-3.1-8b", attn_implementation="eager").step_times
    assert eager.pair_s == pytest.approx(32 * 2 * (4 * 32 * 128 / rate + move_s), rel=1e-12)
    flash = compiled("llama-3.1-8b").step_times
    added_s = 32 * move_s
    assert eager.decode_slope_s[8] == pytest.approx(flash.decode_slope_s[8] + added_s, rel=1e-9)


def test_flash_attention_pays_in_prefill_and_hardly_in_decode(compiled):
    """arXiv:2407.08608 (FlashAttention-3): 3 to 16 times faster than standard attention on H100."""
    flash, eager = (compiled("llama-3.1-8b", attn_implementation=name) for name in ("flash_attention", "eager"))
    assert 3 < eager.step_times.pair_s / flash.step_times.pair_s < 16
    gains = [
        eager.step_times.step_s(q, 0, 0, 1, q * (q + 1) / 2) / flash.step_times.step_s(q, 0, 0, 1, q * (q + 1) / 2)
        for q in (512, 2048, 8192)
    ]
    assert gains == sorted(gains)
    assert gains[0] < 1.1
    assert gains[-1] > 1.8
    assert decode(eager.step_times, 32, 1000) < 1.02 * decode(flash.step_times, 32, 1000)


def test_eager_attention_holds_its_scores(compiled):
    flash, eager = (compiled("llama-3.1-8b", attn_implementation=name) for name in ("flash_attention", "eager"))
    sampler_frac = 38.9 * 256 * 128_256 / flash.activation_bytes_per_gpu
    assert sampler_frac == pytest.approx(1.0)  # the peak of the forward pass is smaller
    forward = 8192 * (2 * 4096 + 3 * 14336) * 2
    assert eager.activation_bytes_per_gpu == pytest.approx(forward + 2 * 32 * 8192**2 * 2)
    assert eager.num_gpu_blocks < flash.num_gpu_blocks


def test_without_a_cache_a_step_is_a_prefill_of_the_whole_context(compiled):
    """One sequence of c tokens: the products of c tokens, attention of all pairs, and the fixed cost once."""
    plain = compiled("llama-3.1-8b", max_num_seqs=64)
    none = compiled("llama-3.1-8b", max_num_seqs=64, use_cache=False)
    for context in (100, 1000, 4000):
        pairs = context * (context + 1) / 2
        whole_s = plain.step_times.step_s(context, 0, 0, 1, pairs) - plain.step_times.prefill_step_s
        assert decode(none.step_times, 1, context) == pytest.approx(whole_s, rel=0.05)
    assert decode(none.step_times, 32, 1000) == pytest.approx(32_000 / 1000 * decode(none.step_times, 1, 1000), rel=0.2)
    assert np.array_equal(none.step_times.batch_s, plain.step_times.batch_s)


def test_without_a_cache_memory_bounds_what_a_step_computes(compiled):
    """The pool holds activations: two hidden states and the widest block, 2 B each."""
    profile = compiled("llama-3.1-8b", use_cache=False)
    assert profile.kv_bytes_per_token == 2 * (2 * 4096 + 3 * 14336)


def test_a_cache_is_worth_more_the_longer_the_answer(compiled):
    cached, none = (compiled("llama-3.1-8b", max_num_seqs=64, use_cache=use) for use in (True, False))
    gains = [
        sum(decode(none.step_times, 1, c) for c in range(1, length, 10))
        / sum(decode(cached.step_times, 1, c) for c in range(1, length, 10))
        for length in (100, 1000, 8000)
    ]
    assert gains == sorted(gains)
    assert gains[0] < 1.2
    assert gains[1] == pytest.approx(2, rel=0.25)
    assert gains[2] > 12


def test_chords_lie_above_the_curve_by_the_stated_error():
    num_seqs, pair_s = np.array([0.0, 1.0, 10.0]), 1e-9
    knots, offsets, slopes = recompute_pieces(num_seqs, 1e5, lambda tokens: 1e-6 * tokens, pair_s)
    assert knots[0] == FIRST_KNOT
    assert knots[-1] == math.inf
    worst = (RATIO - 1) ** 2 / (4 * RATIO)
    for context in (100.0, 1234.0, 5e4, 1e5):
        piece = int(np.searchsorted(knots, context, side="right"))
        for row, n in ((1, 1), (2, 10)):
            exact = 1e-6 * context + pair_s * (context**2 / n + context) / 2
            got = offsets[row, piece] + slopes[row, piece] * context
            assert exact * (1 - 1e-12) <= got <= exact * (1 + worst)
    assert not np.any(offsets[0])
    assert not np.any(slopes[0])


def test_a_curve_that_begins_a_rounding_below_zero_is_none_the_worse():
    _, offsets, _ = recompute_pieces(np.array([0.0, 1.0]), 1e3, lambda tokens: 1e-6 * tokens - 1e-19, 0.0)
    assert np.all(offsets[:, 0] == 0.0)


@pytest.mark.parametrize("length", [2048, 8192, 32768])
def test_a_contiguous_cache_holds_memory_over_longest(compiled, length):
    profile = compiled("llama-3.1-8b", kv_cache_layout="contiguous", max_model_len=length)
    fit = profile.kv_pool_bytes_per_gpu // (length * profile.kv_bytes_per_token)
    assert (profile.num_gpu_blocks - 1, profile.block_size) == (fit, length)


def test_paging_multiplies_the_users_by_what_they_leave_unused(compiled):
    """arXiv:2309.06180 (PagedAttention), figure 2: a contiguous cache is 20 to 38 % full; ShareGPT: 161 + 338."""
    paged = compiled("llama-3.1-8b", max_model_len=2048)
    contiguous = compiled("llama-3.1-8b", kv_cache_layout="contiguous", max_model_len=2048)
    blocks = -(-(161 + 338) // 16)
    gain = (paged.num_gpu_blocks - 1) // blocks / (contiguous.num_gpu_blocks - 1)
    assert gain == pytest.approx(2048 / (16 * blocks), rel=0.01)
    assert 1 / 0.38 < gain < 1 / 0.20


def test_ten_users_against_eighty(compiled):
    """70B at 8K of context: 64 key-value heads against 8. A token takes 8 times as much, the weights a little more."""
    users = {}
    for heads in (64, 8):
        profile = compiled(f"llama-3.1-70b, {heads} KV heads", tensor_parallel_size=8)
        assert profile.kv_bytes_per_token == 2 * 80 * heads * 128 * 2
        users[heads] = (profile.num_gpu_blocks - 1) * 16 / 8192
    assert 8 < users[8] / users[64] < 8.6
    assert (int(users[64]), int(users[8])) == (20, 169)


def test_a_variant_that_changes_nothing_costs_the_same(compiled):
    plain, same = (compiled(name, tensor_parallel_size=4) for name in ("llama-3.1-70b", "llama-3.1-70b, GQA-8"))
    assert np.array_equal(plain.step_times.batch_s, same.step_times.batch_s)
    assert plain.num_gpu_blocks == same.num_gpu_blocks


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"attn_implementation": "sdpa"},
            'attn_implementation: "sdpa" is not allowed. Allowed: flash_attention, eager',
        ),
        ({"kv_cache_layout": "paged_attention"}, 'kv_cache_layout: "paged_attention" is not allowed'),
        ({"kv_cache_layout": "contiguous"}, "max_model_len: missing: a contiguous cache reserves so many tokens"),
    ],
)
def test_a_rung_that_does_not_exist_is_said(models, h100, options, said):
    with pytest.raises(SpecError) as caught:
        compile(models("llama-3.1-8b"), h100, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("model", "weights", "batch", "published", "source"),
    [
        ("qwen3-32b", "int4", 1, 2.7, "aimultiple.com/llm-quantization, vLLM on H100, 2026-03"),
        ("llama-3.1-8b", "fp8", 16, 1.34, "github:ssaketh-ch/llama31b-benchmark, vLLM 0.17 on H200, FP8 weights alone"),
    ],
)
def test_lean_weights_decode_faster_within_thirty_percent(compiled, model, weights, batch, published, source):
    plain, lean = (compiled(model, weights=name, max_model_len=2048) for name in ("bf16", weights))
    gain = decode(plain.step_times, batch, 500) / decode(lean.step_times, batch, 500)
    assert gain == pytest.approx(published, rel=0.30), source
