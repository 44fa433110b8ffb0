"""Laws that every profile keeps, and parity of the tables with the formula worked out number by number."""

import bisect
import itertools
import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import catalog
from sim.cost import compile
from sim.cost.attention import KNOT_TOKENS, decode_layer_s
from sim.cost.calibration import load_engine, load_kernels
from sim.cost.residual import QUANTUM
from sim.errors import CapacityError

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
    for table in (times.batch_s, times.decode_batch_s, times.sample_s):
        assert np.all(np.diff(table) >= 0)
    assert np.all(times.decode_slope_s >= 0)


@given(st.integers(1, 299), st.integers(1, 40_000), st.integers(0, 5000))
def test_more_sequences_or_more_context_are_never_faster(times, num_seqs, context, more):
    """n sequences of c tokens each: neither another sequence like them nor longer ones make a step faster."""

    def step_s(n, c):
        return times.step_s(n, n, n * c, n)

    assert step_s(num_seqs + 1, context) >= step_s(num_seqs, context)
    assert step_s(num_seqs, context + more) >= step_s(num_seqs, context)


def test_pieces_of_decode_attention_join(times):
    for piece, knot in enumerate(times.knot_tokens[:-1]):
        ends = [times.decode_offset_s[:, k] + times.decode_slope_s[:, k] * knot for k in (piece, piece + 1)]
        assert ends[0] == pytest.approx(ends[1], rel=1e-9)


@given(st.integers(1, 300), st.integers(0, 6), st.floats(0, 1))
def test_a_decode_step_is_affine_in_its_context_between_knots(times, num_seqs, piece, share):
    knots = [0.0, *times.knot_tokens]
    low, high = knots[piece], min(knots[piece + 1], 2e6) - 1e-3
    middle = low + share * (high - low)
    low_s, middle_s, high_s = (times.step_s(num_seqs, num_seqs, c, num_seqs) for c in (low, middle, high))
    assert middle_s == pytest.approx(low_s + share * (high_s - low_s), rel=1e-9)


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


def never_slower(slow, fast):
    """Every table, and decode attention of any batch at any context."""
    for name in ("batch_s", "decode_batch_s", "sample_s"):
        assert np.all(getattr(fast, name) <= getattr(slow, name) * (1 + 1e-12)), name
    assert fast.pair_s <= slow.pair_s
    assert fast.prefill_step_s <= slow.prefill_step_s
    for context in (0, 500, 1024, 5000, 60_000, 500_000, 2_000_000):
        for num_seqs in (1, 2, 7, 64, slow.max_num_seqs):
            assert fast.attention_s(num_seqs, context) <= slow.attention_s(num_seqs, context) * (1 + 1e-12)


@kinds
@settings(max_examples=6)
@given(factor=st.floats(1.0, 3.0))
def test_more_bandwidth_is_never_slower(kind, factor):
    gpu = catalog.load_gpu(KINDS[kind][1])
    slow = compiled_kind(kind).step_times
    fast = compiled_kind(kind, memory_bandwidth_bytes_per_s=factor * gpu.memory_bandwidth_bytes_per_s).step_times
    never_slower(slow, fast)
    if factor > 1.2:
        assert fast.decode_batch_s[1] < slow.decode_batch_s[1]


@kinds
def test_more_throughput_is_never_slower(kind):
    gpu = catalog.load_gpu(KINDS[kind][1])
    slow, fast = (
        compiled_kind(kind).step_times,
        compiled_kind(kind, bf16_flops_per_s=2 * gpu.bf16_flops_per_s).step_times,
    )
    never_slower(slow, fast)
    assert fast.pair_s < slow.pair_s


@kinds
def test_faster_links_are_never_slower(kind):
    gpu = catalog.load_gpu(KINDS[kind][1])
    links = ("nvlink_bytes_per_s", "pcie_bytes_per_s", "internode_bytes_per_s")
    faster = {name: 2 * getattr(gpu, name) for name in links if getattr(gpu, name) is not None}
    slow, fast = compiled_kind(kind).step_times, compiled_kind(kind, **faster).step_times
    never_slower(slow, fast)
    shared = KINDS[kind][3].get("tensor_parallel_size", 1) > 1 and gpu.nvlink_bytes_per_s is not None
    if shared or "data_parallel_size" in KINDS[kind][3]:
        assert fast.batch_s[1000] < slow.batch_s[1000]


@st.composite
def random_models(draw):
    """A dense or MoE model of shapes that no table has, with the parallelism that it allows."""
    head_dim = draw(st.sampled_from([64, 80, 96, 128, 256]))
    kv_heads = draw(st.sampled_from([1, 2, 4, 8]))
    heads = kv_heads * draw(st.sampled_from([1, 2, 4, 5, 7, 8]))
    base = "mixtral-8x7b" if draw(st.booleans()) else "llama-3.1-8b"
    fields = {
        "hidden_size": 64 * draw(st.integers(4, 128)),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "intermediate_size": 64 * draw(st.integers(4, 300)),
        "num_hidden_layers": draw(st.integers(1, 60)),
    }
    if base == "mixtral-8x7b":
        fields |= {
            "num_experts": draw(st.sampled_from([8, 60, 128])),
            "moe_intermediate_size": 64 * draw(st.integers(4, 64)),
        }
        fields["num_moe_layers"] = fields["num_hidden_layers"]
    tp = draw(st.sampled_from([size for size in (1, 2, 4) if kv_heads % size == 0]))
    return catalog.load_model(base).replace_all(fields), tp


@settings(max_examples=25, deadline=None)
@given(
    random_models(),
    st.sampled_from(["a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb", "h100-pcie-80gb"]),
    st.sampled_from(["memory_bandwidth_bytes_per_s", "bf16_flops_per_s", "nvlink_bytes_per_s"]),
    st.floats(1.01, 3.0),
)
def test_random_models_are_never_slower_on_faster_boards(drawn, gpu_name, ceiling, factor):
    model, tp = drawn
    gpu = catalog.load_gpu(gpu_name)
    if getattr(gpu, ceiling) is None:
        return
    faster = gpu.replace(ceiling, {"value": factor * getattr(gpu, ceiling), "kind": "assumed"})
    options = {"tensor_parallel_size": tp, "max_num_seqs": 80, "max_num_batched_tokens": 700, "max_model_len": 100}
    try:
        slow, fast = (compile(model, board, **options).step_times for board in (gpu, faster))
    except CapacityError:
        return
    never_slower(slow, fast)
    for table in (slow.batch_s, slow.decode_batch_s, slow.sample_s):
        assert np.all(np.diff(table) >= 0)


@pytest.mark.parametrize("family", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize("gpu", ["a100-sxm-80gb", "h100-sxm-80gb", "h200-sxm-141gb"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "llama-2-7b", "qwen3-32b"])
def test_decode_attention_rises_with_sequences_and_context(gpu, family, model):
    """At the sizes that were timed, powers of two; a table is stored in steps, so a flat may fall by one."""
    kernels, spec = load_kernels(gpu, family), catalog.load_model(model)
    context = np.exp2(decode_nodes := kernels.decode_attention["bf16"].residual.axes[1])
    seqs = np.exp2(np.arange(9.0))
    grid = np.meshgrid(seqs, context, indexing="ij")
    assert len(decode_nodes) > 10
    for kv in ("bf16", "fp8"):
        if kernels.decode_attention[kv].fit.error is None:
            continue  # assumed: another precision's table
        pair = kernels.decode_attention[kv], kernels.prefill_attention[kv]
        time_s = decode_layer_s(*grid, spec, catalog.load_gpu(gpu), pair, tensor_parallel_size=1)
        assert np.all(np.diff(time_s, axis=1) >= -QUANTUM * time_s[:, 1:])
        assert np.all(np.diff(time_s, axis=0) >= -QUANTUM * time_s[1:])


def test_an_fp8_cache_is_faster_where_reading_is_what_takes_time(compiled):
    plain, lean = (compiled(tensor_parallel_size=4, kv=kv).step_times for kv in ("auto", "fp8"))
    for num_seqs, context in ((64, 4000), (200, 2000), (8, 60_000)):
        assert lean.attention_s(num_seqs, num_seqs * context) < 0.85 * plain.attention_s(num_seqs, num_seqs * context)


def looked_up(table, *point):
    """Factor of a table at a point, interpolated corner by corner."""
    cells = []
    for nodes, at in zip(table.axes, point, strict=True):
        at = min(max(at, nodes[0]), nodes[-1])
        low = min(bisect.bisect_right(list(nodes), at) - 1, max(len(nodes) - 2, 0))
        cells.append(
            [(low, 1.0)]
            if len(nodes) == 1
            else [
                (low, (nodes[low + 1] - at) / (nodes[low + 1] - nodes[low])),
                (low + 1, (at - nodes[low]) / (nodes[low + 1] - nodes[low])),
            ]
        )
    log = sum(
        math.prod(share for _, share in corner) * float(table.values[tuple(index for index, _ in corner)])
        for corner in itertools.product(*cells)
    )
    return math.exp(log)


def worked_out(model, gpu, kernels, engine, tp, batch):  # noqa: PLR0915  (all of it, in one place)
    """Step time of a dense bf16 model without arrays, from the formulas of docs/equations.md [s]."""
    num_tokens, decodes, context, emitting, pairs, max_num_seqs = batch
    bandwidth, peak, kernel = float(gpu.memory_bandwidth_bytes_per_s), float(gpu.bf16_flops_per_s), kernels.gemm["bf16"]
    fit = kernel.fit

    def product(rows, k, n):
        moved = 2 * (n * k + rows * k + rows * n)
        compute = 2 * rows * n * k / (peak * fit.compute_frac)
        memory = moved / (bandwidth * fit.bandwidth_frac) + fit.depth_s * k
        form = fit.launch_s + (compute**fit.sharpness + memory**fit.sharpness) ** (1 / fit.sharpness)
        timed = form * looked_up(kernel.residual, math.log2(rows), math.log2(n), math.log2(k))
        fastest = 2 * rows * n * k / (peak * fit.ceiling_frac)
        extra = engine.gemm_compute_extra.get("bf16", 0.0) * fastest
        own = engine.gemm_scale["bf16"] * max(timed, fastest, moved / bandwidth) + extra
        return max(own, 2 * rows * n * k / peak, moved / bandwidth)

    h, layers, d = model.hidden_size, model.num_hidden_layers, model.head_dim
    heads, kv_heads = model.num_attention_heads // tp, max(model.num_key_value_heads // tp, 1)

    def reduced(rows):
        if tp == 1:
            return 0.0
        link, own = kernels.all_reduce[tp], kernels.all_reduce[tp].fit
        size = 2 * rows * h
        factor = looked_up(link.residual, math.log2(size)) if own.table else 1.0
        return 2 * ((own.latency_s + size / own.bytes_per_s) * factor + engine.all_reduce_extra_s)

    def whole(rows):
        layer = (
            product(rows, h, (heads + 2 * kv_heads) * d)
            + product(rows, heads * d, h)
            + product(rows, h, 2 * model.intermediate_size // tp)
            + product(rows, model.intermediate_size // tp, h)
            + engine.elementwise_passes * 2 * rows * h / bandwidth * (0.4 + 0.6 / tp)
            + engine.layer_s
            + reduced(rows)
        )
        return layers * layer + engine.step_s

    def reading(seqs, total):
        """Decode attention of one layer at one of the knots."""
        each, kernel = total / seqs, kernels.decode_attention["bf16"]
        fit = kernel.fit
        read = seqs * each * 2 * kv_heads * d * 2
        start, further = fit.start_s + seqs * kv_heads * fit.sequence_s, fit.batch_start_s
        multiply = seqs * each * 4 * heads * d / (peak * kernels.prefill_attention["bf16"].fit.compute_frac)
        form = start + max(read / (bandwidth * fit.bandwidth_frac), multiply)
        point = (seqs * kv_heads, max(each, 1.0), heads / kv_heads, d)
        timed = form * looked_up(kernel.residual, *map(math.log2, point))
        timed += further if seqs > 1 and kv_heads > 1 else 0.0
        own = engine.decode_attention_scale["bf16"] * max(timed, read / (bandwidth * fit.ceiling_frac))
        return max(own, read / bandwidth)

    def attending(seqs, total):
        """The same where the engine's own kernel may walk each context with one block."""
        if engine.decode_serial_s and 4 * seqs * kv_heads < gpu.num_sms:
            waves = math.ceil(seqs * heads / gpu.num_sms)
            return layers * (reading(seqs, 0.0) + engine.decode_serial_s * total / seqs * waves)
        return layers * reading(seqs, total)

    graphs = [size for size in engine.graph_sizes if size <= engine.graph_sizes_per_seq * max_num_seqs]

    def padded(number):
        return min((size for size in graphs if size >= number), default=number)

    # A table may fall where the form hardly rises: no smaller batch of the same kind takes longer.
    smaller = (
        graphs
        if num_tokens <= (graphs[-1] if graphs else 0)
        else [*graphs, *range((graphs or [0])[-1] + 1, num_tokens + 1)]
    )
    time = max(whole(rows) for rows in {padded(num_tokens), *smaller} if rows <= padded(num_tokens))
    if decodes:
        knots = [0.0, *KNOT_TOKENS, 4 * KNOT_TOKENS[-1]]
        values = list(itertools.accumulate((attending(decodes, knot) for knot in knots), max))
        piece = min(bisect.bisect_right(knots, context) - 1, len(knots) - 2)
        share = (context - knots[piece]) / (knots[piece + 1] - knots[piece])
        time += values[piece] + share * (values[piece + 1] - values[piece])
    if num_tokens > decodes:
        prompts, prefill = [2.0**i for i in range(7, 15)], kernels.prefill_attention["bf16"]
        own, on = prefill.fit, kernels.timed_on
        matrix, ones = [], []
        for q in prompts:
            compute = 4 * heads * d * q * (q + 1) / 2 / (on.bf16_flops_per_s * own.compute_frac)
            memory = 2 * q * (2 * heads + 2 * kv_heads) * d / (on.memory_bandwidth_bytes_per_s * own.bandwidth_frac)
            form = own.start_s + math.hypot(compute, memory)
            timed = form * looked_up(prefill.residual, *map(math.log2, (heads, q, heads / kv_heads, d)))
            timed *= engine.prefill_attention_scale
            matrix.append([1 / timed, q / timed, q * (q + 1) / 2 / timed])
            ones.append(1.0)
        units = np.linalg.norm(matrix, axis=0)
        start, token, pair = scipy.optimize.nnls(np.array(matrix) / units, np.array(ones))[0] / units
        token *= float(on.memory_bandwidth_bytes_per_s) / bandwidth
        pair = max(pair * float(on.bf16_flops_per_s) / peak, 4 * heads * d / peak)
        time += layers * (start + token * num_tokens + pair * pairs + engine.prefill_layer_s)
    if emitting:
        vocabulary = model.vocab_size // tp
        head = max(product(rows, h, vocabulary) for rows in range(1, emitting + 1))
        time += head + engine.logits_passes * 4 * emitting * vocabulary / bandwidth
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
    overheads = load_engine(engine, gpu)
    parts = models(name), gpus(gpu), load_kernels(gpu, overheads.kernels), overheads, tp
    random = np.random.default_rng(1)
    for _ in range(14):
        decodes = int(random.integers(0, seqs + 1))
        prefill = int(random.integers(0, 1300)) if random.random() < 0.5 or decodes == 0 else 0
        if decodes + prefill == 0:
            continue
        context = int(random.integers(0, 500_000)) if decodes else 0
        emitting = int(random.integers(0, seqs + 1)) if prefill else decodes
        pairs = prefill * (prefill + 1) / 2
        batch = decodes + prefill, decodes, context, emitting, pairs
        assert times.step_s(*batch) == pytest.approx(worked_out(*parts, (*batch, seqs)), rel=1e-9)
