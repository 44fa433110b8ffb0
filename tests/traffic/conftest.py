"""Scenarios of a few users, and a numpy model of how conversations go on, shared by the tests of traffic."""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from sim.spec import Scenario
from sim.traffic import draws
from sim.traffic.lengths import lookup, tokens

sys.path.insert(0, str(Path(__file__).parent))  # import mode importlib leaves it alone

BASE = {
    "name": "small",
    "model": "any",
    "hardware": "any",
    "horizon": "24 h",
    "run_in": "6 h",
    "traffic": {"kind": "population", "monthly_users": 200_000},
    "tiers": {
        "free": {"user_frac": 0.9, "system_prompt_tokens": 1000},
        "plus": {"user_frac": 0.08, "relative_use": 3, "rate_limit": {"requests_per_minute": 600, "burst": 50}},
        "pro": {"user_frac": 0.02, "relative_use": 8, "max_context_tokens": 8192},
        "api": {"rate_limit": {"requests_per_minute": 60, "burst": 5}},
    },
    "fleet": {"pools": {"main": {"replicas": 1}}, "paths": {"default": [{"pool": "main", "kind": "generate"}]}},
}


@pytest.fixture
def scenario():
    """A function that returns the small scenario with changes {dotted path: value}."""

    def make(**changes):
        data = copy.deepcopy(BASE)
        changes = {path.replace("__", "."): value for path, value in changes.items()}
        if "traffic" in changes:
            data["traffic"] = changes.pop("traffic")
        return Scenario.from_dict(data).replace_all(changes)

    return make


@dataclass
class Turns:
    """All turns of some conversations, one row each, as the plane would issue them if answers took no time."""

    row: np.ndarray
    t_s: np.ndarray
    prompt_tokens: np.ndarray
    user_tokens: np.ndarray
    output_tokens: np.ndarray


@pytest.fixture(scope="session")
def expand():
    """A function that expands rows of one class into their turns."""

    def turns_of(rows, traffic_class, seed):
        user, conversation = rows["user"].astype(np.uint64), rows["conversation"].astype(np.uint64)
        limit = traffic_class.max_context_tokens - traffic_class.prefix_tokens
        at, t_s, history = np.arange(len(rows)), rows["t_s"].copy(), np.zeros(len(rows), dtype=np.int64)
        found = []
        for k in range(int(rows["num_turns"].max(initial=0))):
            on = rows["num_turns"][at] > k
            at, t_s, history = at[on], t_s[on], history[on]

            def variate(stream, at=at, k=k):
                key = draws.key(seed, stream)
                return draws.uniform(draws.bits(key, user[at], conversation[at], np.uint64(k)))

            first = traffic_class.first_user_tokens if k == 0 else None
            new = tokens(traffic_class.user_tokens if first is None else first, variate(draws.USER_TOKENS))
            output = tokens(traffic_class.output_tokens, variate(draws.OUTPUT_TOKENS))
            if k == 0:
                assert np.array_equal(new, rows["user_tokens"])
                assert np.array_equal(output, rows["output_tokens"])
            else:
                t_s = t_s + lookup(traffic_class.gap_s, variate(draws.GAP))
            own = np.maximum(new, np.minimum(history + new, limit - output))
            found.append((at, t_s, traffic_class.prefix_tokens + own, new, output))
            history = own + output if traffic_class.keep_history else history
        return Turns(*(np.concatenate(column) for column in zip(*found, strict=True)))

    return turns_of


@pytest.fixture(scope="session")
def within():
    """A function that asserts that a sum over independent units is as expected, within four standard errors."""

    def check(values, expected, what=""):
        # The units are the people (or clients): what one does on a day is not independent of itself.
        values = np.asarray(values, dtype=float)
        error = np.sqrt(((values - expected / len(values)) ** 2).sum())
        assert abs(values.sum() - expected) < 4 * error, (what, values.sum(), expected, error)

    return check
