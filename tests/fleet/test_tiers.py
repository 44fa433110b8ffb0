"""Tiers of a scenario: limits, windows with a smaller model behind them, and a gateway, from YAML to result."""

import numpy as np
import pytest
from recorder import Recorder

from sim.metrics.records import COMPLETED, FELL_BACK, RATE_LIMITED, SHED, TIMED_OUT
from sim.spec import Scenario

CHAT = [{"pool": "main"}]
TIERS = {
    "name": "tiers",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "10 min",
    "traffic": {
        "kind": "population",
        "monthly_users": 600_000,
        "workload": "interactive-chat",
        "api": {"workload": "api-service", "tier": "api", "num_clients": 5, "tokens_per_chat_token": 0.3},
    },
    "tiers": {
        "free": {
            "user_frac": 0.8,
            "priority": 2,
            "user_limit": {"messages": 1, "window": "5 min", "fall_back": "small"},
            "queue_time_limit": "8 s",
            "path": "chat",
        },
        "pro": {
            "user_frac": 0.2,
            "priority": 1,
            "weight": 4.0,
            "relative_use": 3,
            "reserved_frac": 0.1,
            "path": "chat",
        },
        "api": {
            "max_output_tokens": 200,
            "rate_limit": {
                "requests_per_minute": 600,
                "burst": 100,
                "input_tokens_per_minute": 200_000,
                "output_tokens_per_minute": 3_000,
                "output_tokens_charged": "max_output_tokens",
                "cached_tokens_count": False,
            },
            "path": "chat",
        },
    },
    "fleet": {
        "pools": {
            "main": {"max_num_seqs": 16, "gateway": {"order": "fair", "max_queue": 100}},
            "little": {"max_num_seqs": 64, "gateway": {"order": "fifo"}},
        },
        "paths": {"chat": CHAT, "small": [{"pool": "little"}]},
    },
}


@pytest.fixture(scope="module")
def tiers():
    return Recorder(Scenario.from_dict(TIERS))


def test_every_limit_has_its_ending_and_all_are_counted(tiers):
    found, by_tier = tiers.measured, tiers.result["sim"]["by_tier"]
    for code, name in ((RATE_LIMITED, "rate_limited"), (SHED, "shed"), (TIMED_OUT, "timed_out")):
        assert sum(tier[f"num_{name}"] for tier in by_tier.values()) == (found["ending"] == code).sum() > 0
    assert by_tier["free"]["num_rate_limited"] == 0 < by_tier["api"]["num_rate_limited"]
    assert by_tier["pro"]["num_timed_out"] == 0


def test_who_has_spent_the_window_is_answered_by_the_smaller_model(tiers):
    found = tiers.measured
    done = found[found["ending"] == COMPLETED]
    assert np.array_equal(done["pool"] == 1, done["flags"] & FELL_BACK > 0)
    assert (done["pool"] == 1).sum() > 100


def test_longest_answers_are_those_of_the_tier(tiers):
    classes = [kind["tier"] for kind in tiers.result["sim"]["expected"]["by_class"].values()]
    api = tiers.measured[tiers.measured["class_id"] == classes.index("api")]
    assert api["requested_tokens"].max() == 200
    expected = tiers.result["sim"]["expected"]["by_class"]["api/api"]["mean_output_tokens"]
    assert api["requested_tokens"].mean() == pytest.approx(expected, rel=0.1)


def test_the_gateway_tells_who_waited_and_what_was_done_for_whom(tiers):
    pools = tiers.result["sim"]["by_pool"]
    gate = pools["main"]["gateway"]
    assert gate["max_outstanding"] == 17
    assert sum(lane["work_frac"] for lane in gate["by_tier"].values()) == pytest.approx(1.0)
    found = tiers.measured
    mine = found[(found["gateway_s"] > 0) & (found["flags"] & FELL_BACK == 0)]
    waited_s = sum(lane["num_queued"] * lane["mean_queued_s"] for lane in gate["by_tier"].values())
    assert waited_s == pytest.approx(mine["gateway_s"].sum(), rel=0.05)  # those still inside are not in records yet
    assert pools["main"]["waiting_mean"] > 10


def test_the_other_clock_agrees(tiers):
    other = Recorder(Scenario.from_dict(TIERS), "simpy", leap=False)
    assert other.records.tobytes() == tiers.records.tobytes()
    assert other.result == tiers.result
