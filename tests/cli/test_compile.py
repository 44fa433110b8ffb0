"""``tokenfleet compile``."""

import inspect
import json

import pytest

import sim

SMALL = ("llama-3.1-8b", "h100-sxm-80gb")


def test_every_row_of_the_card_has_a_source(tokenfleet):
    compiled = tokenfleet("compile", *SMALL, "--json")
    assert (compiled.exit_code, compiled.stderr) == (0, "")
    card = json.loads(compiled.stdout)["card"]
    assert card
    assert all(row["name"] and row["source"] for row in card)


def test_the_table_shows_every_row_of_the_card(tokenfleet):
    card = json.loads(tokenfleet("compile", *SMALL, "--json").stdout)["card"]
    table = tokenfleet("compile", *SMALL)
    assert table.exit_code == 0
    assert all(row["name"] in table.stdout for row in card)


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        (("--kv", "fp8"), lambda plain, now: now["kv_bytes_per_token"] == plain["kv_bytes_per_token"] / 2),
        (("--weights", "fp8"), lambda plain, now: now["weights_bytes_per_gpu"] < plain["weights_bytes_per_gpu"]),
        (("--tp", "2"), lambda plain, now: now["num_gpus"] == 2 * plain["num_gpus"]),
        (("--tensor-parallel-size", "2"), lambda plain, now: now["num_gpus"] == 2 * plain["num_gpus"]),
        (("--pipeline-parallel-size", "2"), lambda plain, now: now["num_gpu_blocks"] > 2 * plain["num_gpu_blocks"]),
        (("--kv-cache-dtype", "fp8"), lambda plain, now: now["kv_bytes_per_token"] == plain["kv_bytes_per_token"] / 2),
        (
            ("--kv-cache-layout", "contiguous", "--max-model-len", "2048"),
            lambda plain, now: (plain["block_size"], now["block_size"]) == (16, 2048),
        ),
        (("--no-cache",), lambda plain, now: plain["use_cache"] and not now["use_cache"]),
        (
            ("--attn-implementation", "eager"),
            lambda plain, now: now["activation_bytes_per_gpu"] > plain["activation_bytes_per_gpu"],
        ),
        (
            ("--speculative-config", '{"method": "eagle3", "num_speculative_tokens": 3}'),
            lambda plain, now: now["weights_bytes_per_gpu"] > plain["weights_bytes_per_gpu"],
        ),
        (("--max-num-seqs", "64"), lambda plain, now: now["num_gpu_blocks"] > plain["num_gpu_blocks"]),
        (
            ("--max-num-batched-tokens", "2048"),
            lambda plain, now: plain["max_num_batched_tokens"] == 4 * now["max_num_batched_tokens"],
        ),
        (("--block-size", "32"), lambda plain, now: now["num_gpu_blocks"] < 0.6 * plain["num_gpu_blocks"]),
        (("--gpu-memory-utilization", "0.5"), lambda plain, now: now["num_gpu_blocks"] < plain["num_gpu_blocks"]),
        (("--engine", "nim"), lambda plain, now: now["frontend_s"] != plain["frontend_s"]),
    ],
)
def test_an_option_changes_what_it_names(tokenfleet, options, holds):
    plain, changed = (json.loads(tokenfleet("compile", *SMALL, "--json", *more).stdout) for more in ((), options))
    assert holds(plain, changed)


def test_whole_experts_are_spread_over_the_ranks_of_a_moe_model(tokenfleet):
    options = ("--data-parallel-size", "8", "--enable-expert-parallel", "--weights", "fp8", "--max-model-len", "4096")
    compiled = tokenfleet("compile", "deepseek-v3", "h200-sxm-141gb", "--json", *options)
    assert compiled.exit_code == 0, compiled.stderr
    found = json.loads(compiled.stdout)
    sizes = ("num_gpus", "tensor_parallel_size", "data_parallel_size", "expert_parallel_size", "max_model_len")
    assert [found[name] for name in sizes] == [8, 1, 8, 8, 4096]


def test_speculation_is_on_the_card(tokenfleet):
    config = '{"method": "ngram", "num_speculative_tokens": 4}'
    table = tokenfleet("compile", *SMALL, "--speculative-config", config)
    assert table.exit_code == 0, table.stderr
    assert "tokens a step, 4 drafts" in table.stdout


def test_options_are_those_of_the_profile(tokenfleet):
    """What `sim.compile` takes by name, an option sets; so nothing that the cost layer knows is out of reach."""
    names = {
        name for name in inspect.signature(sim.compile).parameters if name not in ("model", "gpu", "kv", "kernels")
    }
    flags = tokenfleet("compile", "--help").stdout
    for name in names - {"use_cache"}:
        assert f"--{name.replace('_', '-')} " in flags or f"--{name.replace('_', '-')}," in flags, name


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("llama-3.1-8", "h100-sxm-80gb"), "Did you mean llama-3.1-8b?"),
        (("llama-3.1-8b", "h100-sxm"), "h100-sxm-80gb"),
        ((*SMALL, "--weights", "fp13"), "fp13"),
        ((*SMALL, "--tp", "3"), "3"),
        (("llama-3.1-70b", "h100-sxm-80gb"), "tensor_parallel_size"),
        ((*SMALL, "--kv-cache-dtype", "fp9"), "fp9"),
        ((*SMALL, "--kv-cache-layout", "page"), 'kv_cache_layout: "page" is not allowed. Allowed: paged, contiguous'),
        ((*SMALL, "--kv-cache-layout", "contiguous"), "max_model_len: missing"),
        (
            (*SMALL, "--no-cache", "--kv-cache-layout", "contiguous", "--max-model-len", "2048"),
            "must be paged where use_cache is false",
        ),
        ((*SMALL, "--attn-implementation", "sdpa"), "Allowed: flash_attention, eager"),
        ((*SMALL, "--data-parallel-size", "2"), "llama-3.1-8b has no experts to share"),
        ((*SMALL, "--enable-expert-parallel", "--tp", "2"), "has no experts to spread"),
        ((*SMALL, "--max-num-batched-tokens", "10"), "must be >= max_num_seqs (256), got 10"),
        ((*SMALL, "--max-model-len", "1000000"), "the context length of llama-3.1-8b"),
        ((*SMALL, "--gpu-memory-utilization", "1.5"), "must be above 0 and at most 1, got 1.5"),
        ((*SMALL, "--engine", "tgi"), "no calibration of engine tgi"),
        ((*SMALL, "--speculative-config", "{method: eagle4, num_speculative_tokens: 3}"), "eagle4"),
        ((*SMALL, "--speculative-config", "{method: ngram"), "--speculative-config:1  not valid YAML"),
        ((*SMALL, "--speculative-config", "{method: mtp, num_speculative_tokens: 3}"), "no multi-token-prediction"),
    ],
)
def test_what_cannot_be_is_a_mistake_of_the_user(tokenfleet, arguments, said):
    refused = tokenfleet("compile", *arguments)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
