"""Fields of a pool that take rungs of the ladder away, spread a replica or speculate: what goes together."""

import pytest

from sim import catalog
from sim.cost import compile, compile_pool
from sim.errors import SpecError
from sim.spec.fleet import Pool
from sim.spec.speculation import read_acceptance

SPECULATION = {"method": "eagle3", "num_speculative_tokens": 3}


def test_a_replica_has_the_gpus_of_all_its_ranks():
    assert Pool(tensor_parallel_size=4, pipeline_parallel_size=2, data_parallel_size=3).num_gpus_per_replica == 24


def test_every_field_of_a_pool_reaches_its_profile():
    pool = Pool.from_dict(
        {
            "attn_implementation": "eager",
            "kv_cache_layout": "contiguous",
            "enable_prefix_caching": False,
            "max_model_len": 4096,
            "max_num_seqs": 32,
            "max_num_batched_tokens": 4096,
            "kv_cache_dtype": "fp8",
            "speculative_config": SPECULATION,
        }
    )
    profile = compile_pool(pool, "llama-3.1-8b", "h100-sxm-80gb")
    assert (profile.attn_implementation, profile.kv_cache_layout, profile.block_size) == ("eager", "contiguous", 4096)
    assert (profile.kv_cache_dtype, profile.speculation.num_speculative_tokens, profile.max_num_seqs) == ("fp8", 3, 32)
    spread = Pool(tensor_parallel_size=4, data_parallel_size=2, enable_expert_parallel=True, weights="fp8")
    profile = compile_pool(spread, "mixtral-8x7b", "h100-sxm-80gb")
    assert (profile.num_gpus, profile.expert_parallel_size, profile.data_parallel_size) == (8, 8, 2)
    staged = compile_pool(Pool(pipeline_parallel_size=2), "llama-3.1-8b", "h100-sxm-80gb")
    assert (staged.pipeline_parallel_size, staged.num_gpus) == (2, 2)
    uncached = Pool(
        use_cache=False, enable_prefix_caching=False, enable_chunked_prefill=False, max_num_batched_tokens=8192
    )
    assert not compile_pool(uncached, "llama-3.1-8b", "h100-sxm-80gb").use_cache


def test_a_plain_pool_is_the_plain_profile():
    pooled = compile_pool(Pool(), "llama-3.1-8b", "h100-sxm-80gb")
    plain = compile("llama-3.1-8b", "h100-sxm-80gb")
    assert {row.name: row.value for row in pooled.card} == {row.name: row.value for row in plain.card}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"kv_cache_layout": "contiguous"},
            ["max_model_len: missing", "enable_prefix_caching: must be false where kv"],
        ),
        ({"use_cache": False}, ["enable_prefix_caching: must be false", "enable_chunked_prefill: must be false"]),
        (
            {
                "use_cache": False,
                "enable_prefix_caching": False,
                "enable_chunked_prefill": False,
                "speculative_config": SPECULATION,
            },
            ["speculative_config: needs use_cache: true"],
        ),
        ({"attn_implementation": "flash"}, ["attn_implementation", "eager, flash_attention"]),
        (
            {"speculative_config": {"method": "medusa", "num_speculative_tokens": 3}},
            ["draft_model, eagle, eagle3, mtp, ngram"],
        ),
        ({"speculative_config": {"method": "eagle"}}, ["num_speculative_tokens"]),
        ({"speculative_config": {**SPECULATION, "num_speculative_tokens": 33}}, ["num_speculative_tokens", "32"]),
        (
            {"speculative_config": {**SPECULATION, "model": "llama-3.1-8b"}},
            ["one layer of the target model; remove it"],
        ),
        ({"speculative_config": {**SPECULATION, "method": "draft_model"}}, ["needs a model that drafts"]),
        ({"speculative_config": {**SPECULATION, "accept_frac": [1.2]}}, ["accept_frac.0"]),
        (
            {"speculative_config": {**SPECULATION, "accept_frac": [0.7], "acceptance": "eagle3-gsm8k"}},
            ["give one of the two"],
        ),
    ],
)
def test_what_does_not_go_together_is_said(fields, said):
    with pytest.raises(SpecError) as caught:
        Pool.from_dict(fields)
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{method: draft_model, num_speculative_tokens: 3, model: llama-3.1-7b}", "no entry llama-3.1-7b in models"),
        ("{method: eagle, num_speculative_tokens: 3, acceptance: eagle-sharegp}", "Did you mean eagle-sharegpt"),
        ("{method: eagle, num_speculative_tokens: 3, acceptance: ngram-cnn}", "is of method ngram"),
    ],
)
def test_a_scenario_says_which_speculation_leads_nowhere(config, said):
    pool = next(iter(catalog.load("quickstart").fleet.pools))
    with pytest.raises(SpecError) as caught:
        catalog.load("quickstart", set=[f"fleet.pools.{pool}.speculative_config={config}"])
    assert said in str(caught.value)
    assert f"fleet.pools.{pool}.speculative_config" in str(caught.value)


def test_acceptance_tables_say_every_mistake():
    with pytest.raises(SpecError) as caught:
        read_acceptance("a: {method: eagle, position_frac: [1.5], source: x}\nb: {method: bee, position_frac: []}")
    assert {problem.path for problem in caught.value.problems} == {
        "a.position_frac.0",
        "a.position_frac",
        "b.method",
        "b.position_frac",
        "b.source",
    }
    with pytest.raises(SpecError, match="expected named acceptance tables"):
        read_acceptance("[1]")
