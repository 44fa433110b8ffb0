"""Memory: blocks and pools that engines logged, splits of weights, stages."""

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost import compile
from sim.cost.calibration import load_engine
from sim.cost.memory import CachePlan, Layout, plan_memory, stage_layers, workspace_bytes
from sim.lifecycle.shapes import kv_bytes_per_token_layer, parameters
from sim.units import GIB


def logged(repository):
    text = (repository / "tests/reference/kv_memory.csv").read_text()
    return list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))


MISSES = {
    # Llama-4-Scout is multimodal: weights and peak of its vision part are 2.6 to 6 GiB a GPU more than counted.
    ("llama-4-scout", "fp8"): 0.5,
    ("llama-4-scout", "bf16"): 0.2,
}
"""(model, weights) whose pools miss 3 %, and by how much at most; docs/validation.md says why."""


def test_blocks_and_pools_come_within_three_percent_of_what_engines_log(repository, compiled):
    """One rule for all. Where less than a tenth of the device is left, 0.5 % of the device are allowed."""
    rows = logged(repository)
    assert len(rows) == 49
    for row in rows:
        profile = compiled(
            row["model"],
            gpu=row["gpu"],
            engine=row["engine"],
            tensor_parallel_size=int(row["tensor_parallel_size"]),
            pipeline_parallel_size=int(row["pipeline_parallel_size"]),
            weights=row["weights"],
            kv=row["kv_cache_dtype"],
            max_num_seqs=int(row["max_num_seqs"]),
            max_num_batched_tokens=int(row["max_num_batched_tokens"]),
            gpu_memory_utilization=float(row["gpu_memory_utilization"]),
        )
        usable_blocks = profile.num_gpu_blocks - 1
        pairs = [
            (profile.num_gpu_blocks, row["num_gpu_blocks"]),
            (profile.kv_pool_bytes_per_gpu / GIB, row["pool_gib"]),
            (usable_blocks * profile.block_size, row["tokens"]),
        ]
        off = [abs(found / float(said) - 1) for found, said in pairs if said]
        assert off, row
        miss = MISSES.get((row["model"], row["weights"]))
        if miss:
            assert 0.03 < max(off) < miss, row
        elif row["pool_gib"] and float(row["pool_gib"]) < 7.9:
            assert abs(profile.kv_pool_bytes_per_gpu / GIB - float(row["pool_gib"])) < 0.005 * 79.18, row
        else:
            assert max(off) < 0.03, row


@pytest.mark.parametrize(
    ("model", "tp", "pool_gib", "tokens"),
    [
        # one KV head of four on each of eight GPUs, kept twice; GPU and limits not stated (vLLM, September 2025)
        ("qwen3-235b-a22b-2507", 8, 11.51, 256_800),
        ("qwen3-235b-a22b-2507", 8, 24.58, 548_352),
        # H100 NVL, vLLM 0.13, the text model of Qwen3-VL-30B-A3B
        ("qwen3-30b-a3b-2507", 1, 19.40, 211_936),
        # github:vllm-project/vllm#21348, four H100
        ("qwen3-235b-a22b", 4, 8.11, 178_880),
        # github:llm-d-incubation/llm-d-planner@875a4fd
        ("llama-3.1-8b", 1, 58.11, 476_016),
    ],
)
def test_a_logged_pool_holds_the_logged_tokens(models, model, tp, pool_gib, tokens):
    """From one to eight GPUs: what a token takes on each of them, whatever was set aside before."""
    layer = kv_bytes_per_token_layer(models(model), 2, tp)
    assert pool_gib * GIB / (models(model).num_hidden_layers * layer) == pytest.approx(tokens, rel=0.012)


def test_shares_of_the_memory(models, gpus):
    """The same parts, shared out as vLLM, SGLang and TensorRT-LLM do: by hand for Llama-3.1-8B on one H100."""
    model, gpu = models("llama-3.1-8b"), gpus("h100-sxm-80gb")
    engine = load_engine("vllm", gpu.name)
    layout = Layout(1, 1, 1, 1, 2, 2, 1)
    cache = CachePlan(2, 16)
    limits = {"gpu_memory_utilization": 0.9, "max_num_seqs": 1024, "max_num_batched_tokens": 8192}
    device, weights = 79.18 * GIB, 2 * parameters(model).total
    peak, reserve = 38.9 * 1024 * 128256, 0.13 * GIB
    expected = {
        "all": 0.9 * device - weights - peak - reserve,
        "static": 0.9 * device - weights - reserve,
        "free": 0.9 * (device - weights - peak - reserve),
    }
    for share, pool in expected.items():
        changed = engine.replace("memory.share", share)
        assert plan_memory(model, gpu, changed, layout, cache, **limits).pool_bytes == pytest.approx(pool, rel=1e-3)


def test_workspaces_of_experts_add_to_the_sampler(models):
    """Mixtral-8x7B on two GPUs: 8,192 tokens x 2 experts x (14,336 + 7,168) values of 2 B = 0.656 GiB."""
    layout = Layout(2, 1, 1, 1, 2, 2, 1)
    assert workspace_bytes(models("mixtral-8x7b"), layout, 8192) == 8192 * 2 * (14336 + 7168) * 2
    assert workspace_bytes(models("llama-3.1-8b"), layout, 8192) == 0
    assert workspace_bytes(models("gpt-oss-120b"), replace(layout, expert_bytes=0.53125), 8192) == 0


def test_groups_of_sliding_layers_are_padded(compiled):
    """Gemma-3-27B: 10 full layers, 52 with a window in six groups of ten, so a token takes 70 layers of cache."""
    profile = compiled("gemma-3-27b", max_num_seqs=1024)
    layer = 2 * 16 * 128 * 2
    assert profile.kv_bytes_per_token == 70 * layer
    assert profile.num_gpu_blocks == int(profile.kv_pool_bytes_per_gpu // (16 * 70 * layer))


def test_a_vision_tower_takes_memory_and_no_time(models, gpus):
    model = models("gemma-3-12b")
    bare = model.replace("tower_parameters", 0)
    with_tower, without = (compile(m, gpus("h100-sxm-80gb")) for m in (model, bare))
    assert with_tower.weights_bytes_per_gpu - without.weights_bytes_per_gpu == 2 * model.tower_parameters == 840e6
    assert with_tower.step_times.step_s(64, 64, 64_000, 64) == without.step_times.step_s(64, 64, 64_000, 64)


def test_the_gpt_oss_checkpoint_weighs_what_its_card_says(compiled):
    """arXiv:2508.10925, table 1: 60.8 GiB. The engine pads the experts; two GPUs pad 1,440 to 1,536 each."""
    profile = compiled("gpt-oss-120b", weights="mxfp4", gpu_memory_utilization=0.95)
    experts_gib = 36 * 128 * 3 * 2880 * 2880 * 0.53125 / GIB
    unpadded_gib = profile.weights_bytes_per_gpu / GIB - experts_gib * (3072 / 2880 - 1)
    assert unpadded_gib == pytest.approx(60.8, abs=0.05)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "llama-3.1-70b"])
@pytest.mark.parametrize("tp", [2, 4, 8])
def test_weights_split_but_for_the_norms(models, compiled, name, tp):
    model = models(name)
    norms = 2 * parameters(model).norms
    split = compiled(name, tensor_parallel_size=tp).weights_bytes_per_gpu
    assert tp * (split - norms) == pytest.approx(2 * parameters(model).total - norms, rel=1e-12)


@given(st.integers(1, 200), st.integers(1, 16))
def test_every_layer_is_in_one_stage(num_layers, num_stages):
    stages = stage_layers(num_layers, num_stages)
    assert (len(stages), sum(stages)) == (num_stages, num_layers)
    assert max(stages) - min(stages) <= 1
    assert stages[-1] == min(stages)  # the last stage also holds the head


def test_two_stages_hold_half_each_and_twice_the_cache(compiled):
    one, two = (compiled(tensor_parallel_size=4, pipeline_parallel_size=pp) for pp in (1, 2))
    assert two.weights_bytes_per_gpu == pytest.approx(one.weights_bytes_per_gpu / 2, rel=0.02)
    assert two.num_gpu_blocks > 2 * one.num_gpu_blocks
    assert two.kv_bytes_per_token == one.kv_bytes_per_token == 327_680
    assert two.num_gpus == 8


def test_an_fp8_cache_holds_twice_the_tokens(compiled):
    plain, lean = (compiled(tensor_parallel_size=4, kv=kv) for kv in ("auto", "fp8"))
    assert lean.kv_bytes_per_token == plain.kv_bytes_per_token / 2
    assert lean.num_gpu_blocks - 2 * plain.num_gpu_blocks in (0, 1)


def test_latents_are_on_every_gpu(compiled):
    for tp in (4, 8):
        profile = compiled("meridian-1-70b-mla", tensor_parallel_size=tp)
        assert profile.kv_bytes_per_token == tp * 80 * 576 * 2


def test_sliding_windows_leave_room_for_more_tokens(compiled):
    """gpt-oss: half of the layers keep 128 tokens, so a token costs half as much as in all layers."""
    profile = compiled("gpt-oss-120b", weights="mxfp4", tensor_parallel_size=2)
    assert profile.kv_bytes_per_token == 18 * 2 * 8 * 64 * 2
    every_layer = profile.kv_pool_bytes_per_gpu // (16 * 36 * 2 * 4 * 64 * 2)
    assert every_layer < profile.num_gpu_blocks < 2 * every_layer


def test_more_memory_never_holds_less(compiled):
    shares = [0.5, 0.51, 0.6, 0.75, 0.9, 1.0]
    blocks = [compiled("llama-3.1-8b", gpu_memory_utilization=share).num_gpu_blocks for share in shares]
    assert blocks == sorted(blocks)
    assert blocks[0] < blocks[-1]
