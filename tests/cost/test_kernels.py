"""Products, collectives, experts, attention, power: limits and hand-worked points of each law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.attention import decode_offset_s, decode_slope_s, decode_token_s, prefill_pair_s
from sim.cost.calibration import load_kernels
from sim.cost.collective import all_reduce_s, all_to_all_s, point_to_point_s
from sim.cost.gemm import compute_rate, gemm_s, memory_rate, smooth_max
from sim.cost.moe import distinct_experts, experts_s
from sim.cost.power import busy_w
from sim.cost.shapes import Matrix
from sim.errors import SpecError

LARGE = Matrix("large", 8192, 57344)


def scalar(function, *arguments, **options):
    return float(function(np.array([float(arguments[0])]), *arguments[1:], **options)[0])


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(1, 8))
def test_the_rounded_corner_lies_between_maximum_and_sum(a, b, sharpness):
    got = float(smooth_max(np.array(a), np.array(b), sharpness))
    assert max(a, b) * (1 - 1e-12) <= got <= (a + b) * (1 + 1e-12)


def test_a_very_large_product_runs_at_the_compute_rate(h100, kernels):
    fit = kernels.gemm["bf16"]
    rate = 2 * 1e6 * LARGE.size / scalar(gemm_s, 1e6, LARGE, fit, h100)
    assert rate == pytest.approx(compute_rate(fit, h100), rel=2e-3)
    assert compute_rate(fit, h100) == pytest.approx(989e12 * 0.785)


def test_a_thin_product_runs_at_the_memory_rate(h100, kernels):
    fit = kernels.gemm["bf16"]
    time_s = scalar(gemm_s, 1, LARGE, fit, h100) - fit.launch_s - fit.depth_s * LARGE.depth
    assert 2 * LARGE.size / time_s == pytest.approx(memory_rate(fit, h100), rel=1e-3)


@pytest.mark.parametrize(
    ("gpu", "precision", "scale", "expected"),
    [
        ("h100-sxm-80gb", "bf16", 1.3, 794.5e12),
        ("h100-sxm-80gb", "fp8", 1.3, 1402.6e12),
        ("a100-sxm-80gb", "bf16", 1.3, 271.2e12),
    ],
)
def test_no_product_exceeds_the_largest_throughput_measured(gpus, gpu, precision, scale, expected):
    assert compute_rate(load_kernels(gpu).gemm[precision], gpus(gpu), scale) == expected


def test_no_product_reads_faster_than_the_memory(h100, kernels):
    assert memory_rate(kernels.gemm["bf16"], h100, 2.0) == h100.memory_bandwidth_bytes_per_s


def test_all_reduce_is_latency_and_bytes_over_bandwidth(kernels):
    assert scalar(all_reduce_s, 115e3, 4, kernels) == pytest.approx(4.8e-6 + 1e-6)
    assert scalar(all_reduce_s, 115e3, 4, kernels, 2e-6) == pytest.approx(4.8e-6 + 3e-6)
    assert scalar(all_reduce_s, 1e9, 1, kernels) == 0.0
    with pytest.raises(SpecError, match="1, 2, 4, 8"):
        all_reduce_s(np.zeros(1), 3, kernels)


def test_transfers_take_the_link_that_there_is(gpus, h100, kernels):
    megabyte = 1e6
    nvlink = scalar(point_to_point_s, megabyte, h100, kernels, same_node=True)
    network = scalar(point_to_point_s, megabyte, h100, kernels, same_node=False)
    pcie = scalar(point_to_point_s, megabyte, gpus("h100-pcie-80gb"), kernels, same_node=True)
    assert nvlink == pytest.approx(10e-6 + 1e6 / (0.8 * 450e9))
    assert network == pytest.approx(10e-6 + 1e6 / (0.8 * 50e9))
    assert pcie == pytest.approx(10e-6 + 1e6 / (0.8 * 63e9))


def test_of_an_all_to_all_one_share_stays_at_home(h100, kernels):
    assert scalar(all_to_all_s, 1e6, 1, h100, kernels) == 0.0
    assert scalar(all_to_all_s, 1e6, 8, h100, kernels) == pytest.approx(10e-6 + 7 / 8 * 1e6 / (0.8 * 450e9))


def test_distinct_experts_against_drawing_them():
    random = np.random.default_rng(0)
    for num_experts, per_token, tokens in ((8, 2, 3), (128, 4, 32), (256, 8, 64)):
        drawn = [
            len({e for _ in range(tokens) for e in random.choice(num_experts, per_token, replace=False)})
            for _ in range(400)
        ]
        expected = scalar(distinct_experts, tokens, num_experts, per_token)
        assert expected == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / np.sqrt(len(drawn)) + 1e-9)


def test_one_token_visits_as_many_experts_as_it_is_sent_to():
    assert scalar(distinct_experts, 1, 256, 8) == pytest.approx(8)
    assert scalar(distinct_experts, 0, 256, 8) == 0
    assert scalar(distinct_experts, 1e5, 256, 8) == pytest.approx(256)


def test_spread_experts_share_the_work(models, h100, kernels):
    model, fit = models("mixtral-8x7b"), kernels.experts["bf16"]
    expert = (Matrix("gate_up", 4096, 2 * 14336), Matrix("down", 14336, 4096))
    for tokens in (1, 64, 4096):
        alone, spread = (scalar(experts_s, tokens, model, expert, fit, h100, ep) for ep in (1, 8))
        assert alone - fit.launch_s == pytest.approx(8 * (spread - fit.launch_s))


def test_decode_attention_reads_the_cache_or_multiplies(models, h100, vllm):
    llama, deepseek = models("llama-3.1-70b"), models("deepseek-v3")
    options = {"kv": "bf16", "value_bytes": 2.0}
    assert decode_token_s(llama, h100, vllm, **options, tensor_parallel_size=4) == pytest.approx(
        1024 / (3.35e12 * 0.97)
    )
    # 128 heads on one latent: 2 x 128 x (576 + 512) FLOP for 1,152 B is above the corner.
    token_s = decode_token_s(deepseek, h100, vllm, **options, tensor_parallel_size=1)
    assert token_s == pytest.approx(2 * 128 * 1088 / (989e12 * 0.5))
    shared = decode_token_s(deepseek, h100, vllm, **options, tensor_parallel_size=8)
    assert shared == pytest.approx(1152 / (3.35e12 * 0.97))


def test_walking_a_sequence_alone_is_shared_by_a_batch():
    slope = decode_slope_s(np.array([0.0, 1.0, 4.0]), 3e-9, 4e-9, 10)
    assert slope[0] == 0.0
    assert slope[1] == pytest.approx(10 * 5e-9)
    assert slope[2] == pytest.approx(10 * np.hypot(3e-9, 1e-9))


def test_windows_cost_each_sequence_the_window():
    offset = decode_offset_s(
        np.array([0.0, 2.0]), np.array([0.0, 1e-9]), window_tokens=128, sequence_s=1e-8, num_layers=10
    )
    assert offset[0] == 0.0
    assert offset[1] == pytest.approx(2 * (10 * 1e-8 + 128 * 1e-9))


def test_prefill_attention_is_flops_over_throughput(models, h100, vllm):
    pair_s = prefill_pair_s(models("llama-3.1-70b"), h100, vllm, 4)
    assert pair_s == pytest.approx(4 * 16 * 128 / (989e12 * 0.5))


def test_power_goes_from_idle_to_the_limit(h100, kernels):
    none, full = (float(busy_w(np.array(u), np.array(u), kernels.power, h100)) for u in (0.0, 1.0))
    assert h100.idle_w < none < 0.55 * h100.tdp_w
    assert 0.99 * h100.tdp_w < full < h100.tdp_w
