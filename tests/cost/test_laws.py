"""Laws that every profile keeps, and parity of the tables with the formula worked out number by number."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import catalog
from sim.cost import compile
from sim.cost.calibration import load_engine, load_kernels

KINDS = {
    "dense, TP4": ("llama-3.1-70b", "h100-sxm-80gb", "vllm", {"tensor_parallel_size": 4}),
    "dense, fp8": ("llama-3.1-8b", "h100-sxm-80gb", "vllm", {"weights": "fp8", "kv": "fp8"}),
    "dense, int4": ("llama-3.1-70b", "a100-sxm-80gb", "vllm", {"weights": "int4"}),
    "NIM": ("llama-3.1-8b", "a100-sxm-80gb", "nim", {}),
    "MoE": ("mixtral-8x7b", "h100-sxm-80gb", "vllm", {"tensor_parallel_size": 2}),
    "MoE, sliding window": ("gpt-oss-120b", "h100-sxm-80gb", "vllm", {"tensor_parallel_size": 2, "weights": "mxfp4"}),
    "MLA, experts spread": (
        "deepseek-v3",
        "h200-sxm-141gb",
        "vllm",
        {"tensor_parallel_size": 8, "expert_parallel_size": 8, "weights": "fp8"},
    ),
    "pipeline": ("llama-3.1-405b", "h100-sxm-80gb", "vllm", {"tensor_parallel_size": 8, "pipeline_parallel_size": 2}),
    "scores through memory": ("llama-3.1-8b", "h100-sxm-80gb", "vllm", {"attn_implementation": "eager"}),
    "MLA, data-parallel attention": (
        "deepseek-v3",
        "h200-sxm-141gb",
        "vllm",
        {"data_parallel_size": 8, "enable_expert_parallel": True, "weights": "fp8"},
    ),
    "MQA, PCIe": ("meridian-1-70b-mqa", "h100-pcie-80gb", "vllm", {"tensor_parallel_size": 4}),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def compiled_kind(kind, **changes):
    model, gpu, engine, options = KINDS[kind]
    spec = catalog.load_gpu(gpu)
    for name, value in changes.items():
        spec = spec.replace(name, {"value": value, "kind": "assumed"})
    return compile(
        catalog.load_model(model), spec, engine=engine, **options, max_num_seqs=300, max_num_batched_tokens=1000
    )


@pytest.fixture(scope="module", params=KINDS)
def times(request):
    return compiled_kind(request.param).step_times


def test_more_tokens_are_never_faster(times):
    for table in (times.batch_s, times.decode_batch_s, times.sample_s, times.decode_offset_s[:, 0]):
        assert np.all(np.diff(table) >= 0)


def test_more_sequences_never_read_the_same_context_slower(times):
    assert np.all(np.diff(times.decode_slope_s[1:, 0]) <= 0)


@given(st.integers(1, 300), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_decode_step_is_affine_in_its_context(times, num_seqs, one, other):
    middle = times.step_s(num_seqs, num_seqs, (one + other) / 2, num_seqs)
    ends = [times.step_s(num_seqs, num_seqs, context, num_seqs) for context in (one, other)]
    assert middle == pytest.approx(sum(ends) / 2, rel=1e-12)


@given(st.integers(0, 300), st.integers(1, 700), st.integers(0, 10**6), st.integers(0, 5000))
def test_prefill_beside_decodes_is_never_faster_than_decodes_alone(times, decodes, prefill, context, computed):
    pairs = prefill * computed + prefill * (prefill + 1) / 2
    mixed = times.step_s(decodes + prefill, decodes, context, decodes, pairs)
    assert mixed > times.step_s(prefill, 0, 0, 0, pairs) - 1e-15
    if decodes:
        assert mixed > times.step_s(decodes, decodes, context, decodes)


@kinds
def test_power_lies_between_idle_and_the_limit(kind):
    profile = compiled_kind(kind)
    times, gpu = profile.step_times, catalog.load_gpu(profile.hardware)
    assert times.idle_w == pytest.approx(profile.num_gpus * gpu.idle_w)
    assert times.power_w[0] == times.idle_w
    assert np.all(times.power_w >= times.idle_w)
    assert np.all(times.power_w <= profile.num_gpus * gpu.tdp_w)


@kinds
@settings(max_examples=6)
@given(factor=st.floats(1.0, 3.0))
def test_more_bandwidth_is_never_slower(kind, factor):
    gpu = catalog.load_gpu(KINDS[kind][1])
    slow = compiled_kind(kind).step_times
    fast = compiled_kind(kind, memory_bandwidth_bytes_per_s=factor * gpu.memory_bandwidth_bytes_per_s).step_times
    for name in ("batch_s", "decode_batch_s", "sample_s", "decode_slope_s"):
        assert np.all(getattr(fast, name) <= getattr(slow, name) * (1 + 1e-12)), name


@kinds
def test_more_throughput_is_never_slower(kind):
    gpu = catalog.load_gpu(KINDS[kind][1])
    slow, fast = (
        compiled_kind(kind).step_times,
        compiled_kind(kind, bf16_flops_per_s=2 * gpu.bf16_flops_per_s).step_times,
    )
    assert np.all(fast.batch_s <= slow.batch_s * (1 + 1e-12))
    assert fast.pair_s < slow.pair_s


def test_an_fp8_cache_is_never_slower(compiled):
    plain, lean = (compiled(tensor_parallel_size=4, kv=kv).step_times for kv in ("auto", "fp8"))
    assert np.all(lean.decode_slope_s <= plain.decode_slope_s)


def worked_out(model, gpu, kernels, engine, tp, batch):
    """Step time of a dense bf16 model without tables or arrays, from the formulas of docs/equations.md [s]."""
    num_tokens, decodes, context, emitting, pairs, max_num_seqs = batch
    bandwidth, peak, fit = float(gpu.memory_bandwidth_bytes_per_s), float(gpu.bf16_flops_per_s), kernels.gemm["bf16"]

    def product(rows, k, n):
        rate = min(peak * fit.compute_frac * engine.gemm_compute_scale, fit.ceiling_flops_per_s)
        flow = bandwidth * min(fit.bandwidth_frac * engine.gemm_bandwidth_scale, 1.0)
        compute = 2 * rows * n * k / rate
        memory = 2 * (n * k + rows * k + rows * n) / flow + fit.depth_s * k
        return fit.launch_s + (compute**fit.sharpness + memory**fit.sharpness) ** (1 / fit.sharpness)

    graphs = [size for size in engine.graph_sizes if size <= engine.graph_sizes_per_seq * max_num_seqs]
    rows = min((size for size in graphs if size >= num_tokens), default=num_tokens)
    h, layers, d = model.hidden_size, model.num_hidden_layers, model.head_dim
    heads, kv_heads = model.num_attention_heads // tp, max(model.num_key_value_heads // tp, 1)
    layer = (
        product(rows, h, (heads + 2 * kv_heads) * d)
        + product(rows, heads * d, h)
        + product(rows, h, 2 * model.intermediate_size // tp)
        + product(rows, model.intermediate_size // tp, h)
        + engine.elementwise_passes * 2 * rows * h / bandwidth * (0.4 + 0.6 / tp)
        + engine.layer_s
        + kernels.decode_attention.layer_s
    )
    if tp > 1:
        link = kernels.all_reduce[tp]
        layer += 2 * (link.latency_s + engine.all_reduce_extra_s + 2 * rows * h / link.bytes_per_s)
    time = layers * layer + engine.step_s
    if decodes:
        read = layers * 2 * kv_heads * d * 2 * context / (bandwidth * engine.decode_bandwidth_frac["bf16"])
        walk = layers * engine.decode_serial_s * context / decodes
        time += math.hypot(read, walk) + decodes * layers * kv_heads * kernels.decode_attention.sequence_s
    if num_tokens > decodes:
        attention = 4 * heads * d * pairs * layers / (peak * engine.prefill_compute_frac)
        time += attention + layers * engine.prefill_layer_s
    if emitting:
        vocabulary = model.vocab_size // tp
        time += product(emitting, h, vocabulary) + engine.logits_passes * 4 * emitting * vocabulary / bandwidth
        time += engine.sequence_s * emitting
    return time


@pytest.mark.parametrize(
    ("name", "gpu", "engine", "tp"),
    [
        ("llama-3.1-70b", "h100-sxm-80gb", "vllm", 4),
        ("llama-2-7b", "h100-sxm-80gb", "vllm", 1),
        ("llama-3.1-8b", "a100-sxm-80gb", "nim", 2),
        ("meridian-1-70b-mqa", "h100-pcie-80gb", "vllm", 8),
    ],
)
def test_the_tables_hold_the_formula(compiled, models, gpus, name, gpu, engine, tp):
    seqs = 200
    times = compiled(name, gpu, engine=engine, tensor_parallel_size=tp, max_num_seqs=seqs).step_times
    parts = models(name), gpus(gpu), load_kernels(gpu), load_engine(engine, gpu), tp
    random = np.random.default_rng(1)
    for _ in range(200):
        decodes = int(random.integers(0, seqs + 1))
        prefill = int(random.integers(0, 4000)) if random.random() < 0.5 or decodes == 0 else 0
        if decodes + prefill == 0:
            continue
        context = int(random.integers(0, 500_000)) if decodes else 0
        emitting = int(random.integers(0, seqs + 1)) if prefill else decodes
        pairs = prefill * (prefill + 1) / 2
        batch = decodes + prefill, decodes, context, emitting, pairs
        assert times.step_s(*batch) == pytest.approx(worked_out(*parts, (*batch, seqs)), rel=1e-12)
