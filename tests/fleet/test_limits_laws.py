"""Limits of use against their bounds: what token buckets let in, what they refuse, and what they remember of users."""

import math

import numpy as np
import pytest
from queues import ROOMY, play_world, poisson, standard_error
from small import constant, kind, pool, world

from sim import theory
from sim.metrics.records import COMPLETED, FELL_BACK, RATE_LIMITED
from sim.plane import building_gateways
from sim.plane.owner import Plane
from sim.plane.promises import Bucket, Promise, UserLimit
from sim.plane.world import Visit
from sim.traffic.arrivals import ARRIVAL, Chunk

NUM = 300_000
ROUNDING = 1e-6  # of levels after a million sums, in requests or tokens


def limited(bucket=None, *, user_limit=None, output=1, most=1 << 30, expected=1, **told):
    """A replica with room for all, whose steps take a millisecond, and one class that is limited."""
    settings = {"max_num_seqs": 512, "max_num_batched_tokens": 1 << 14} | ROOMY
    plain = kind(output_tokens=constant(output), max_output_tokens=most)
    promises = {"tier": Promise(user_limit=user_limit)}
    told = {"expected_output_tokens": ((expected,),), "promises": promises, "has_extras": True} | told
    return world(pool(1e-3, **settings), [plain], buckets=() if bucket is None else (bucket,), **told)


def most_in_any_time(t_s, cost, rate_per_s):
    """The most that a stream of costs exceeds a rate by, over all intervals from just before one to another."""
    after = np.cumsum(cost) - rate_per_s * t_s
    before = after - cost
    return (after - np.minimum.accumulate(before)).max()


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize(("load", "capacity"), [(0.5, 1), (1.5, 1), (0.9, 4), (1.2, 10)])
def test_a_bucket_refuses_what_a_queue_of_its_size_would_lose(load, capacity):
    t_s = poisson(np.random.default_rng(capacity), 10.0 * load, NUM)
    kept = play_world(limited(Bucket(10.0, float(capacity))), t_s, np.ones(NUM), bucket=0)
    refused = (kept["ending"] == RATE_LIMITED).astype(float)
    assert abs(refused.mean() - theory.md1k_loss_frac(load, capacity)) < 4 * standard_error(refused)
    let_in = kept[kept["ending"] == COMPLETED]["arrived_s"]
    most = most_in_any_time(let_in, np.ones(len(let_in)), 10.0)
    assert capacity - 1 < most <= capacity + ROUNDING


def test_a_flood_gets_the_capacity_and_then_the_rate():
    t_s = np.arange(NUM) / 1000.0  # 300 s
    kept = play_world(limited(Bucket(7.5, 20.0)), t_s, np.ones(NUM), bucket=0)
    assert (kept["ending"] == COMPLETED).sum() == math.floor(20 + 7.5 * t_s[-1])


# ------------------------------------------------------------------ tokens


def test_input_tokens_keep_their_bound_whatever_the_lengths():
    rng = np.random.default_rng(1)
    t_s, prompts = poisson(rng, 20.0, NUM), rng.geometric(1 / 50, NUM)
    bucket = Bucket(math.inf, math.inf, input_per_s=600.0, input_capacity=1_000.0)
    kept = play_world(limited(bucket), t_s, np.ones(NUM), bucket=0, prompt_tokens=prompts)
    paid = kept[kept["ending"] == COMPLETED]
    most = most_in_any_time(paid["arrived_s"], paid["prompt_tokens"], 600.0)
    assert 1_000.0 - prompts.max() < most <= 1_000.0 + ROUNDING
    assert paid["prompt_tokens"].sum() / t_s[-1] == pytest.approx(600.0, rel=0.01)  # 1,000 a second were asked


def test_a_prompt_longer_than_the_bucket_is_never_let_in():
    bucket = Bucket(math.inf, math.inf, input_per_s=100.0, input_capacity=100.0)
    kept = play_world(limited(bucket), np.arange(10.0), np.ones(10), bucket=0, prompt_tokens=[100, 101] * 5)
    assert kept["ending"].tolist() == [COMPLETED, RATE_LIMITED] * 5


@pytest.mark.parametrize(("charges", "expected"), [("max_output_tokens", 1), ("expected", 40), ("expected", 5)])
def test_output_tokens_are_corrected_so_that_the_rate_is_of_what_was_emitted(charges, expected):
    # Answers have 40 tokens on average, and at most 200; 2,000 a second are asked, 400 allowed.
    rng, num = np.random.default_rng(2), 100_000
    t_s, answers = poisson(rng, 50.0, num), np.minimum(rng.geometric(1 / 40, num), 200)
    bucket = Bucket(math.inf, math.inf, output_per_s=400.0, output_capacity=1_000.0, charges=charges)
    kept = play_world(limited(bucket, most=200, expected=expected), t_s, answers, bucket=0)
    paid = kept[kept["ending"] == COMPLETED]
    assert paid["output_tokens"].sum() / t_s[-1] == pytest.approx(400.0, rel=0.01)
    # Charges when they are let in, corrections when they end: the ledger keeps the bound of the bucket.
    charge = 200 if charges == "max_output_tokens" else expected
    entry_s = np.concatenate([paid["arrived_s"], paid["end_s"]])
    cost = np.concatenate([np.full(len(paid), charge), paid["output_tokens"] - charge])
    order = np.argsort(entry_s, kind="stable")
    most = most_in_any_time(entry_s[order], cost[order], 400.0)
    debt = max(0, 200 - charge) * 20 * (charges == "expected")  # those inside, a second or less, may owe it
    assert most <= 1_000.0 + debt + ROUNDING


def test_answers_are_cut_at_the_longest():
    kept = play_world(limited(most=30), np.arange(100.0), np.arange(1, 101))
    assert kept["output_tokens"].tolist() == np.minimum(np.arange(1, 101), 30).tolist()


# ------------------------------------------------------------------ users


def by_user(played, rows):
    """Records of requests (time, user), in order of serial, and the plane."""
    plane = Plane(played)
    arrivals = np.zeros(len(rows), ARRIVAL)
    arrivals["t_s"], arrivals["user"] = rows["t_s"], rows["user"]
    arrivals["num_turns"] = arrivals["user_tokens"] = arrivals["output_tokens"] = 1
    arrivals["conversation"], arrivals["bucket"] = np.arange(len(rows)), -1
    found = []

    def chunks():
        for n in range(0, len(arrivals), 1 << 14):
            yield Chunk(arrivals[n : n + (1 << 14)])

    from sim.fleet.clocks import CompiledClock

    clock = CompiledClock(plane, chunks(), found.append)
    clock.run(math.inf)
    assert clock.finished
    records = np.concatenate(found)
    return records[np.argsort(records["serial"])], plane


def users(rng, num, num_users, rate_per_s):
    rows = np.zeros(num, [("t_s", "f8"), ("user", "i8")])
    rows["t_s"], rows["user"] = poisson(rng, rate_per_s, num), rng.integers(0, num_users, num)
    return rows


def test_a_window_counts_from_its_first_message_and_then_a_smaller_model_answers():
    rows = users(np.random.default_rng(3), 50_000, 500, 10.0)
    limit = UserLimit(messages=3, window_s=100.0, fall_back="small")
    settings = {"max_num_seqs": 512, "max_num_batched_tokens": 1 << 14} | ROOMY
    pools = [pool(1e-3, name=name, **settings) for name in ("large", "little")]
    paths = {"main": (Visit(0),), "small": (Visit(1),)}
    played = world(pools, paths=paths, promises={"tier": Promise(user_limit=limit)}, has_extras=True)
    kept, _ = by_user(played, rows)
    assert (kept["ending"] == COMPLETED).all()
    assert np.array_equal(kept["pool"] == 1, kept["flags"] & FELL_BACK > 0)
    for user in range(500):
        mine = kept[kept["user"] == user]
        began_s, count, expected = -math.inf, 0, []
        for t_s in mine["arrived_s"]:
            if t_s >= began_s + 100.0:
                began_s, count = t_s, 0
            expected.append(int(count >= 3))
            count += 1
        assert mine["pool"].tolist() == expected


def test_users_have_buckets_of_their_own():
    rows = users(np.random.default_rng(4), 100_000, 50, 100.0)  # two a second each, of which one is let in
    kept, _ = by_user(limited(user_limit=UserLimit(Bucket(1.0, 5.0))), rows)
    for user in range(50):
        let_in = kept[(kept["user"] == user) & (kept["ending"] == COMPLETED)]["arrived_s"]
        assert 4 < most_in_any_time(let_in, np.ones(len(let_in)), 1.0) <= 5 + ROUNDING
        assert len(let_in) == pytest.approx(rows["t_s"][-1], rel=0.03)


def test_only_those_who_asked_lately_are_remembered(monkeypatch):
    # 200,000 users, 100 requests a second, a window of 10 s: some thousand are in one at any time.
    rows = users(np.random.default_rng(5), 400_000, 200_000, 100.0)
    limit = UserLimit(Bucket(0.5, 2.0), messages=2, window_s=10.0)
    kept, plane = by_user(limited(user_limit=limit), rows)
    assert len(plane["meters"]) <= 8 * building_gateways.FIRST_METERS
    assert RATE_LIMITED in kept["ending"]
    monkeypatch.setattr(building_gateways, "FIRST_METERS", 1 << 20)
    other, roomy = by_user(limited(user_limit=limit), rows)
    assert len(roomy["meters"]) == 1 << 20
    assert kept.tobytes() == other.tobytes()
