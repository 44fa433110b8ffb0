"""Prefill and decode in pools of their own: transfers from the profiles, sums that hold, interference that is gone."""

import math

import numpy as np
import pytest
from recorder import Recorder

import sim
from sim.errors import SpecError
from sim.fleet.build import build
from sim.metrics.records import COMPLETED
from sim.spec import Scenario


def scenario(*override, **changes):
    """A few minutes of the scenario `disaggregated`, with changes {dotted path: value}, dots as __."""
    changes = {path.replace("__", "."): value for path, value in changes.items()}
    return sim.load("disaggregated", override=list(override), set={"horizon": "3 min", "run_in": "20 s"} | changes)


# ------------------------------------------------------------------ one request


def lone(**transfer):
    """One request at a time: a prompt of 10,000 tokens for Llama-3.1-70B on four H100 each side."""
    return Scenario.from_dict(
        {
            "name": "lone", "model": "llama-3.1-70b", "hardware": "h100-sxm-80gb",
            "traffic": {
                "kind": "closed_loop", "concurrency": 1, "requests_per_user": 3, "reissue_delay_s": 1.0,
                "input_sequence_length": 10_000, "output_sequence_length": 20,
            },
            "fleet": {
                "pools": {name: {"tensor_parallel_size": 4} for name in ("first", "second")},
                "paths": {"default": [{"pool": "first", "kind": "prefill"}, {"pool": "second", "kind": "decode"}]},
                "kv_transfer": transfer,
            },
        }
    )  # fmt: skip


KV_BYTES = 2 * 80 * 8 * 128 * 2
"""Keys and values of a token: 80 layers, 8 heads of 128 values of 2 bytes."""


@pytest.mark.parametrize("mode", ["push", "pull"])
def test_a_prompt_takes_its_bytes_over_the_bandwidth_and_the_latency(mode):
    found = Recorder(lone(mode=mode, bandwidth_gb_per_s=12.5, latency_s=0.004))  # four links: 50 GB/s
    expected_s = 10_000 * KV_BYTES / 50e9 + 0.004
    assert expected_s == pytest.approx(0.069536)
    assert found.records["transfer_s"] == pytest.approx(expected_s, rel=1e-9)
    figures = {name: pool["kv_transfer"] for name, pool in found.result["sim"]["by_pool"].items()}
    link = figures["first" if mode == "push" else "second"]
    assert (link["transferred_tokens"], link["transferred_bytes"]) == (30_000, 30_000 * KV_BYTES)
    assert figures["second"]["num_transfers"] == 3
    assert figures["second"]["mean_transfer_ms"] == pytest.approx(1e3 * expected_s, rel=1 / 128)
    assert figures["first"]["held_block_s"] == pytest.approx(3 * 625 * expected_s)
    assert link["link_busy_frac"] == pytest.approx(3 * (expected_s - 0.004) / found.run.result["duration"], rel=1e-6)


def test_by_default_the_links_are_those_of_the_gpus():
    path = build(lone()).world.paths["default"]
    assert path[1].transfer.bytes_per_s == 4 * 50e9
    assert (path[1].transfer.latency_s, path[1].transfer.push, path[1].transfer.num_layers) == (0.003, False, 0)


def test_layers_are_sent_while_later_ones_compute():
    whole, layers = (Recorder(lone(granularity=how, bandwidth_gb_per_s=1, latency_s=0.0)) for how in ("whole", "layer"))
    total_s = 10_000 * KV_BYTES / 4e9
    chunk_s = whole.built.profiles["first"].step_times.step_s(10_000 - 8192, 0, 0, 1, pairs(8192, 10_000))
    assert whole.records["transfer_s"] == pytest.approx(total_s, rel=1e-9)
    assert layers.records["transfer_s"] == pytest.approx(total_s - chunk_s, rel=1e-9)
    fast = Recorder(lone(granularity="layer", bandwidth_gb_per_s=1000, latency_s=0.0))
    assert fast.records["transfer_s"] == pytest.approx(total_s / 1000 / 80, rel=1e-6)


def pairs(begin, end):
    """Query x context pairs of a chunk."""
    return (end * (end + 1) - begin * (begin + 1)) // 2


@pytest.mark.parametrize("first_token", ["prefill", "decode"])
def test_a_lone_request_takes_the_steps_of_both_profiles(first_token):
    found = Recorder(lone(first_token=first_token, bandwidth_gb_per_s=1e12, latency_s=0.0))
    times, profile = found.built.profiles["first"].step_times, found.built.profiles["second"]
    prefill_s = times.step_s(8192, 0, 0, 0, pairs(0, 8192)) + times.step_s(1808, 0, 0, 1, pairs(8192, 10_000))
    decode_s = [profile.step_times.step_s(1, 1, 10_000 + n, 1) for n in range(20)]
    # The decode pool's first step computes the last token of the prompt where it emits the first of the answer.
    extra_s = decode_s[0] if first_token == "decode" else 0.0
    ttft_s = found.records["first_token_s"] - found.records["arrived_s"]
    assert ttft_s == pytest.approx(prefill_s + extra_s + profile.frontend_s, rel=1e-6)
    answer_s = found.records["end_s"] - found.records["first_token_s"]
    assert answer_s == pytest.approx(sum(decode_s[1:]), rel=1e-6)


# ------------------------------------------------------------------ a load


@pytest.mark.parametrize("override", [(), ("push", "by-layer"), ("first-token-at-prefill",)])
def test_clocks_and_leaping_agree_and_the_parts_add_up(override):
    given = scenario(*override, tiers__default__patience="{distribution_type: exponential, mean: 5 s}")
    runs = [Recorder(given), Recorder(given, "simpy"), Recorder(given, leap=False)]
    for other in runs[1:]:
        assert other.result == runs[0].result
        assert other.records.tobytes() == runs[0].records.tobytes()
        assert other.run.timeline.tobytes() == runs[0].run.timeline.tobytes()
    assert Recorder(given).records.tobytes() == runs[0].records.tobytes()
    tier, cost = runs[0].result["sim"]["by_tier"]["default"], runs[0].result["sim"]["cost"]
    assert tier["num_abandoned"] > 0
    parts = [tier[f"mean_{part}_ms"] for part in ("admission", "queue", "prefill", "transfer")]
    assert sum(parts) == pytest.approx(tier["mean_ttft_ms"])
    assert (parts[-1] > 0) == (override != ("first-token-at-prefill",))
    assert cost["carried_usd"] == pytest.approx(cost["busy_usd"], rel=0.05)  # but for the run-in's work
    assert tier["cost_usd"] == pytest.approx(cost["total_usd"] - cost["not_attributed_usd"])
    pools = runs[0].result["sim"]["by_pool"]
    assert pools["prefill"]["busy_usd"] > 0.0 < pools["decode"]["busy_usd"]


def test_answers_wait_for_no_prompts():
    """Long prompts stand between the tokens of others where one pool does both, and do not where there are two."""
    apart, together = Recorder(scenario()), Recorder(scenario("colocated"))
    times = apart.built.profiles["decode"].step_times
    most = int(apart.run.timeline["running_mean"][apart.run.timeline["pool"] == 1].max()) * 3
    slowest_s = times.step_s(most, most, most * 31_000, most)  # more sequences than ever ran, of the longest context
    assert apart.result["p99.9_itl_ms"] < 1e3 * slowest_s
    assert together.result["p99.9_itl_ms"] > 5 * apart.result["p99.9_itl_ms"]
    assert apart.result["p99_tpot_ms"] < together.result["p99_tpot_ms"]


def test_every_request_ends_and_every_block_comes_back():
    found = Recorder(scenario(fleet__pools__decode__num_gpu_blocks_override=2500, traffic__rate_per_s=8))
    endings = found.records["ending"]
    assert np.count_nonzero(endings == COMPLETED) == len(endings) > 1000  # laws.py checks the blocks
    assert not math.isnan(found.records["transfer_s"].sum())


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fleet.pools.decode.model": "llama-3.1-70b"}, "prefill pool prefill has model llama-3.1-8b, decode pool"),
        ({"fleet.pools.decode.kv_cache_dtype": "fp8"}, "has kv_cache_dtype bf16, decode pool decode has fp8"),
    ],
)
def test_pools_whose_caches_differ_are_refused(changes, message):
    with pytest.raises(SpecError, match=message) as caught:
        build(sim.load("disaggregated", set={"fleet.pools.decode.tensor_parallel_size": 4} | changes))
    assert "fleet.paths.default" in str(caught.value)


def test_pools_may_differ_in_all_else():
    changes = {"fleet.pools.decode.tensor_parallel_size": 2, "fleet.pools.decode.block_size": 32}
    path = build(sim.load("disaggregated", set=changes)).world.paths["default"]
    assert path[1].transfer.bytes_per_s == 50e9  # of the slower end
