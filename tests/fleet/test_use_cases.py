"""Every use case runs through a small fleet, and its conversations cost what the workload says."""

import numpy as np
import pytest
from recorder import Recorder

import sim
from sim import catalog
from sim.metrics.records import COMPLETED
from sim.traffic.classes import workload_tables
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import stretched, table_mean

SYSTEM_PROMPT = 100
TWO_HOURS_S = 7200.0


def small(name):
    """400 people, 8 conversations each on a day; no turn comes after the eighth hour."""
    turns = table_mean(workload_tables(catalog.load_workload(name))["turns"])
    return sim.Scenario.from_dict({
        "name": "use-case",
        "model": "llama-3.1-8b",
        "hardware": "h100-sxm-80gb",
        "horizon": "8 h",
        "drain": True,
        "traffic": {
            "kind": "population",
            "monthly_users": 400,
            "daily_active_frac": 0.9,
            "messages_per_active_user_per_day": 9 * turns,
            "turns_per_conversation": turns,
            "workload": name,
        },
        "tiers": {"people": {"user_frac": 1.0, "system_prompt_tokens": SYSTEM_PROMPT}},
        "fleet": {"pools": {"main": {"replicas": 4}}, "paths": {"default": [{"pool": "main"}]}},
    })  # fmt: skip


@pytest.mark.parametrize("name", catalog.list_entries("workloads"))
def test_conversations_cost_what_the_workload_says(name):
    recorder = Recorder(small(name))
    records, (traffic_class,) = recorder.measured, recorder.built.source.classes
    assert np.all(records["ending"] == COMPLETED)
    _, first, conversation = np.unique(records[["user", "conversation"]], return_index=True, return_inverse=True)
    # Those of the first two hours have six hours to end; the longest, of 40 turns, take two and a half.
    whole = records["arrived_s"][first] < TWO_HOURS_S
    assert whole.sum() > 150
    workload = catalog.load_workload(name)
    assert traffic_class.prefix_tokens == SYSTEM_PROMPT + workload.system_prompt + workload.tools
    turns = workload_tables(workload)["turns"]
    expected = conversation_tokens(traffic_class, stretched(turns, table_mean(turns), whole=True))
    for field, mean in zip(("prompt_tokens", "output_tokens"), expected, strict=True):
        found = np.bincount(conversation, records[field])[whole]
        assert abs(found.mean() - mean) < 4 * found.std() / np.sqrt(len(found)), field
