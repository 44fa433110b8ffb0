"""A generated day agrees with its description, and populations are nested."""

import tracemalloc

import numpy as np
import pytest

from sim import catalog
from sim.errors import SpecError
from sim.traffic import build, population
from sim.traffic.arrivals import ARRIVAL, MAX_CHUNK_ROWS

USERS = 200_000


def arrivals(source):
    return np.concatenate([chunk.rows for chunk in source.chunks()])


def of_users(users, weights=None):
    return np.bincount(users, weights, minlength=USERS)


def test_a_day_agrees_with_its_description(scenario, expand, within):
    chosen = scenario()
    source = build(chosen)
    said, found = source.describe(), arrivals(source)
    assert said["requests"] == pytest.approx(USERS * 0.25 * 8, rel=1e-12)
    hours = np.zeros((24, USERS))
    for class_id, traffic_class in enumerate(source.classes):
        mine = found[found["class_id"] == class_id]
        turns = expand(mine, traffic_class, chosen.seed)
        today = turns.t_s >= 0
        today &= turns.t_s < 86400
        user = mine["user"][turns.row][today]
        expected = said["by_class"][traffic_class.name]
        within(of_users(user), expected["requests"], f"{traffic_class.name}: requests")
        for column in ("prompt_tokens", "output_tokens"):
            values = getattr(turns, column)[today]
            within(of_users(user, values), expected[column], f"{traffic_class.name}: {column}")
        within(of_users(mine["user"][mine["t_s"] >= 0]), expected["conversations"], "conversations")
        mean = expected["mean_turns"]
        # The turns of one conversation do not depend on its user.
        within(mine["num_turns"] - mean, 0.0, "turns")
        within(turns.user_tokens - expected["mean_user_tokens"], 0.0, "user tokens")
        hours += np.histogram2d(turns.t_s[today] // 3600, user, bins=(24, USERS), range=((0, 24), (0, USERS)))[0]
    for hour in range(24):
        due = said["hourly_curve"][hour] / 24
        within(hours[hour] - due * hours.sum(axis=0), 0.0, f"hour {hour}")
    curve = np.array(catalog.load_curve("azure-conv-2024").hourly)
    assert said["hourly_curve"] == pytest.approx(curve / curve.mean(), rel=1e-9)


def test_tiers_and_active_users_have_their_shares(scenario, within):
    source = build(scenario(run_in=0))
    found = arrivals(source)
    use = {"free": 0.9 * 1, "plus": 0.08 * 3, "pro": 0.02 * 8}
    said = source.describe()
    for class_id, tier in enumerate(use):
        share = use[tier] / sum(use.values())
        assert said["tier_share"][tier] == pytest.approx(share)
        mine = found["class_id"] == class_id
        within(of_users(found["user"][mine]) - share * of_users(found["user"]), 0.0, tier)
    within(of_users(found["user"]) > 0, 0.25 * USERS, "daily active users")
    assert said["inputs"]["population"]["daily_active_users"] == pytest.approx(0.25 * USERS)


def test_rows_are_sorted_in_chunks_of_the_right_form(scenario):
    source = build(scenario())
    last_s = -np.inf
    for chunk, _ in source.chunks():
        assert chunk.dtype == ARRIVAL
        assert 0 < len(chunk) <= MAX_CHUNK_ROWS
        times_s = np.append(last_s, chunk["t_s"])
        assert np.all(np.diff(times_s) >= 0)
        last_s = times_s[-1]
        assert np.all((chunk["t_s"] >= -6 * 3600) & (chunk["t_s"] < 86400))
        assert np.array_equal(np.rint(chunk["t_s"] * 1e9) / 1e9, chunk["t_s"])
        assert np.all(chunk["num_turns"] >= 1)
        assert np.array_equal(chunk["bucket"], np.where(chunk["class_id"] == 1, 0, -1))
    assert source.buckets["rate_per_s"].tolist() == [10.0]
    assert source.buckets["capacity"].tolist() == [50.0]


def keyed(found):
    return found[np.lexsort((found["conversation"], found["user"]))]


def test_more_users_leave_the_others_alone(scenario):
    few = arrivals(build(scenario(traffic__monthly_users=3000)))
    many = arrivals(build(scenario(traffic__monthly_users=10_000)))
    kept = many[many["user"] < 3000]
    assert np.array_equal(few, kept)
    assert len(many) > 2 * len(few)


def test_a_tier_leaves_the_draws_of_others_alone(scenario):
    before = arrivals(build(scenario(traffic__monthly_users=10_000)))
    words = {"tiers__pro__priority": 3, "tiers__pro__system_prompt_tokens": 9, "tiers__pro__patience": 5}
    after = arrivals(build(scenario(traffic__monthly_users=10_000, **words)))
    assert np.array_equal(before, after)
    after = arrivals(build(scenario(traffic__monthly_users=10_000, tiers__pro__relative_use=16)))
    # Others hold a little less of the same total, but conversations held before and after are the same ones.
    a, b = (keyed(found[found["class_id"] != 2]) for found in (before, after))
    names = ["user", "conversation"]
    both = np.intersect1d(a[names], b[names])
    assert len(both) > 0.8 * len(a)
    assert len(a) != len(b)
    assert np.array_equal(a[np.isin(a[names], both)], b[np.isin(b[names], both)])


def test_longer_runs_and_run_ins_only_add(scenario):
    day = arrivals(build(scenario(traffic__monthly_users=3000, run_in=0)))
    longer = arrivals(build(scenario(traffic__monthly_users=3000, run_in=90_000, horizon="50 h")))
    inside = longer[(longer["t_s"] >= 0) & (longer["t_s"] < 86400)]
    assert np.array_equal(day, inside)
    assert longer["t_s"][0] < -86400
    short = arrivals(build(scenario(traffic__monthly_users=3000, run_in=0, horizon="100 min")))
    assert np.array_equal(short, day[day["t_s"] < 6000])


def test_the_same_rows_whatever_the_blocks(scenario, monkeypatch):
    source = build(scenario(traffic__monthly_users=5000))
    expected = arrivals(source)
    assert np.array_equal(expected, arrivals(source))
    monkeypatch.setattr(population, "BLOCK_USERS", 777)
    monkeypatch.setattr(population, "MAX_CHUNK_ROWS", 33)
    chunks = [chunk.rows for chunk in source.chunks()]
    assert max(map(len, chunks)) == 33
    assert np.array_equal(expected, np.concatenate(chunks))


def test_seeds_differ(scenario):
    one, two = (arrivals(build(scenario(traffic__monthly_users=3000, seed=seed))) for seed in (1, 2))
    assert not np.intersect1d(one["t_s"], two["t_s"]).size


def test_memory_is_bounded_by_one_day(scenario):
    def peak_bytes(horizon):
        source = build(scenario(run_in=0, horizon=horizon))
        tracemalloc.start()
        num_rows = sum(len(chunk.rows) for chunk in source.chunks())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak, num_rows

    one_day, num_rows = peak_bytes("1 d")
    three_days, _ = peak_bytes("3 d")
    assert three_days < 1.1 * one_day
    # 16 bytes a conversation, and a few MB for the block of users and the chunk in hand.
    assert one_day < 2 * 16 * num_rows + 20e6


def test_a_population_that_cannot_be_is_refused(scenario):
    with pytest.raises(SpecError, match=r"daily_active_frac: .* got 0\.9"):
        build(scenario(traffic__daily_active_frac=0.9, traffic__messages_per_active_user_per_day=2))
    with pytest.raises(SpecError, match="turns_per_conversation"):
        build(scenario(traffic__messages_per_active_user_per_day=1.0))
    rare = {"tiers__free__user_frac": 0.91999, "tiers__pro__user_frac": 1e-5, "tiers__pro__relative_use": 2000}
    with pytest.raises(SpecError, match="4096 that have numbers"):
        build(scenario(**rare))
