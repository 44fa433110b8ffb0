"""What the prefix cache, and routers that know of it, are worth to the chat of meridian-1: docs/validation.md."""

import pytest

import sim

TENTH = {
    "traffic.monthly_users": 1_000_000, "traffic.api.num_clients": 100, "horizon": "6 h",
    "fleet.pools.main.replicas": 16, "fleet.pools.api.replicas": 32, "fleet.pools.api.max_replicas": 32,
    "fleet.pools.guard.replicas": 1, "fleet.pools.api-guard.replicas": 2,
}  # fmt: skip


def free_tier(*override, **changes):
    return sim.run(sim.load("meridian-1", override=[*override, "plain"], set=changes)).result["sim"]["by_tier"]["free"]


@pytest.mark.slow
def test_the_cache_shortens_the_wait_and_every_step():
    with_cache, without = free_tier("small"), free_tier("small", "no-prefix-cache")
    assert without["prefix_cache_hit_frac"] == 0
    # Chat services: 0.29 to 0.60 of the prompt tokens; DeepSeek's 0.563.
    assert 0.29 < with_cache["prefix_cache_hit_frac"] < 0.65
    assert with_cache["median_ttft_ms"] < 0.5 * without["median_ttft_ms"]
    assert with_cache["mean_tpot_ms"] < without["mean_tpot_ms"]
    assert with_cache["slo_attainment_frac"] > without["slo_attainment_frac"]


@pytest.mark.slow
def test_a_conversation_that_stays_finds_its_history():
    moves = free_tier(**TENTH, **{"fleet.router": "power_of_two"})
    stays = free_tier(**TENTH, **{"fleet.router": "session_affinity"})
    assert stays["num_requests"] == pytest.approx(moves["num_requests"], rel=1e-3)
    assert stays["prefix_cache_hit_frac"] > moves["prefix_cache_hit_frac"] + 0.1
    assert stays["median_ttft_ms"] < 0.7 * moves["median_ttft_ms"]
