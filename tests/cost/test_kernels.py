"""Products, collectives, experts, attention, power: limits and hand-worked points of each law."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.attention import KNOT_TOKENS, Heads, affine_pieces, decode_layer_s, prefill_layer_s, prefill_terms
from sim.cost.calibration import load_kernels
from sim.cost.collective import all_reduce_s, all_to_all_s, collective_s, point_to_point_s
from sim.cost.gemm import compute_rate, gemm_floor_s, gemm_form_s, gemm_s, smooth_max
from sim.cost.kernels import Collective, DecodeKernel, ExpertKernel, GemmKernel, PrefillKernel
from sim.cost.moe import distinct_experts, experts_s
from sim.cost.power import busy_w
from sim.cost.residual import Residual, pack, unpack
from sim.errors import SpecError
from sim.lifecycle.shapes import Matrix
from sim.spec.kernels import CollectiveFit, DecodeAttentionFit, ExpertFit, GemmFit, PrefillAttentionFit

HUNDREDTH = Residual((np.zeros(1),) * 3, np.full((1, 1, 1), np.log(0.01)))
LARGE = Matrix("large", 8192, 57344)
PLAIN = GemmFit(
    weight_bytes=2,
    activation_bytes=2,
    peak="bf16",
    launch_s=3e-6,
    compute_frac=0.75,
    bandwidth_frac=0.9,
    sharpness=2.0,
    depth_s=1e-10,
    ceiling_frac=0.8,
    source="made up",
)
DECODE = DecodeAttentionFit(
    value_bytes=2, start_s=1e-5, batch_start_s=4e-6, sequence_s=2e-8, bandwidth_frac=0.9, source="made up"
)
PREFILL = PrefillAttentionFit(peak="bf16", start_s=1e-5, compute_frac=0.5, bandwidth_frac=0.3, source="made up")
EXPERTS = ExpertFit(
    weight_bytes=2,
    peak="bf16",
    launch_s=4e-5,
    expert_s=1e-8,
    compute_frac=0.4,
    bandwidth_frac=0.9,
    sharpness=2.0,
    permute_passes=5.0,
    ceiling_frac=0.8,
    source="made up",
)


def scalar(function, *arguments, **options):
    return float(function(np.array([float(arguments[0])]), *arguments[1:], **options)[0])


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.floats(1, 8))
def test_the_rounded_corner_lies_between_maximum_and_sum(a, b, sharpness):
    got = float(smooth_max(np.array(a), np.array(b), sharpness))
    assert max(a, b) * (1 - 1e-12) <= got <= (a + b) * (1 + 1e-12)


def test_a_very_large_product_runs_at_the_compute_rate(h100):
    rate = 2 * 1e6 * LARGE.size / scalar(gemm_s, 1e6, LARGE, GemmKernel("bf16", PLAIN), h100)
    assert rate == pytest.approx(compute_rate(PLAIN, h100), rel=2e-3)
    assert compute_rate(PLAIN, h100) == pytest.approx(989e12 * 0.75)


def test_a_thin_product_by_hand(h100):
    """One row: 2 x 8192 x 57344 B of weights at 0.9 of 3.35 TB/s, the walk along 8192, and the launch."""
    time_s = scalar(gemm_s, 1, LARGE, GemmKernel("bf16", PLAIN), h100)
    memory_s = 2 * (8192 * 57344 + 8192 + 57344) / (0.9 * 3.35e12) + 8192e-10
    compute_s = 2 * 8192 * 57344 / (0.75 * 989e12)
    assert time_s == pytest.approx(3e-6 + math.hypot(memory_s, compute_s))


def test_a_table_multiplies_the_form(h100):
    """Halfway in log2 between two nodes the factor is the geometric mean of theirs."""
    nodes = (np.array([0.0, 2.0]), np.array([math.log2(LARGE.width)]), np.array([math.log2(LARGE.depth)]))
    kernel = GemmKernel("bf16", PLAIN, Residual(nodes, np.log([[[1.2]], [[1.8]]])))
    for rows, factor in ((1, 1.2), (2, math.sqrt(1.2 * 1.8)), (4, 1.8), (100, 1.8)):
        form_s = scalar(gemm_form_s, rows, float(LARGE.width), float(LARGE.depth), PLAIN, h100)
        assert scalar(gemm_s, rows, LARGE, kernel, h100) == pytest.approx(factor * form_s)
        assert scalar(gemm_s, rows, LARGE, kernel, h100, 1.5) == pytest.approx(1.5 * factor * form_s)


@pytest.mark.parametrize(
    ("gpu", "precision", "measured"),
    [("h100-sxm-80gb", "bf16", 794.5e12), ("h100-sxm-80gb", "fp8", 1402.6e12), ("a100-sxm-80gb", "bf16", 271.2e12)],
)
def test_no_product_exceeds_the_largest_throughput_measured(gpus, gpu, precision, measured):
    kernel = replace(load_kernels(gpu, "vllm").gemm[precision], residual=HUNDREDTH)
    time_s = scalar(gemm_s, 1e6, LARGE, kernel, gpus(gpu))
    assert 2 * 1e6 * LARGE.size / time_s == pytest.approx(measured, rel=1e-3)


def test_no_product_reads_faster_than_the_memory(h100):
    time_s = scalar(gemm_s, 1, LARGE, GemmKernel("bf16", PLAIN, HUNDREDTH), h100)
    assert time_s == scalar(gemm_floor_s, 1, float(LARGE.width), float(LARGE.depth), PLAIN, h100)
    assert 2 * (LARGE.size + LARGE.depth + LARGE.width) / time_s == pytest.approx(3.35e12)


@given(st.lists(st.floats(0, 9), min_size=3, max_size=3))
def test_a_table_agrees_with_interpolation_axis_by_axis(point):
    random = np.random.default_rng(3)
    axes = tuple(np.sort(random.uniform(1, 8, size)) for size in (2, 5, 3))
    table = Residual(axes, random.normal(size=(2, 5, 3)))
    expected = table.values
    for nodes, at in zip(axes, point, strict=True):
        expected = np.array([np.interp(at, nodes, column) for column in expected.reshape(len(nodes), -1).T]).reshape(
            expected.shape[1:]
        )
    assert float(table.log_at(*point)) == pytest.approx(float(expected), abs=1e-12)
    arrays = [np.array([at, at]) for at in point]
    assert table.log_at(*arrays) == pytest.approx([float(expected)] * 2, abs=1e-12)
    assert table.log_at(arrays[0], point[1], arrays[2]) == pytest.approx([float(expected)] * 2, abs=1e-12)


def test_tables_survive_the_file():
    table = Residual((np.array([0.0, 1.5]), np.array([2.0, 3.0, 4.0])), np.array([[0.5, -0.25, 0.0], [1.0, 2.0, -3.0]]))
    tables, arrays = unpack(pack({"one": table}, {"shapes": np.array([[4096.0, 8.0]])}))
    assert np.array_equal(tables["one"].values, table.values)
    assert all(np.array_equal(a, b) for a, b in zip(tables["one"].axes, table.axes, strict=True))
    assert arrays["shapes"].tolist() == [[4096.0, 8.0]]


def test_all_reduce_is_latency_and_bytes_over_bandwidth(h100, kernels):
    fit = CollectiveFit(latency_s=4e-6, bytes_per_s=100e9, link_bytes_per_s=450e9)
    assert scalar(collective_s, 1e6, Collective(fit), h100) == pytest.approx(14e-6)
    twice = Collective(fit, Residual((np.array([0.0]),), np.log([2.0])))
    assert scalar(collective_s, 1e6, twice, h100) == pytest.approx(28e-6)
    faster = h100.replace("nvlink_bytes_per_s", {"value": 900e9, "kind": "assumed"})
    assert scalar(collective_s, 1e6, Collective(fit), faster) == pytest.approx(9e-6)
    plain = scalar(all_reduce_s, 115e3, 4, h100, kernels)
    assert scalar(all_reduce_s, 115e3, 4, h100, kernels, 2e-6) == pytest.approx(plain + 2e-6)
    assert scalar(all_reduce_s, 1e9, 1, h100, kernels) == 0.0
    with pytest.raises(SpecError, match="1, 2, 4, 8"):
        all_reduce_s(np.zeros(1), 3, h100, kernels)


@pytest.mark.parametrize(
    ("gpu", "family", "num_gpus", "num_bytes", "measured_us"),
    [
        ("h100-sxm-80gb", "vllm", 4, 2**18, 7.2),
        ("h100-sxm-80gb", "trtllm", 2, 2**21, 9.4),
        ("a100-sxm-80gb", "vllm", 8, 2**22, 45.4),
        ("a100-sxm-80gb", "vllm", 8, 2**23, 129.0),
    ],
)
def test_all_reduce_as_timed(gpus, gpu, family, num_gpus, num_bytes, measured_us):
    """Timings of aiconfigurator-core 0.12, inside CUDA graphs; beyond 8 MiB vLLM leaves its own kernel for NCCL's."""
    time_s = scalar(all_reduce_s, num_bytes, num_gpus, gpus(gpu), load_kernels(gpu, family))
    assert 1e6 * time_s == pytest.approx(measured_us, rel=0.02)


def test_transfers_take_the_link_that_there_is(gpus, h100, kernels):
    megabyte = 1e6
    over_pcie = load_kernels("h100-pcie-80gb", "vllm")
    nvlink = scalar(point_to_point_s, megabyte, h100, kernels, same_node=True)
    network = scalar(point_to_point_s, megabyte, h100, kernels, same_node=False)
    pcie = scalar(point_to_point_s, megabyte, gpus("h100-pcie-80gb"), over_pcie, same_node=True)
    assert nvlink == pytest.approx(10e-6 + 1e6 / (0.8 * 450e9))
    assert network == pytest.approx(10e-6 + 1e6 / (0.8 * 50e9))
    assert pcie == pytest.approx(10e-6 + 1e6 / (0.6 * 63e9))


def test_of_an_all_to_all_one_share_stays_at_home(gpus, h100, kernels):
    assert scalar(all_to_all_s, 1e6, 1, h100, kernels) == 0.0
    over_pcie = load_kernels("h100-pcie-80gb", "vllm")
    time_s = scalar(all_to_all_s, 1e6, 8, gpus("h100-pcie-80gb"), over_pcie)
    assert time_s == pytest.approx(10e-6 + 7 / 8 * 1e6 / (0.6 * 63e9))
    # NCCL 2.29 on eight H100: 41.6 us for 8 MiB a GPU
    assert scalar(all_to_all_s, 2**23, 8, h100, kernels) == pytest.approx(41.6e-6, rel=0.02)


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


def test_spread_experts_share_the_work(models, h100):
    model, kernel = models("mixtral-8x7b"), ExpertKernel("bf16", EXPERTS)
    expert = (Matrix("gate_up", 4096, 2 * 14336), Matrix("down", 14336, 4096))
    for tokens in (1, 64, 4096):
        alone, spread = (scalar(experts_s, tokens, model, expert, kernel, h100, ep) for ep in (1, 8))
        assert alone - EXPERTS.launch_s == pytest.approx(8 * (spread - EXPERTS.launch_s))


@pytest.mark.parametrize(
    ("model", "precision", "tp", "ep", "tokens", "measured_us"),
    [
        ("qwen3-235b-a22b", "bf16", 1, 1, 1, 124.0),
        ("qwen3-235b-a22b", "bf16", 4, 1, 64, 390.0),
        ("qwen3-235b-a22b", "bf16", 1, 8, 4096, 974.0),
    ],
)
def test_experts_that_were_timed_take_their_own_times(
    models, h100, kernels, model, precision, tp, ep, tokens, measured_us
):
    """vLLM 0.24 on H100, hidden 4096, experts of 1536, 8 of 128, routing by a power law (aiconfigurator-core 0.12)."""
    spec = models(model)
    width = spec.moe_intermediate_size // tp
    expert = (Matrix("gate_up", spec.hidden_size, 2 * width), Matrix("down", width, spec.hidden_size))
    time_s = scalar(experts_s, tokens, spec, expert, kernels.experts[precision], h100, ep)
    assert 1e6 * time_s == pytest.approx(measured_us, rel=0.03)


def layer_s(model, gpu, num_seqs, context, tp=1, **options):
    kernels = DecodeKernel("bf16", DECODE), PrefillKernel("bf16", PREFILL)
    arrays = np.array([float(num_seqs)]), np.array([float(context)])
    return float(decode_layer_s(*arrays, model, gpu, kernels, tensor_parallel_size=tp, **options)[0])


def test_decode_attention_reads_the_cache_or_multiplies(models, h100):
    llama, deepseek = models("llama-3.1-70b"), models("deepseek-v3")
    # Two key-value heads of four GPUs: 1,024 B a token, 6 sequences.
    expected = 1e-5 + 4e-6 + 12 * 2e-8 + 6 * 1000 * 1024 / (3.35e12 * 0.9)
    assert layer_s(llama, h100, 6, 1000, 4) == pytest.approx(expected)
    # One sequence has no further start; nor has one key-value head.
    assert layer_s(llama, h100, 1, 1000, 4) == pytest.approx(1e-5 + 2 * 2e-8 + 1000 * 1024 / (3.35e12 * 0.9))
    assert layer_s(llama, h100, 6, 0, 8) == pytest.approx(1e-5 + 6 * 2e-8)
    # 128 heads on one latent: 2 x 128 x (576 + 512) FLOP for 1,152 B is above the corner.
    added = layer_s(deepseek, h100, 6, 2000) - layer_s(deepseek, h100, 6, 1000)
    assert added == pytest.approx(6 * 1000 * 2 * 128 * 1088 / (989e12 * 0.5))
    added = layer_s(deepseek, h100, 6, 2000, 8) - layer_s(deepseek, h100, 6, 1000, 8)
    assert added == pytest.approx(6 * 1000 * 1152 / (3.35e12 * 0.9))


def test_no_cache_is_read_faster_than_the_memory(models, h100):
    tenth = Residual((np.zeros(1),) * 4, np.full((1, 1, 1, 1), np.log(0.1)))
    kernels = DecodeKernel("bf16", DECODE, tenth), PrefillKernel("bf16", PREFILL)
    arrays = np.array([64.0]), np.array([10_000.0])
    time_s = decode_layer_s(*arrays, models("llama-3.1-70b"), h100, kernels, tensor_parallel_size=4)
    assert float(time_s[0]) == pytest.approx(64 * 10_000 * 1024 / 3.35e12)


@pytest.mark.parametrize(
    ("gpu", "family", "heads", "num_seqs", "context", "measured_us"),
    [
        ("h100-sxm-80gb", "vllm", 8, 1, 16383, 41.2),
        ("h100-sxm-80gb", "vllm", 8, 64, 1023, 119.4),
        ("a100-sxm-80gb", "vllm", 8, 32, 1023, 123.0),
        ("a100-sxm-80gb", "trtllm", 8, 4, 2047, 40.4),
    ],
)
def test_decode_attention_as_timed(models, gpus, gpu, family, heads, num_seqs, context, measured_us):
    """32 query heads on 8 of width 128 (Llama-3.1-8B); timings of aiconfigurator-core 0.12."""
    kernels = load_kernels(gpu, family)
    pair = kernels.decode_attention["bf16"], kernels.prefill_attention["bf16"]
    arrays = np.array([float(num_seqs)]), np.array([float(context)])
    assert models("llama-3.1-8b").num_key_value_heads == heads
    time_s = decode_layer_s(*arrays, models("llama-3.1-8b"), gpus(gpu), pair, tensor_parallel_size=1)
    assert 1e6 * float(time_s[0]) == pytest.approx(measured_us, rel=0.12)


def test_pieces_meet_the_curve_at_the_knots():
    knots = np.array([0.0, *KNOT_TOKENS, 4 * KNOT_TOKENS[-1]])
    values = np.sqrt(1.0 + knots)[np.newaxis] * np.array([[1.0], [2.0]])
    offset, slope = affine_pieces(values, knots)
    assert offset + slope * knots[:-1] == pytest.approx(values[:, :-1])
    assert offset + slope * knots[1:] == pytest.approx(values[:, 1:])
    offset, slope = affine_pieces(np.array([[3.0, 2.0, 4.0]]), np.array([0.0, 1.0, 2.0]))
    assert slope.tolist() == [[0.0, 1.0]]  # a fall is no fall


def test_prefill_attention_is_split_into_start_tokens_and_pairs(models, h100):
    """Where compute is all there is, the pairs take everything beyond the start."""
    kernel = PrefillKernel("bf16", PREFILL.model_copy(update={"bandwidth_frac": 1.0}))
    terms = prefill_terms(models("llama-3.1-70b"), h100, kernel, h100, tensor_parallel_size=4)
    assert terms.pair_s == pytest.approx(4 * 16 * 128 / (989e12 * 0.5), rel=0.02)
    assert terms.start_s == pytest.approx(1e-5, rel=0.05)


@pytest.mark.parametrize(
    ("gpu", "family"), [("h100-sxm-80gb", "vllm"), ("h100-sxm-80gb", "sglang"), ("a100-sxm-80gb", "trtllm")]
)
@pytest.mark.parametrize(("model", "tp"), [("llama-3.1-8b", 1), ("llama-3.1-70b", 4)])
def test_the_split_follows_the_kernel(models, gpus, gpu, family, model, tp):
    kernel, spec = load_kernels(gpu, family).prefill_attention["bf16"], models(model)
    terms = prefill_terms(spec, gpus(gpu), kernel, gpus(gpu), tensor_parallel_size=tp)
    tokens = np.array([256.0, 1024.0, 4096.0, 12288.0])
    split_s = terms.start_s + terms.token_s * tokens + terms.pair_s * tokens * (tokens + 1) / 2
    assert split_s == pytest.approx(prefill_layer_s(tokens, Heads.of(spec, tp), kernel, gpus(gpu)), rel=0.15)


def test_more_of_either_ceiling_moves_its_own_term(models, gpus):
    gpu = gpus("h100-sxm-80gb")
    kernel = load_kernels("h100-sxm-80gb", "vllm").prefill_attention["bf16"]
    double = gpu.replace("bf16_flops_per_s", {"value": 2 * 989e12, "kind": "assumed"})
    wide = gpu.replace("memory_bandwidth_bytes_per_s", {"value": 2 * 3.35e12, "kind": "assumed"})
    plain, fast, broad = (
        prefill_terms(models("llama-3.1-8b"), g, kernel, gpu, tensor_parallel_size=1) for g in (gpu, double, wide)
    )
    assert fast.pair_s == pytest.approx(plain.pair_s / 2)
    assert broad.token_s == pytest.approx(plain.token_s / 2)
    assert (fast.token_s, broad.pair_s) == (plain.token_s, plain.pair_s)


def test_power_goes_from_idle_to_the_limit(h100, kernels):
    none, full = (float(busy_w(np.array(u), np.array(u), kernels.power, h100)) for u in (0.0, 1.0))
    assert h100.idle_w < none < 0.55 * h100.tdp_w
    assert 0.99 * h100.tdp_w < full < h100.tdp_w
