"""Parallelism: what pipeline stages, data-parallel ranks and spread experts do to time, memory and traffic."""

import numpy as np
import pytest

from sim.cost import compile
from sim.cost.calibration import load_engine, load_kernels
from sim.cost.collective import all_to_all_s, dispatch_bytes
from sim.errors import SpecError

DEEPSEEK = {"gpu": "h200-sxm-141gb", "weights": "fp8", "max_num_batched_tokens": 1024}


def decode(times, num_seqs, context=1000):
    return times.step_s(num_seqs, num_seqs, num_seqs * context, num_seqs)


def test_one_stage_is_the_whole(compiled):
    profile = compiled("llama-3.1-8b")
    assert profile.stage_times is profile.step_times


@pytest.mark.parametrize("pp", [2, 4])
@pytest.mark.parametrize("num_seqs", [1, 64, 256])
def test_stages_do_not_shorten_a_step(compiled, gpus, kernels, pp, num_seqs):
    """Latency grows by the transfers alone: 2 values of 2 bytes a token and channel, latency + bytes / link."""
    one, many = (compiled("llama-3.1-8b", pipeline_parallel_size=size) for size in (1, pp))
    link = gpus("h100-sxm-80gb").nvlink_bytes_per_s * kernels.link_frac
    hop_s = kernels.link_latency_s + 4 * num_seqs * 4096 / link
    grown_s = decode(many.step_times, num_seqs) - decode(one.step_times, num_seqs)
    assert grown_s == pytest.approx((pp - 1) * hop_s, rel=1e-9)


@pytest.mark.parametrize("pp", [2, 4])
@pytest.mark.parametrize("num_seqs", [32, 256])
def test_without_bubbles_a_gpu_does_as_much_as_before_less_transfers_and_host(compiled, vllm, pp, num_seqs):
    """32 layers in equal stages: pp x stage - one GPU's step = what every stage waits for instead of one.

    So all stages but one lose that wait at most. Sampling, with its host time a sequence, is the longer one at 256
    sequences: four stages then do a fifth less each.
    """
    one, many = (compiled("llama-3.1-8b", pipeline_parallel_size=size) for size in (1, pp))
    hop_s = (decode(many.step_times, num_seqs) - decode(one.step_times, num_seqs)) / (pp - 1)
    sample_s = one.step_times.sample_s[num_seqs]
    waits_s = max(vllm.step_s + hop_s, sample_s)
    expected_s = decode(one.step_times, num_seqs) + pp * waits_s - vllm.step_s - sample_s
    assert pp * decode(many.stage_times, num_seqs) == pytest.approx(expected_s, rel=1e-9)
    each = num_seqs / decode(many.stage_times, num_seqs) / many.num_gpus
    alone_s = decode(one.step_times, num_seqs)
    assert alone_s / (alone_s + (pp - 1) * waits_s) <= each / (num_seqs / alone_s) < 1.0


@pytest.mark.parametrize(("model", "tp", "pp"), [("llama-3.1-8b", 1, 3), ("llama-3.1-405b", 8, 4), ("qwen3-32b", 2, 2)])
def test_a_stage_takes_its_share_at_least_and_the_step_at_most(compiled, model, tp, pp):
    profile = compiled(model, tensor_parallel_size=tp, pipeline_parallel_size=pp)
    step, stage = profile.step_times, profile.stage_times
    for num_seqs in (1, 7, 64, 256):
        assert decode(step, num_seqs) / pp <= decode(stage, num_seqs) < decode(step, num_seqs)
    assert step.step_s(2048, 0, 0, 1, 2e6) / pp <= stage.step_s(2048, 0, 0, 1, 2e6) < step.step_s(2048, 0, 0, 1, 2e6)
    assert np.all(stage.power_w[1:] > step.power_w[1:])


def test_stages_beyond_a_node_go_over_the_network(compiled, gpus, kernels):
    """Two stages of 4 GPUs fill a node: of the three hops of four stages one leaves it."""
    gpu, tokens, hidden = gpus("h100-sxm-80gb"), 64, 8192
    one, four = (compiled(tensor_parallel_size=4, pipeline_parallel_size=size) for size in (1, 4))
    times = [
        kernels.link_latency_s + 4 * tokens * hidden / (rate * kernels.link_frac)
        for rate in (gpu.nvlink_bytes_per_s, gpu.internode_bytes_per_s)
    ]
    grown_s = decode(four.step_times, tokens) - decode(one.step_times, tokens)
    assert grown_s == pytest.approx(2 * times[0] + times[1], rel=1e-9)


def test_data_parallel_ranks_keep_attention_and_cache_whole(compiled):
    """DeepSeek-V3: the latent is on every GPU under tensor parallelism, on one rank under data parallelism."""
    tp, dp = (
        compiled("deepseek-v3", enable_expert_parallel=True, **sizes, **DEEPSEEK)
        for sizes in ({"tensor_parallel_size": 8}, {"data_parallel_size": 8})
    )
    assert (tp.num_gpus, dp.num_gpus, tp.expert_parallel_size, dp.expert_parallel_size) == (8, 8, 8, 8)
    assert dp.kv_bytes_per_token * 8 == tp.kv_bytes_per_token
    assert dp.weights_bytes_per_gpu > tp.weights_bytes_per_gpu
    assert dp.num_gpu_blocks > 5 * tp.num_gpu_blocks
    assert (dp.max_num_seqs, dp.max_num_batched_tokens) == (8 * 256, 8 * 1024)
    # One sequence waits for a whole rank's attention weights; many have their contexts read by eight ranks at once,
    # each with all 128 heads, which makes the absorbed latent compute-bound.
    assert decode(dp.step_times, 1) > decode(tp.step_times, 1)
    compute_frac = load_kernels("h200-sxm-141gb", "vllm").prefill_attention["bf16"].fit.compute_frac
    scale = load_engine("vllm", "h200-sxm-141gb").decode_attention_scale["bf16"]
    one_rank_s = scale * 61 * 2 * 128 * (2 * 512 + 64) / (989e12 * compute_frac)
    assert dp.step_times.decode_slope_s[64] == pytest.approx(one_rank_s / 8, rel=1e-9)
    assert np.all(dp.step_times.decode_slope_s[64] < tp.step_times.decode_slope_s[64] / 3)


def test_ranks_run_in_lock_step(compiled):
    """Nine sequences on eight ranks take as long as sixteen, but for the experts that they visit."""
    times = compiled("deepseek-v3", data_parallel_size=8, enable_expert_parallel=True, **DEEPSEEK).step_times
    assert times.decode_batch_s[9] == times.decode_batch_s[16]
    assert times.sample_s[9] == times.sample_s[16] > times.sample_s[8]


def test_experts_of_one_rank_need_no_exchange(compiled):
    """vLLM sends tokens to experts only between data-parallel ranks; one rank sums up with an all-reduce."""
    rows = {
        dp: {
            row.name
            for row in compiled(
                "deepseek-v3",
                tensor_parallel_size=8 // dp,
                data_parallel_size=dp,
                enable_expert_parallel=True,
                **DEEPSEEK,
            ).card
        }
        for dp in (1, 2, 8)
    }
    has = {
        dp: [any(name.startswith(part) for name in names) for part in ("all-red", "dispatch")]
        for dp, names in rows.items()
    }
    assert has == {1: [True, False], 2: [True, True], 8: [False, True]}


def test_dispatch_sends_the_cheaper_of_two_ways(gpus, kernels):
    """k = 8 copies of a token over 16 GPUs are half a batch; over 4 GPUs gathering the whole batch is cheaper."""
    whole = np.array([1e6])
    assert dispatch_bytes(whole, 8, 16) == [5e5]
    assert dispatch_bytes(whole, 8, 4) == [1e6]
    gpu = gpus("h200-sxm-141gb")
    inside, across = (all_to_all_s(whole, size, gpu, kernels) for size in (8, 16))
    assert inside == pytest.approx(15.5e-6, rel=0.02)  # NCCL 2.29 takes 14.2 us for 512 KiB, 15.9 for 1 MiB
    assert across == pytest.approx(kernels.link_latency_s + 1e6 * 15 / 16 / (50e9 * kernels.link_frac))


def test_whole_or_split_experts_weigh_the_same(compiled):
    whole, split = (
        compiled("mixtral-8x7b", tensor_parallel_size=4, enable_expert_parallel=enabled) for enabled in (True, False)
    )
    assert whole.weights_bytes_per_gpu == pytest.approx(split.weights_bytes_per_gpu, rel=1e-9)
    assert (whole.expert_parallel_size, split.expert_parallel_size) == (4, 1)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("llama-3.1-8b", {"data_parallel_size": 2}, "data_parallel_size: llama-3.1-8b has no experts to share"),
        ("llama-3.1-8b", {"tensor_parallel_size": 2, "enable_expert_parallel": True}, "has no experts to spread"),
        ("mixtral-8x7b", {"data_parallel_size": 0}, "data_parallel_size: must be >= 1, got 0"),
        (
            "mixtral-8x7b",
            {"tensor_parallel_size": 4, "expert_parallel_size": 2, "enable_expert_parallel": True},
            "spreads the experts over all 4 GPUs of a stage; leave this at 1, got 2",
        ),
        (
            "mixtral-8x7b",
            {"tensor_parallel_size": 8, "data_parallel_size": 2, "enable_expert_parallel": True},
            "must divide tensor_parallel_size x data_parallel_size (16) and the 8 experts, got 16",
        ),
    ],
)
def test_what_cannot_be_spread_is_said(models, h100, model, options, said):
    with pytest.raises(SpecError) as caught:
        compile(models(model), h100, **options)
    assert said in str(caught.value)
