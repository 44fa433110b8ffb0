"""Gateways against the textbooks: one queue before many replicas, priorities, losses, shares, places kept free.

A replica that runs one sequence in steps of one length is a server, so a pool of them behind a gateway is a queue with
as many servers, whatever the router. Services of a geometric number of steps are exponential but for a step; they are
long (hundreds of steps).
"""

import math

import numpy as np
import pytest
from queues import ROOMY, kiefer_wolfowitz, play_world, poisson, standard_error
from small import kind, pool, world

from sim import theory
from sim.metrics.records import COMPLETED, SHED, TIMED_OUT
from sim.plane.promises import Gateway, Promise
from sim.traffic.arrivals import NO_LIMIT

NUM = 600_000
MANY = pytest.param(6_000_000, marks=pytest.mark.slow)
SIZES = pytest.mark.parametrize("num", [NUM, MANY])
STEPS = 300
TOLERANCE = 0.02
MS = 1e-6  # of sums of a million terms up to 1e6 s


def gated(order, tiers, *, num_replicas=1, num_servers=1, places=None, step_s=1 / STEPS, max_queue=NO_LIMIT, **told):
    """A pool of replicas with so many servers each behind a gateway; a class for each tier."""
    settings = {"max_num_seqs": num_servers, "max_num_batched_tokens": num_servers + 64} | ROOMY
    main = pool(
        step_s,
        num_replicas=num_replicas,
        gateway=Gateway(num_servers if places is None else places, order, max_queue),
        **settings,
    )
    classes = [kind(name=name, tier=name, priority=number) for number, name in enumerate(tiers)]
    told = {"router": "power_of_two", "promises": tiers, "has_deadlines": True, "has_extras": True} | told
    return world(main, classes, **told)


def plain(*names):
    return {name: Promise() for name in names}


def agree(values, expected):
    """Whether a mean is what theory says: within four standard errors, and with many requests within 2 %."""
    error = abs(values.mean() - expected)
    return error < 4.0 * standard_error(values) and (len(values) <= NUM or error < TOLERANCE * expected)


def waits(kept):
    return kept["scheduled_s"] - kept["arrived_s"]


# ------------------------------------------------------------------ one queue before all


@SIZES
def test_a_pool_behind_a_gateway_is_mmc_and_waits_as_erlang_says(num):
    rng, num_replicas, rate = np.random.default_rng(1), 8, 6.0
    t_s, steps = poisson(rng, rate, num), rng.geometric(1 / STEPS, num)
    kept = play_world(gated("fifo", plain("all"), num_replicas=num_replicas), t_s, steps)
    assert (kept["ending"] == COMPLETED).all()
    assert agree(waits(kept), theory.mmc_wait_s(rate, 1.0, num_replicas))
    assert agree((waits(kept) > 0).astype(float), theory.erlang_c(rate, num_replicas))
    np.testing.assert_allclose(waits(kept), kept["gateway_s"], atol=MS)  # nobody waits at a replica
    np.testing.assert_allclose(waits(kept), kiefer_wolfowitz(t_s, steps / STEPS, num_replicas), atol=MS)


def test_two_servers_a_replica_wait_a_step_at_most_for_their_seats():
    # A seat that comes free is taken when the step ends that frees it; who comes to a busy replica waits for its next
    # step, which is as if services were longer by less than a step.
    rng, rate = np.random.default_rng(2), 6.0
    t_s, steps = poisson(rng, rate, NUM), rng.geometric(1 / STEPS, NUM)
    kept = play_world(gated("fifo", plain("all"), num_replicas=4, num_servers=2), t_s, steps)
    least_s = kiefer_wolfowitz(t_s, steps / STEPS, 8)
    assert (kept["gateway_s"] > least_s - 1 / STEPS - MS).all()
    assert (kept["gateway_s"] < kiefer_wolfowitz(t_s, (steps + 1) / STEPS, 8) + 1 / STEPS + MS).all()
    assert (waits(kept) - kept["gateway_s"]).max() <= 1 / STEPS + MS


@SIZES
def test_without_a_queue_requests_are_lost_as_erlang_says(num):
    rng, num_replicas, rate = np.random.default_rng(3), 10, 8.0
    t_s, steps = poisson(rng, rate, num), rng.geometric(1 / STEPS, num)
    kept = play_world(gated("fifo", plain("all"), num_replicas=num_replicas, max_queue=0), t_s, steps)
    assert set(kept["ending"]) == {COMPLETED, SHED}
    assert agree((kept["ending"] == SHED).astype(float), theory.erlang_b(rate, num_replicas))
    assert kept["gateway_s"].max() == 0.0


# ------------------------------------------------------------------ priorities


@SIZES
def test_priorities_at_one_server_are_cobhams(num):
    # Three classes with services of their own: constant, geometric, and one of two lengths.
    rng, rates = np.random.default_rng(4), (0.2, 0.5, 0.1)
    t_s, class_id = poisson(rng, sum(rates), num), rng.choice(3, num, p=np.array(rates) / sum(rates))
    two = np.where(rng.random(num) < 0.9, STEPS // 2, 11 * STEPS // 2)  # mean STEPS, variance 2.25 STEPS^2
    steps = np.choose(class_id, [np.full(num, STEPS // 2), rng.geometric(2 / STEPS, num), two])
    kept = play_world(gated("priority", plain("gold", "silver", "tin")), t_s, steps, class_id=class_id)
    expected_s = theory.mg1_priority_waits_s(rates, (0.5, 0.5, 1.0), (0.0, 1.0 - 2 / STEPS, 2.25))
    for number in range(3):
        assert agree(waits(kept)[class_id == number], expected_s[number])


@SIZES
def test_priorities_at_many_servers_are_cobhams(num):
    rng, rates, num_replicas = np.random.default_rng(5), (1.2, 2.0, 1.3), 6
    t_s, class_id = poisson(rng, sum(rates), num), rng.choice(3, num, p=np.array(rates) / sum(rates))
    steps = rng.geometric(1 / STEPS, num)
    played = gated("priority", plain("gold", "silver", "tin"), num_replicas=num_replicas)
    kept = play_world(played, t_s, steps, class_id=class_id)
    expected_s = theory.mmc_priority_waits_s(rates, 1.0, num_replicas)
    for number in range(3):
        assert agree(waits(kept)[class_id == number], expected_s[number])


# ------------------------------------------------------------------ shares


def flood(rng, num, mean_tokens, prompts):
    """Requests of some tiers all at once: class, prompt and answer of each."""
    class_id = np.repeat(np.arange(len(num)), num)
    tokens = np.concatenate([rng.geometric(1 / mean, n) for n, mean in zip(num, mean_tokens, strict=True)])
    order = rng.permutation(len(class_id))
    return class_id[order], np.asarray(prompts)[class_id][order], tokens[order]


@pytest.mark.parametrize("expected", [((20,), (50,), (8,)), ((5,), (500,), (8,))], ids=["right", "wrong"])
def test_fair_shares_are_the_weights_within_a_percent_however_wrong_the_prediction(expected):
    rng, weights = np.random.default_rng(6), (6.0, 3.0, 1.0)
    class_id, prompt_tokens, steps = flood(rng, (60_000, 60_000, 60_000), (20, 50, 8), (5, 30, 60))
    tiers = {name: Promise(weight=weight) for name, weight in zip(("gold", "silver", "tin"), weights, strict=True)}
    played = gated("fair", tiers, num_replicas=3, num_servers=4, places=5, step_s=1.0, expected_output_tokens=expected)
    until_s = 125_000.0  # gold's requests last longer
    kept = play_world(
        played, np.zeros(len(steps)), steps, class_id=class_id, prompt_tokens=prompt_tokens, until_s=until_s
    )
    done = kept[kept["ending"] == COMPLETED]
    assert all((kept[kept["class_id"] == number]["ending"] != COMPLETED).sum() > 1_000 for number in range(3))
    work = np.bincount(done["class_id"], done["prompt_tokens"] + done["output_tokens"])
    assert work / work.sum() == pytest.approx(np.array(weights) / sum(weights), rel=0.01)


def test_fair_lags_stay_within_the_bound_of_start_time_fair_queueing():
    # SFQ(D): while both wait, work let in over weight differs by at most (D + 1) (longest / weight + other / weight).
    rng, weights, longest = np.random.default_rng(7), (3.0, 1.0), (30, 70)
    class_id = rng.integers(0, 2, 40_000)
    steps = np.where(class_id == 0, 25, 10)
    tiers = {"gold": Promise(weight=weights[0]), "tin": Promise(weight=weights[1])}
    played = gated("fair", tiers, num_servers=4, step_s=1.0, expected_output_tokens=((25,), (10,)))
    prompts = np.choose(class_id, (5, 60))
    kept = play_world(played, np.zeros(len(steps)), steps, class_id=class_id, prompt_tokens=prompts, until_s=50_000.0)
    kept = kept[np.isfinite(kept["scheduled_s"])]
    kept = kept[np.argsort(kept["scheduled_s"], kind="stable")]
    work = [np.cumsum(np.where(kept["class_id"] == n, longest[n], 0)) / weights[n] for n in range(2)]
    bound = (4 + 1) * sum(most / weight for most, weight in zip(longest, weights, strict=True))
    assert 0 < np.abs(work[0] - work[1]).max() <= bound


def test_who_is_alone_has_all_of_it_and_gains_no_credit_by_waiting():
    # Tin floods from the start; gold, of equal weight, from 10,000 s on: from then on it has a half, and no more.
    tiers = {"gold": Promise(), "tin": Promise()}
    played = gated("fair", tiers, num_servers=2, step_s=1.0, expected_output_tokens=((9,), (9,)))
    t_s = np.concatenate([np.zeros(8_000), np.full(8_000, 10_000.0)])
    class_id = np.repeat([1, 0], 8_000)
    kept = play_world(played, t_s, np.full(16_000, 9), class_id=class_id, until_s=20_000.0)
    done = kept[kept["ending"] == COMPLETED]
    early = done["end_s"] < 10_000.0
    assert early.sum() == pytest.approx(2 * 10_000 / 9, abs=4)
    assert np.bincount(done["class_id"][~early]) == pytest.approx(10_000 / 9, abs=4)


# ------------------------------------------------------------------ promises


def test_places_kept_free_are_there_at_once():
    rng, num = np.random.default_rng(8), 20_000
    t_s = np.sort(rng.uniform(0.0, 10_000.0, num))
    class_id = (rng.random(num) < 0.9).astype(int)  # gold 0.2 requests/s, 4 s each: hardly ever more than 4 at once
    tiers = {"gold": Promise(reserved_frac=0.5), "tin": Promise()}
    played = gated("fifo", tiers, num_replicas=4, num_servers=2, step_s=1.0)
    kept = play_world(played, t_s, np.full(num, 4), class_id=class_id)
    gold, tin = (kept[kept["class_id"] == number] for number in range(2))
    let_in_s = gold["arrived_s"] + gold["gateway_s"]
    inside = np.searchsorted(np.sort(let_in_s), gold["arrived_s"]) - np.searchsorted(
        np.sort(gold["end_s"]), gold["arrived_s"], side="right"
    )
    assert (gold["gateway_s"][inside < 4] == 0.0).all()
    assert tin["gateway_s"].mean() > 1_000.0
    starts, ends = tin["arrived_s"] + tin["gateway_s"], tin["end_s"]
    at_once = np.cumsum(np.ones(len(tin)))[:, None]
    assert (at_once[:, 0] - np.searchsorted(np.sort(ends), np.sort(starts), side="right")).max() == 4


def test_no_replica_has_more_than_its_places():
    rng = np.random.default_rng(9)
    num, places = 20_000, 3
    t_s, steps = poisson(rng, 12.0, num), rng.geometric(1 / 20, num)
    played = gated("fifo", plain("all"), num_replicas=5, num_servers=2, places=places, step_s=0.05)
    kept = play_world(played, t_s, steps)
    most = []
    for r in range(5):
        mine = kept[kept["replica"] == r]
        starts, ends = np.sort(mine["arrived_s"] + mine["gateway_s"]), np.sort(mine["end_s"])
        inside = np.arange(1, len(mine) + 1) - np.searchsorted(ends, starts + MS, side="right")
        most.append(inside.max())
    assert most == [places] * 5


def test_the_cheapest_promise_is_shed_first():
    rng, num = np.random.default_rng(10), 50_000
    t_s, class_id = poisson(rng, 2.0, num), rng.integers(0, 3, num)  # twice what one server does
    tiers = {"gold": Promise(), "silver": Promise(weight=2.0), "tin": Promise()}
    played = gated("fifo", tiers, max_queue=100, step_s=1 / 10)
    kept = play_world(played, t_s, np.full(num, 10), class_id=class_id)
    shed = np.bincount(kept["class_id"][kept["ending"] == SHED], minlength=3)
    # Half of all are shed: all of tin, a third of all, and a sixth of silver.
    assert shed[2] == pytest.approx((class_id == 2).sum(), rel=0.02)
    assert shed[1] == pytest.approx(num / 6, rel=0.05)
    assert shed[0] == 0
    assert shed.sum() + (kept["ending"] == COMPLETED).sum() == num


def test_a_limit_of_the_queues_time_ends_who_waits_longer():
    rng, num, limit_s = np.random.default_rng(11), 50_000, 2.5
    t_s = poisson(rng, 1.5, num)
    tiers = {"all": Promise(queue_time_limit_s=limit_s)}
    kept = play_world(gated("fifo", tiers, step_s=1.0), t_s, np.ones(num))
    out = kept["ending"] == TIMED_OUT
    assert set(kept["ending"]) == {COMPLETED, TIMED_OUT}
    np.testing.assert_allclose(kept["gateway_s"][out], limit_s, atol=MS)
    assert kept["gateway_s"][~out].max() <= limit_s + MS
    # M/D/1 whose customers leave after a fixed wait is busy all the time at this load but for a few per cent.
    assert (~out).sum() == pytest.approx(kept["end_s"].max(), rel=0.05)


def test_without_limits_nobody_is_lost():
    rng, num = np.random.default_rng(12), 20_000
    t_s, class_id = poisson(rng, 3.0, num), rng.integers(0, 3, num)
    for order in ("fifo", "priority", "fair"):
        played = gated(order, plain("a", "b", "c"), step_s=1.0, expected_output_tokens=((1,),) * 3)
        kept = play_world(played, t_s, np.ones(num), class_id=class_id)
        assert (kept["ending"] == COMPLETED).all()
        assert kept["end_s"].max() == pytest.approx(num, rel=0.001)
        assert math.isclose(kept["gateway_s"].mean(), num / 3, rel_tol=0.02)
