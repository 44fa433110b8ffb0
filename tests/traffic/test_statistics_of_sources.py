"""Generated traffic looked at: its statistics are what its sources say of themselves."""

import numpy as np
import pytest

from sim.traffic import build
from sim.traffic.export import trace_blocks
from sim.traffic.statistics import SourceView, Statistics, TraceView
from sim.traffic.turns import Service
from sim.traffic.unfold import unfold

PEOPLE = {"kind": "population", "monthly_users": 6000}
API = {"workload": "api-service", "tier": "api", "num_clients": 40, "tokens_per_chat_token": 0.5}
SERVICE = Service(1.0, 0.02)
BLOCK = 128


def looked_at(made, max_blocks):
    source = build(made)
    view = SourceView(source, made.seed, BLOCK, max_blocks)
    statistics = Statistics(BLOCK, view.sample_frac)
    for seen in view.seen(unfold(source, made.seed, SERVICE, made.horizon_s)):
        statistics.add(seen)
    return source, statistics.result(made.horizon_s)


def test_totals_are_those_of_the_requests(scenario, within):
    made = scenario(traffic=PEOPLE, run_in="2 h")
    source, found = looked_at(made, 1e5)
    rows = np.concatenate([part.rows for part in unfold(source, made.seed, SERVICE, made.horizon_s)])
    rows = rows[rows["t_s"] >= 0.0]
    assert found["num_requests"] == len(rows)
    assert found["total_prompt_tokens"] == rows["prompt_tokens"].sum()
    assert found["total_output_tokens"] == rows["output_tokens"].sum()
    for code, kind in enumerate(source.classes):
        mine = rows[rows["class_id"] == code]
        told = found["shares"]["tier"][kind.tier]
        assert told["num_requests"] == len(mine)
        assert told["prompt_token_frac"] == pytest.approx(mine["prompt_tokens"].sum() / rows["prompt_tokens"].sum())
    assert found["new_tokens"]["mean_tokens"] == pytest.approx(rows["user_tokens"].mean())
    assert found["sessions"]["mean_turns"] == pytest.approx(rows["num_turns"][rows["turn"] == 0].mean())
    assert found["gap"]["p90_s"] == pytest.approx(np.nanquantile(rows["gap_s"], 0.9))
    # And what the source expects of itself, within four standard errors over people.
    expected = source.describe()
    assert found["span_s"] == made.horizon_s
    within(np.bincount(rows["user"], minlength=PEOPLE["monthly_users"]), expected["requests"])
    within(np.bincount(rows["user"], rows["prompt_tokens"], PEOPLE["monthly_users"]), expected["prompt_tokens"])
    hourly = np.array(found["rates"]["by_name"]["free"])
    assert hourly.max() > 1.5 * hourly.mean()


def test_who_sends_is_told(scenario):
    made = scenario(traffic=PEOPLE | {"api": API}, run_in="0 h")
    source, found = looked_at(made, 1e5)
    assert sum(each["num_requests"] for each in found["shares"]["class"].values()) == found["num_requests"]
    assert set(found["users"]) == {"people", "API clients"}
    clients, people = found["users"]["API clients"], found["users"]["people"]
    assert clients["num_users"] <= 40
    # Expected of the largest client, whose bursts leave much to chance on one day.
    assert clients["top_1_frac"] == pytest.approx(source.describe()["inputs"]["api"]["top_client_share"], abs=0.2)
    daily = source.describe()["inputs"]["population"]["daily_active_users"]
    assert people["num_users"] == pytest.approx(daily, rel=0.1)


def test_a_sample_tells_nearly_the_same_reuse(scenario):
    made = scenario(traffic=PEOPLE, run_in="0 h")
    whole, part = (looked_at(made, limit)[1]["reuse"] for limit in (1e9, 150_000))
    assert whole["sample_frac"] == 1.0
    assert 0.1 < part["sample_frac"] < 0.7
    # Some 2,000 of 5,000 conversations, of very different length: about 1 % is left to chance.
    for one, other in zip(whole["by_ttl"], part["by_ttl"], strict=True):
        assert other["token_frac"] == pytest.approx(one["token_frac"], abs=0.03)
    # Sizes are told for all requests: the curve by size is the same too.
    size = [(row["cache_tokens"], row["token_frac"]) for row in whole["by_cache_size"]]
    for row in part["by_cache_size"]:
        if size[0][0] <= row["cache_tokens"] <= size[-1][0]:
            assert row["token_frac"] == pytest.approx(
                np.interp(row["cache_tokens"], *zip(*size, strict=True)), abs=0.04
            )


def test_as_a_trace_it_tells_the_same(scenario):
    made = scenario(traffic=PEOPLE, run_in="2 h", horizon="12 h")
    source, ours = looked_at(made, 1e9)
    statistics = Statistics(BLOCK)
    requests = unfold(source, made.seed, SERVICE, made.horizon_s)
    for seen in TraceView().seen(trace_blocks(requests, source, made.seed, SERVICE, BLOCK)):
        statistics.add(seen)
    theirs = statistics.result()
    for name in ("num_requests", "total_prompt_tokens", "total_output_tokens", "prompt_tokens", "output_tokens"):
        assert theirs[name] == ours[name], name
    assert theirs["shares"]["tier"] == ours["shares"]["tier"]
    assert theirs["reuse"]["unlimited"] == ours["reuse"]["unlimited"]
    assert theirs["arrivals"]["cv"] == pytest.approx(ours["arrivals"]["cv"])


def test_without_text_no_sessions_are_inferred(scenario):
    made = scenario(traffic=PEOPLE, run_in="0 h", horizon="12 h")
    source = build(made)
    blocks = list(trace_blocks(unfold(source, made.seed, horizon_s=made.horizon_s), source, made.seed, SERVICE, None))
    assert not any(block.hash_ids for block in blocks)
    for block in blocks:
        block.session = None
    statistics = Statistics(BLOCK)
    for seen in TraceView().seen(blocks):
        statistics.add(seen)
    assert statistics.result()["sessions"] is None
