"""What the columns with words of their own mean: loads, notes, versions."""

import pytest

from sim.calibrate.serving.engines import nearest_engine
from sim.calibrate.serving.loads import Load, read_load
from sim.calibrate.serving.notes import read_notes


@pytest.mark.parametrize(
    ("text", "load"),
    [
        ("concurrency=64", Load("closed_loop", 64)),
        ("offline client_concurrency=16", Load("all_at_once", 0)),
        ("rate=2.5 req/s", Load("open_loop", 2.5)),
        ("server target_qps=102.5", Load("open_loop", 102.5)),
        ("inf rate (all 984 prompts at once)", Load("all_at_once", 984)),
        ("inf (200 prompts)", Load("all_at_once", 200)),
        ("static_batch=1536", Load("static", 1536)),
        ("max_num_seqs=384 (saturated; avg batch 383.0)", Load("saturated", 383)),
        ("decode_batch~139.0", Load("decode_step", 139)),
        ("inf (max throughput)", Load("offline", 0)),
        ("offline (inf)", Load("offline", 0)),
        ("steady 5 / burst 25 req/s", None),
        ("", None),
    ],
)
def test_loads(text, load):
    assert read_load(text) == load


def test_a_command_line():
    notes = read_notes("500 reqs; cmd: vllm serve GLM -tp 8 --max-num-batched-tokens 4096 --enable-expert-parallel")
    assert notes.settings == {"max_num_batched_tokens": 4096}
    assert (notes.tensor_parallel_size, notes.enable_expert_parallel, notes.num_requests) == (8, True, 500)
    assert notes.async_scheduling is None
    assert read_notes("cmd: vllm serve openai/gpt-oss-20b --async-scheduling").async_scheduling


@pytest.mark.parametrize(
    ("command", "ranks"),
    [
        ("sglang.launch_server --tp-size 8 --enable-dp-attention --dp 8", 8),
        ("sglang.launch_server --tp 8 --enable-dp-attention", 8),
        ("sglang.launch_server --tp-size 8", 1),
        ("sglang.launch_server --tp-size 4 --dp-size 2", 1),
        ("num_gpus=8 dp=2 ep=8", 2),
    ],
)
def test_ranks_with_attention_of_their_own(command, ranks):
    assert read_notes(command).data_parallel_size == ranks


def test_names_of_runs_count_gpus_once():
    notes = read_notes(
        "id=2026_h200_sxm_trtllm_fp4_agg_1024x1024_c64_tp4_ep4_985; attention_dp=1.0 moe_tp=4.0 moe_ep=4.0"
    )
    assert (notes.run_gpus, notes.run_expert_gpus) == (4, 4)
    notes = read_notes("id=2026_sxm_vllm_agg_1024x1024_c64_tp1_0_epnone_4; attention_dp=nan moe_ep=0.0")
    assert (notes.run_gpus, notes.run_expert_gpus) == (1, None)
    assert read_notes("id=dsr1_c64_cfg183; attention_dp=64.0 moe_tp=8.0").run_gpus == 8
    assert read_notes("csv row 4").run_gpus is None


def test_other_notes():
    assert read_notes("gpu_mem_util=0.95").settings == {"gpu_memory_utilization": 0.95}
    assert read_notes("HPE x8; 8 GPUs total from systems json").num_gpus == 8
    assert read_notes("3 prefill + 1 decode workers; real mean isl 2046 osl 64").workers == (3, 1)
    assert read_notes("real mean isl 2046 osl 64").means == ("2046", "64")
    assert read_notes("n=12000 failures=0").num_requests == 12000


A100 = {"nim": "1.0 (not stated)", "vllm": "0.15.1", "vllm-0.12": "0.12.0", "vllm-0.20": "0.20.1"}
H100 = {"vllm": "0.15.1", "vllm-long-prompts": "0.12", "sglang-0.5": "0.5.8"}


@pytest.mark.parametrize(
    ("families", "version", "versions", "engine"),
    [
        (("vllm",), "0.12.0", A100, "vllm-0.12"),
        (("vllm",), "v0.11.0", A100, "vllm-0.12"),
        (("vllm",), "0.14", A100, "vllm"),
        (("vllm",), "0.24.1+transformers", A100, "vllm-0.20"),
        (("vllm",), "see repo", A100, "vllm"),
        (("vllm",), "0.12", H100, "vllm"),
        (("sglang", "vllm"), "latest", H100, "sglang-0.5"),
        (("sglang", "vllm"), "0.5.1", A100, "vllm-0.12"),
        (("trtllm", "nim"), "1.1", A100, "nim"),
        (("trtllm", "nim"), "1.0", H100, None),
    ],
)
def test_the_nearest_calibration(families, version, versions, engine):
    assert nearest_engine(families, version, versions) == engine
