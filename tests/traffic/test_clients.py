"""Programs: volumes tied to the chat's, skewed over clients, with a bucket each."""

import numpy as np
import pytest

from sim.traffic import build
from sim.traffic.arrivals import FIRST_PROGRAM
from sim.traffic.clients import burstiness_levels, client_shares

API = {"workload": "api-service", "tier": "api", "tokens_per_chat_token": 0.5, "num_clients": 200}
AGENTS = {"workload": "coding-agent", "tier": "plus", "tokens_per_chat_token": 0.25, "num_clients": 50}
TRAFFIC = {"kind": "population", "monthly_users": 20_000, "api": API, "agents": AGENTS}


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def test_volumes_are_tied_to_the_tokens_of_the_chat(scenario):
    said = build(scenario(traffic=TRAFFIC)).describe()
    tokens = {name: entry["prompt_tokens"] + entry["output_tokens"] for name, entry in said["by_class"].items()}
    chat = sum(tokens[tier] for tier in ("free", "plus", "pro"))
    assert tokens["api/api"] == pytest.approx(0.5 * chat)
    assert tokens["plus/agents"] == pytest.approx(0.25 * chat)
    assert said["requests"] == pytest.approx(sum(entry["requests"] for entry in said["by_class"].values()))
    assert sum(said["tier_share"].values()) == pytest.approx(1)
    assert set(said["inputs"]) == {"population", "api", "agents"}


def test_generated_programs_agree_with_their_description(scenario, expand, within):
    chosen = scenario(traffic=TRAFFIC)
    source = build(chosen)
    said, found = source.describe(), arrivals(source)
    for class_id, name in ((3, "api/api"), (4, "plus/agents")):
        traffic_class, expected = source.classes[class_id], said["by_class"][name]
        assert (traffic_class.name, traffic_class.is_program) == (name, True)
        mine = found[found["class_id"] == class_id]
        turns = expand(mine, traffic_class, chosen.seed)
        today = (turns.t_s >= 0) & (turns.t_s < 86400)
        # The shares of the clients are drawn, then scaled: each client's own volume is known, so its error is too.
        inputs = said["inputs"][name.split("/")[1]]
        client = mine["user"][turns.row] % FIRST_PROGRAM
        first = FIRST_PROGRAM * (1 + (name != "api/api"))
        share = client_shares(chosen.seed, first, inputs["num_clients"], 2.0)
        for column in ("requests", "prompt_tokens", "output_tokens"):
            values = np.ones(len(client)) if column == "requests" else getattr(turns, column)
            sums = np.bincount(client[today], values[today], minlength=len(share))
            within(sums - share * expected[column], 0.0, f"{name}: {column}")
        for hour in range(24):
            inside = turns.t_s // 3600 == hour
            counts = np.bincount(client[inside], minlength=len(share))
            due = share * expected["requests"] * (said["by_class"][name]["requests"] > 0) / 24
            curve = next(s for s in source.sources if s.classes[0].name == name).describe()["hourly_curve"]
            within(counts - due * curve[hour], 0.0, f"{name}: hour {hour}")


def test_programs_leave_people_alone(scenario):
    alone = arrivals(build(scenario(traffic={"kind": "population", "monthly_users": 20_000})))
    beside = arrivals(build(scenario(traffic=TRAFFIC)))
    assert np.array_equal(alone, beside[beside["user"] < FIRST_PROGRAM])


def test_agents_are_the_same_with_or_without_an_api(scenario):
    both = arrivals(build(scenario(traffic=TRAFFIC)))
    agents = arrivals(build(scenario(traffic={**TRAFFIC, "api": None})))
    agents = agents[agents["user"] >= 2 * FIRST_PROGRAM]
    both = both[both["user"] >= 2 * FIRST_PROGRAM]
    names = [name for name in both.dtype.names if name not in ("class_id", "bucket")]
    assert len(agents) > 100
    assert np.array_equal(agents[names], both[names])


def test_buckets_are_numbered_tier_by_tier_then_client_by_client(scenario):
    source = build(scenario(traffic=TRAFFIC))
    # plus (people), then 200 clients of the API's tier, then 50 agents' clients in the tier plus.
    assert source.buckets["rate_per_s"].tolist() == [10.0] + 200 * [1.0] + 50 * [10.0]
    found = arrivals(source)
    api, agents = found[found["class_id"] == 3], found[found["class_id"] == 4]
    assert np.array_equal(api["bucket"], 1 + api["user"] - FIRST_PROGRAM)
    assert np.array_equal(agents["bucket"], 201 + agents["user"] - 2 * FIRST_PROGRAM)
    assert set(found["bucket"][found["class_id"] == 1]) == {0}
    assert set(found["bucket"][found["class_id"] == 0]) == {-1}


def test_shares_are_lognormal_and_sum_to_one():
    shares = client_shares(1, FIRST_PROGRAM, 20_000, 2.0)
    assert shares.sum() == pytest.approx(1)
    # The standard error of a normal's standard deviation is sigma / sqrt(2 n).
    assert abs(np.log(shares).std() - 2.0) < 4 * 2.0 / np.sqrt(2 * 20_000)
    assert np.allclose(client_shares(1, FIRST_PROGRAM, 7, 0.0), 1 / 7)


def test_burstiness_has_the_wanted_median_and_p90():
    cv = burstiness_levels(1.5, 6.0)
    # Of 25 equally likely levels the 13th stands for 48 to 52 %, the 23rd for 88 to 92 %.
    assert len(cv) == 25
    assert cv[12] == pytest.approx(1.5)
    assert cv[22] == pytest.approx(6.0)


def test_no_tokens_no_programs(scenario):
    source = build(scenario(traffic={**TRAFFIC, "api": {**API, "tokens_per_chat_token": 0}, "agents": None}))
    assert [traffic_class.name for traffic_class in source.classes] == ["free", "plus", "pro"]


def test_the_wanted_share_of_clients_is_weibull(scenario, within):
    def clients(**changes):
        return build(scenario(traffic={**TRAFFIC, "agents": None, "api": API | changes})).sources[1]

    assert not clients().renewals().weibull.any()
    source = clients(weibull_frac=0.3, num_clients=4000)
    within(source.renewals().weibull, 0.3 * 4000)
    assert source.describe()["inputs"]["api"]["weibull_frac"] == 0.3
    # Who is Weibull has nothing to do with who is large or bursty.
    weibull = source.renewals().weibull
    for values in (np.log(source.shares), source.renewals().level):
        gap = values[weibull].mean() - values[~weibull].mean()
        assert abs(gap) < 4 * values.std() * np.sqrt(1 / weibull.sum() + 1 / (~weibull).sum())
    some, none = (arrivals(clients(weibull_frac=frac)) for frac in (0.3, 0.0))
    gamma_clients = np.flatnonzero(~clients(weibull_frac=0.3).renewals().weibull) + FIRST_PROGRAM
    names = [name for name in some.dtype.names if name != "bucket"]
    a, b = (rows[np.isin(rows["user"], gamma_clients)][names] for rows in (some, none))
    assert np.array_equal(a, b)
