"""A small fleet of people, and what sizes it."""

import pytest

from sim.spec import Scenario

SMALL = {
    "name": "small",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "traffic": {"kind": "population", "monthly_users": 40_000},
    "tiers": {"free": {"user_frac": 0.9, "path": "chat"}, "pro": {"user_frac": 0.1, "path": "fast"}},
    "slo": {"ttft_s": 1.0},
    "fleet": {
        "pools": {
            name: {
                "replicas": 2,
                "max_num_seqs": 2,
                "max_num_batched_tokens": 2048,
                "num_gpu_blocks_override": 4000,
                "max_model_len": 16_384,
            }
            for name in ("main", "quick")
        },
        "paths": {"chat": [{"pool": "main"}], "fast": [{"pool": "quick"}]},
    },
}
HOW = {"scale": 1.0, "peak_factor": 1.5, "target": 0.9}


@pytest.fixture(scope="session")
def small():
    """People in two tiers, each with a pool of its own whose replicas answer two at a time."""
    return Scenario.from_dict(SMALL)


@pytest.fixture(scope="session")
def how():
    """Everybody, at 1.5 times the mean; nine in ten are answered in time."""
    return HOW
