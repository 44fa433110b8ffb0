"""Failures make traffic: an outage, its retries and who leaves, against closed forms written down first.

Senders who try again with probability p after each failure, at most m times, make 1 + p + ... + p^m attempts a message
while nothing answers. All comparisons are within four standard errors.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from drive import identical, run_plane
from recorder import Recorder
from small import constant, kind, pool, rows, world
from worlds import Scene

import sim
from sim.metrics.records import ABANDONED, COMPLETED, FAILED, RATE_LIMITED, SHED
from sim.plane.world import Bucket
from sim.spec import Distribution, Scenario
from sim.traffic.arrivals import Reaction
from sim.traffic.lengths import quantile_table

RATE_PER_S = 20.0
OUTAGE_S = (300.0, 900.0)
END_S = 1_400.0
MEAN_BACKOFF_S = 20.0
SIGMAS = 4.0


def reaction(retry_frac, max_retries, backoff_s, **settings):
    """Senders who try again after any failure that may mend."""
    defaults = {"backoff_factor": 1.0, "max_backoff_s": math.inf, "leave_frac": 0.0, "slow_s": math.inf}
    defaults |= {"slow_leave_frac": 0.0, "retried": (RATE_LIMITED, SHED, ABANDONED, FAILED)}
    return Reaction(retry_frac=retry_frac, max_retries=max_retries, backoff_s=backoff_s, **(defaults | settings))


def exponential(mean_s):
    """The quantile table of exponential times."""
    return quantile_table(Distribution(distribution_type="exponential", mean=mean_s))


def poisson_rows(rate_per_s=RATE_PER_S, end_s=END_S, num_turns=1, bucket=-1):
    """Arrivals of users who ask once or several times."""
    num = np.random.default_rng(7).poisson(rate_per_s * end_s)
    times_s = np.sort(np.random.default_rng(8).uniform(0.0, end_s, num))
    return rows(*((t_s, 10, 1, 0, num_turns, bucket) for t_s in times_s))


def play(senders, arrivals, commands=(), buckets=(), **settings):
    """Records of a fleet that answers whatever comes in some hundredths of a second, in order of serial."""
    ample = pool(0.01, max_num_seqs=512, max_num_batched_tokens=8192, num_gpu_blocks=1 << 16)
    scene = Scene(world(ample, [kind(reaction=senders, **settings)], buckets=buckets), arrivals, commands=commands)
    found = run_plane(scene, chunk=4096, requests=1 << 12)
    return np.sort(found.records, order="serial")


def play_outage(senders, **settings):
    """No replica is there from the one time to the other."""
    down_s, up_s = OUTAGE_S
    return play(senders, poisson_rows(**settings), ((down_s, "drain", 0, 1), (up_s, "add", 0, 1)))


def near(found, expected, stderr):
    """Within four standard errors."""
    return abs(found - expected) <= SIGMAS * stderr


@pytest.mark.parametrize(("retry_frac", "max_retries"), [(1.0, 2), (0.6, 3), (0.3, 1), (0.9, 8), (0.5, 0)])
def test_attempts_of_a_message_in_an_outage_are_a_geometric_sum(retry_frac, max_retries):
    found = play_outage(reaction(retry_frac, max_retries, constant(2.0)))
    longest_s = 2.0 * max_retries
    first = found[found["attempt"] == 0]
    asked = (first["arrived_s"] >= OUTAGE_S[0]) & (first["arrived_s"] < OUTAGE_S[1] - longest_s)
    last = dict(zip(found["user"], found["attempt"], strict=True))  # of each user; later serials win
    attempts = 1 + np.array([last[user] for user in first["user"][asked]])
    more_than = [retry_frac**k for k in range(max_retries + 1)]  # P(attempts > k)
    mean = sum(more_than)
    variance = sum((2 * k + 1) * chance for k, chance in enumerate(more_than)) - mean**2
    assert len(attempts) > 10_000
    assert near(attempts.mean(), mean, math.sqrt(variance / len(attempts)))
    for k, chance in enumerate(more_than):
        assert near(np.mean(attempts > k), chance, math.sqrt(chance * (1 - chance) / len(attempts)))


@pytest.mark.parametrize(("retry_frac", "max_retries"), [(0.8, 3), (1.0, 2), (0.6, 0)])
def test_after_an_outage_the_surge_decays_as_the_back_off_does(retry_frac, max_retries):
    # Back-off is exponential with mean b. In a long outage retries come at r = rate (p + ... + p^m), and r b of them
    # are due when it ends; each then comes after a time that is exponential again. Users are independent: Poisson.
    found = play_outage(reaction(retry_frac, max_retries, exponential(MEAN_BACKOFF_S)))
    is_retry, since_s = found["attempt"] > 0, found["arrived_s"] - OUTAGE_S[1]
    due = RATE_PER_S * sum(retry_frac**k for k in range(1, max_retries + 1)) * MEAN_BACKOFF_S
    for begin, end in ((0, 1), (1, 2), (2, 3), (3, math.inf)):
        expected = due * (math.exp(-begin) - math.exp(-end))
        mine = is_retry & (since_s >= begin * MEAN_BACKOFF_S) & (since_s < end * MEAN_BACKOFF_S)
        assert near(mine.sum(), expected, math.sqrt(expected))
    up = since_s >= 0.0
    assert (found["ending"][up] == COMPLETED).all()
    first = RATE_PER_S * MEAN_BACKOFF_S  # messages that come in the first b after it, as at any other time
    assert near((up & ~is_retry & (since_s < MEAN_BACKOFF_S)).sum(), first, math.sqrt(first))


def test_without_retries_there_is_no_surge_and_every_message_of_the_outage_is_lost():
    found = play_outage(None)
    out = (found["arrived_s"] >= OUTAGE_S[0]) & (found["arrived_s"] < OUTAGE_S[1])
    assert not found["attempt"].any()
    assert np.array_equal(found["ending"] == SHED, out)
    before = found["arrived_s"] < OUTAGE_S[0]
    after = found["arrived_s"] >= OUTAGE_S[1]
    rates = [before.sum() / OUTAGE_S[0], after.sum() / (END_S - OUTAGE_S[1])]
    for rate, time_s in zip(rates, (OUTAGE_S[0], END_S - OUTAGE_S[1]), strict=True):
        assert near(rate, RATE_PER_S, math.sqrt(RATE_PER_S / time_s))


@pytest.mark.parametrize("leave_frac", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("why", ["failure", "slow answer"])
def test_follow_up_messages_thin_out_as_people_leave(leave_frac, why):
    # Each of five turns fails (or is slow); the next is sent by the share 1 - leave_frac of those who sent this one.
    if why == "failure":
        senders, commands = reaction(0.5, 1, constant(1.0), leave_frac=leave_frac), ((0.0, "drain", 0, 1),)
    else:
        senders, commands = reaction(0.5, 1, constant(1.0), slow_s=0.005, slow_leave_frac=leave_frac), ()
    found = play(senders, poisson_rows(10.0, 400.0, num_turns=5), commands)
    first = found[found["attempt"] == 0]
    sent = np.bincount(first["turn"], minlength=5)
    assert len(sent) == 5
    for before, after in pairwise(sent):
        assert near(after, before * (1 - leave_frac), math.sqrt(before * leave_frac * (1 - leave_frac)))
    assert found["left"].sum() == sent[0] - sent[4]  # nobody else stops


def test_a_token_bucket_lets_no_more_through_however_often_they_ask():
    bucket, time_s = Bucket(1.0, 20.0), 500.0
    arrivals = poisson_rows(5.0, time_s, bucket=0)
    admitted = {}
    for retry_frac in (0.0, 1.0):
        found = play(reaction(retry_frac, 5, exponential(5.0)), arrivals, buckets=(bucket,))
        admitted[retry_frac] = (found["ending"] == COMPLETED).sum()
        assert admitted[retry_frac] <= bucket.capacity + bucket.rate_per_s * found["arrived_s"].max()
        assert (found["ending"] == RATE_LIMITED).sum() == len(found) - admitted[retry_frac]
    assert admitted[0.0] > 0.95 * (bucket.capacity + bucket.rate_per_s * time_s)  # the bucket was short all the time
    assert (found["attempt"] > 0).sum() > 2 * len(arrivals)


def test_both_clocks_play_the_storm_alike():
    senders = reaction(0.8, 3, exponential(2.0), leave_frac=0.3, slow_s=0.015, slow_leave_frac=0.2)
    scene = Scene(
        world(pool(0.01), [kind(reaction=senders, gap_s=exponential(3.0), keep_history=True)]),
        poisson_rows(10.0, 60.0, num_turns=4),
        commands=((20.0, "drain", 0, 1), (40.0, "add", 0, 1)),
    )
    found = run_plane(scene, chunk=4096)
    assert np.bincount(found.records["attempt"]).min() > 10
    assert found.records["left"].sum() > 10
    for other in ({"clock": "simpy"}, {"leap": False}):
        assert identical(found, run_plane(scene, chunk=4096, **other))


# ------------------------------------------------------------------ a scenario

LIMITED = {
    "name": "limited",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "5 min",
    "traffic": {
        "kind": "open_loop",
        "rate_per_s": 10,
        "tier": "api",
        "input_sequence_length": {"distribution_type": "lognormal", "mean": 500, "standard_deviation": 500},
        "output_sequence_length": {"distribution_type": "lognormal", "mean": 100, "standard_deviation": 100},
    },
    "tiers": {"api": {"reaction": {}, "rate_limit": {"requests_per_minute": 400, "burst": 20}}},
    "fleet": {"pools": {"main": {"replicas": 1}}},
}


@pytest.fixture(scope="module")
def limited():
    """API clients of OpenAI's SDK who ask for half as much again as their limit."""
    return Recorder(Scenario.from_dict(LIMITED))


def test_a_scenario_tells_messages_from_attempts(limited):
    api, found = limited.result["sim"]["by_tier"]["api"], limited.measured
    assert api["num_requests"] == len(found) == api["num_user_messages"] + api["num_retries"]
    assert api["num_retries"] == (found["attempt"] > 0).sum() > 500
    assert api["user_message_success_frac"] == pytest.approx(
        (found["ending"] == COMPLETED).sum() / (found["attempt"] == 0).sum()
    )
    assert api["user_message_success_frac"] > limited.result["completed"] / len(found)


def test_each_retry_follows_a_failure_of_the_same_message_in_the_sdks_time(limited):
    found = limited.records
    retries = found[found["attempt"] > 0]
    before = found[retries["retry_of"]]  # in order of serial, from 0
    for name in ("user", "conversation", "turn", "requested_tokens"):
        assert np.array_equal(retries[name], before[name])
    assert np.array_equal(retries["attempt"], before["attempt"] + 1)
    assert (before["ending"] == RATE_LIMITED).all()
    assert len(np.unique(retries["retry_of"])) == len(retries)
    waited_s = (retries["arrived_s"] - before["end_s"]) / 2.0 ** before["attempt"]
    assert waited_s.min() >= 0.375 - 1e-9
    assert waited_s.max() <= 0.5 + 1e-9
    assert found["attempt"].max() == 2


def test_the_other_clock_and_the_table_of_requests_agree(limited):
    other = Recorder(Scenario.from_dict(LIMITED), "simpy", leap=False)
    assert other.records.tobytes() == limited.records.tobytes()
    assert other.result == limited.result
    table = limited.run.requests
    assert table["weight"].sum() == len(limited.measured)
    assert {"attempt", "retry_of", "left"} <= set(table.columns)


def test_no_reaction_leaves_no_trace():
    plain = sim.run(Scenario.from_dict(LIMITED).replace("tiers.api.reaction", None).replace("horizon", "1 min"))
    api = plain.result["sim"]["by_tier"]["api"]
    assert api["num_retries"] == api["retries_per_user_message"] == api["num_left"] == 0
    assert api["num_user_messages"] == api["num_requests"]
