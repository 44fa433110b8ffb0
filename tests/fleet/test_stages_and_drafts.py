"""Pipeline stages and speculation played: closed loops against the profiles' closed forms and published factors."""

from functools import cache

import pytest

import sim
from sim.cost import compile

LOAD = """
name: load
model: llama-3.1-8b
hardware: h100-sxm-80gb
horizon: 1 h
traffic:
  kind: closed_loop
  concurrency: {users}
  requests_per_user: {requests}
  input_sequence_length: 400
  output_sequence_length: 300
fleet: {{pools: {{main: {{{pool}}}}}}}
"""
MEAN_CONTEXT = 550
EAGLE_3 = "speculative_config: {method: eagle3, num_speculative_tokens: %d}"


@cache
def played(users, requests, pool):
    """The result of so many users who each send so many requests."""
    return sim.run(sim.Scenario.from_yaml(LOAD.format(users=users, requests=requests, pool=pool))).result


def drafts_of(result):
    return result["sim"]["by_pool"]["main"]


@pytest.mark.parametrize(
    ("users", "requests", "k", "published", "source"),
    [
        (1, 10, 5, 2.36, "SGLang documentation, MT-Bench: 158 -> 373 tokens/s"),
        (64, 4, 3, 1.38, "arXiv:2503.01840, SGLang on H100, batch 64"),
    ],
)
def test_speculation_is_worth_what_was_published_within_thirty_percent(users, requests, k, published, source):
    plain, drafted = (played(users, requests, pool) for pool in ("replicas: 1", EAGLE_3 % k))
    assert drafted["output_throughput"] / plain["output_throughput"] == pytest.approx(published, rel=0.30), source


def test_a_run_accepts_what_the_profile_expects():
    pool = drafts_of(played(64, 4, EAGLE_3 % 3))
    scenario = sim.Scenario.from_yaml(LOAD.format(users=1, requests=1, pool=EAGLE_3 % 3))
    config = scenario.pool("main").speculative_config
    expected = compile("llama-3.1-8b", "h100-sxm-80gb", speculative_config=config).speculation.expected_tokens
    # A share of 28,000 steps: four standard errors are 0.03 tokens.
    assert pool["num_drafts"] > 20_000
    assert pool["mean_tokens_per_step"] == pytest.approx(expected, abs=0.03)
    assert pool["draft_tokens"] == pytest.approx(3 * pool["num_drafts"], rel=0.01)


def test_gaps_by_step_and_by_token():
    drafted, plain = played(64, 4, EAGLE_3 % 3), played(64, 4, "replicas: 1")
    per_token = drafted["sim"]["itl_per_token"]["mean_itl_per_token_ms"]
    tokens = drafts_of(drafted)["mean_tokens_per_step"]
    # Steps of the prompts' first tokens are few; an answer's last step gives what is left of it.
    assert drafted["mean_itl_ms"] / per_token == pytest.approx(tokens, rel=0.01)
    assert per_token == pytest.approx(drafted["mean_tpot_ms"], rel=0.02)
    for name in ("mean", "median", "p99"):
        assert plain["sim"]["itl_per_token"][f"{name}_itl_per_token_ms"] == plain[f"{name}_itl_ms"]
    assert drafts_of(plain)["num_drafts"] == 0
    assert drafts_of(plain)["mean_tokens_per_step"] is None


def test_two_stages_decode_at_the_closed_form():
    """64 users in two even batches, as the budget makes them of a burst: max(t, pp s) a token.

    A budget for all 64 prompts puts them into one batch for ever: nothing overlaps, and a token takes a whole step.
    """
    profile, single = (compile("llama-3.1-8b", "h100-sxm-80gb", pipeline_parallel_size=pp) for pp in (2, 1))

    def step_s(times, n):
        return times.step_s(n, n, n * MEAN_CONTEXT, n)

    round_s = max(step_s(profile.step_times, 32), 2 * step_s(profile.stage_times, 32))
    even, burst = (
        played(64, 1, f"pipeline_parallel_size: 2, max_num_batched_tokens: {tokens}") for tokens in (12_800, 25_600)
    )
    assert even["median_tpot_ms"] == pytest.approx(1000 * round_s, rel=0.02)
    assert burst["median_tpot_ms"] == pytest.approx(1000 * step_s(profile.step_times, 64), rel=0.02)
    assert burst["median_tpot_ms"] >= 1000 * step_s(single.step_times, 64)


def test_two_gpus_in_stages_and_in_ranks():
    """At 64 users more than one GPU gives, less than two that share every layer."""
    rates = [
        played(64, 4, pool)["output_throughput"]
        for pool in ("replicas: 1", "pipeline_parallel_size: 2", "tensor_parallel_size: 2")
    ]
    assert rates == sorted(rates)
    assert rates[1] < 2 * rates[0]


def test_a_busy_pipeline_draws_what_its_stages_do():
    """One stage busy for each batch in flight: within 10 % of the table for all stages at work."""
    times = compile("llama-3.1-8b", "h100-sxm-80gb", pipeline_parallel_size=2).stage_times
    pool = drafts_of(played(64, 4, "pipeline_parallel_size: 2"))
    assert pool["busy_frac"] > 0.98
    assert pool["power_mean_w"] == pytest.approx(float(times.power_w[32]), rel=0.10)


@pytest.mark.parametrize("pool", [EAGLE_3 % 3, "pipeline_parallel_size: 2"])
def test_both_clocks_give_the_same_bytes(pool):
    scenario = sim.Scenario.from_yaml(LOAD.format(users=8, requests=2, pool=pool))
    assert sim.run(scenario, clock="simpy").result == sim.run(scenario).result == sim.run(scenario, leap=False).result
