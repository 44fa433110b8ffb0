"""Memory: blocks and pools that engines logged, splits of weights, stages."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.memory import stage_layers
from sim.cost.shapes import parameters
from sim.units import GIB


def logged(repository):
    text = (repository / "tests/reference/kv_memory.csv").read_text()
    return list(csv.DictReader(io.StringIO(text.split("\n", 1)[1])))


def test_blocks_and_pools_come_within_three_percent_of_what_engines_log(repository, compiled):
    """One rule for all. A pool is held against the device: small pools are differences of large parts."""
    rows = logged(repository)
    assert len(rows) == 10
    for row in rows:
        utilization = float(row["gpu_memory_utilization"])
        profile = compiled(
            row["model"],
            tensor_parallel_size=int(row["tensor_parallel_size"]),
            weights=row["weights"],
            max_num_seqs=int(row["max_num_seqs"]),
            max_num_batched_tokens=int(row["max_num_batched_tokens"]),
            gpu_memory_utilization=utilization,
        )
        if row["num_gpu_blocks"]:
            assert profile.num_gpu_blocks == pytest.approx(int(row["num_gpu_blocks"]), rel=0.03), row
        else:
            off_gib = profile.kv_pool_bytes_per_gpu / GIB - float(row["pool_gib"])
            assert abs(off_gib) < 0.005 * 79.18, row


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
