"""The plane as the queues of the textbooks: its waits are those of theory, and request by request those of recursions.

One sequence at a time and steps of one length make a replica a single server; c sequences and steps that do not depend
on the batch make it c servers; steps in proportion to the batch make it a processor that all share. Tolerances are four
standard errors (estimated from the run itself) and, where steps make time discrete, a bound on what that does.
"""

import numpy as np
import pytest
from queues import kiefer_wolfowitz, lindley, play, poisson, standard_error

from sim import theory
from sim.metrics.records import ABANDONED, COMPLETED

FEW, MANY = 200_000, pytest.param(4_000_000, marks=pytest.mark.slow)
SIZES = pytest.mark.parametrize("num", [FEW, MANY])
ROUNDING_S = 1e-6  # of sums of millions of terms up to 1e7 s; services are seconds


def agree(values, expected, discrete_frac=0.0):
    """Whether a mean is what theory says: within four standard errors, and with many requests within 2 %."""
    error, allowed = abs(values.mean() - expected), 4.0 * standard_error(values) + discrete_frac * expected
    return error < allowed and (len(values) <= FEW or error < 0.02 * expected)


def waits(kept):
    return kept["scheduled_s"] - kept["arrived_s"]


# ------------------------------------------------------------------ one server


@SIZES
def test_one_token_each_is_md1(num):
    t_s = poisson(np.random.default_rng(1), 0.8, num)
    found_s = waits(play(t_s, np.ones(num), 1.0))
    assert agree(found_s, theory.md1_wait_s(0.8, 1.0))
    np.testing.assert_allclose(found_s, lindley(t_s, np.ones(num)), rtol=0, atol=ROUNDING_S)


@SIZES
def test_geometric_lengths_are_mg1_next_to_mm1(num):
    # A geometric number of steps is the discrete exponential: squared coefficient of variation 1 - 1/mean, exactly.
    rng, mean = np.random.default_rng(2), 200
    num_tokens, t_s = rng.geometric(1 / mean, num), poisson(rng, 0.7, num)
    found_s = waits(play(t_s, num_tokens, 1 / mean))
    expected_s = theory.mg1_wait_s(0.7, 1.0, 1 - 1 / mean)
    assert agree(found_s, expected_s)
    assert expected_s == pytest.approx(theory.mm1_wait_s(0.7, 1.0), rel=0.003)
    np.testing.assert_allclose(found_s, lindley(t_s, num_tokens / mean), rtol=0, atol=ROUNDING_S)


@SIZES
def test_short_and_long_answers_are_mg1(num):
    rng = np.random.default_rng(3)
    num_tokens = np.where(rng.random(num) < 0.9, 5, 55)  # mean 10, variance 225
    t_s = poisson(rng, 0.6, num)
    found_s = waits(play(t_s, num_tokens, 0.1))
    assert agree(found_s, theory.mg1_wait_s(0.6, 1.0, 2.25))
    np.testing.assert_allclose(found_s, lindley(t_s, 0.1 * num_tokens), rtol=0, atol=ROUNDING_S)


def test_time_in_service_is_steps_and_nothing_else():
    rng = np.random.default_rng(4)
    num_tokens = rng.integers(1, 50, FEW)
    kept = play(poisson(rng, 0.3, FEW), num_tokens, 0.1)
    np.testing.assert_allclose(kept["end_s"] - kept["scheduled_s"], 0.1 * num_tokens, rtol=0, atol=ROUNDING_S)
    np.testing.assert_allclose(kept["first_token_s"] - kept["scheduled_s"], 0.1, rtol=0, atol=ROUNDING_S)


def test_round_robin_makes_each_replica_a_queue_with_erlang_arrivals():
    # Every n-th arrival of a Poisson process: the time between has squared coefficient of variation 1/n.
    n, rho = 4, 0.9
    t_s = poisson(np.random.default_rng(5), n * rho, FEW)
    kept = play(t_s, np.ones(FEW), 1.0, num_replicas=n)
    found_s = waits(kept)
    for r in range(n):
        mine = kept["replica"] == r
        assert np.array_equal(np.flatnonzero(mine), np.arange(r, FEW, n))
        np.testing.assert_allclose(found_s[mine], lindley(t_s[mine], np.ones(mine.sum())), rtol=0, atol=ROUNDING_S)
    assert found_s.mean() < theory.gg1_wait_bound_s(rho, 1.0, 1 / n, 0.0) + 4 * standard_error(found_s)
    assert found_s.mean() < 0.5 * theory.md1_wait_s(rho, 1.0)


# ------------------------------------------------------------------ c servers, one queue
#
# A seat that is free is taken when the step in progress ends, so each start is late by less than a step. Count that
# delay as service: waits lie between those of a queue with services S, and those with S + one step, plus one step.
# A geometric number of steps lies between an exponential time E and E + one step (it is E rounded up to whole steps),
# and a constant added to E makes it less variable than an exponential time of the same mean, so the mean wait lies
# between M/M/c with E and M/M/c with a mean of E + two steps, plus one step (Stoyan 1983: FCFS waits grow with service
# times in increasing convex order).

SERVERS, LOAD, STEPS = 4, 2.8, 10_000


def mmc_bounds_s():
    step_s = 1 / STEPS
    exponential_s = -step_s / np.log1p(-step_s)
    low_s = theory.mmc_wait_s(LOAD, exponential_s, SERVERS)
    return low_s, theory.mmc_wait_s(LOAD, exponential_s + 2 * step_s, SERVERS) + step_s


def play_mmc(seed, num):
    rng = np.random.default_rng(seed)
    num_tokens, t_s = rng.geometric(1 / STEPS, num), poisson(rng, LOAD, num)
    return t_s, num_tokens / STEPS, play(t_s, num_tokens, 1 / STEPS, num_servers=SERVERS)


def test_steps_hardly_matter_where_they_are_short():
    low_s, high_s = mmc_bounds_s()
    assert low_s < theory.mmc_wait_s(LOAD, 1.0, SERVERS) < high_s < 1.003 * low_s


@pytest.mark.parametrize("parts", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_batch_of_c_is_mmc(parts):
    found_s = np.concatenate([waits(play_mmc(seed, FEW)[2]) for seed in range(parts)])
    low_s, high_s = mmc_bounds_s()
    assert agree(found_s, 0.5 * (low_s + high_s), discrete_frac=0.0015)
    # Who finds a free seat waits for less than a step; of the others few do: exp(-c mu t) is the chance to wait longer.
    waited = (found_s > 1 / STEPS).astype(float)
    assert agree(waited, theory.erlang_c(LOAD, SERVERS), discrete_frac=0.003)


def test_batch_of_c_is_the_queue_with_c_servers_request_by_request():
    t_s, service_s, kept = play_mmc(6, FEW)
    found_s, step_s = waits(kept), 1 / STEPS
    assert np.all(found_s > kiefer_wolfowitz(t_s, service_s, SERVERS) - ROUNDING_S)
    assert np.all(found_s < kiefer_wolfowitz(t_s, service_s + step_s, SERVERS) + step_s + ROUNDING_S)


@pytest.mark.parametrize("name", ["geometric", "constant"])
def test_impatient_requests_are_lost_as_erlang_says(name):
    # Patience of 2.5 steps: who finds no seat goes unless one of c is freed within 3 steps: a chance of 3 c / STEPS.
    rng, num_servers, num = np.random.default_rng(7), 10, 2 * FEW
    num_tokens = rng.geometric(1 / STEPS, num) if name == "geometric" else np.full(num, STEPS)
    t_s = poisson(rng, 8.0, num)
    kept = play(t_s, num_tokens, 1 / STEPS, num_servers=num_servers, patience_s=np.full(1025, 2.5 / STEPS))
    assert set(kept["ending"]) == {COMPLETED, ABANDONED}
    lost = (kept["ending"] == ABANDONED).astype(float)
    assert agree(lost, theory.erlang_b(8.0, num_servers), discrete_frac=3 * num_servers / STEPS)


# ------------------------------------------------------------------ a processor that all share


@pytest.mark.parametrize("name", ["geometric", "constant", "two lengths"])
def test_steps_in_proportion_to_the_batch_share_the_processor(name):
    # Time in the system is size / (1 - rho) whatever the distribution (Kleinrock 1976, section 4.4). Time is discrete
    # by a round, on average a token for each of rho / (1 - rho) others and the newcomer: 1 / (1 - rho) tokens, 1/mean
    # of the whole; two rounds are allowed, one at each end.
    rng, mean, rho = np.random.default_rng(8), 2_000, 0.7
    num_tokens = {
        "geometric": rng.geometric(1 / mean, FEW),
        "constant": np.full(FEW, mean),
        "two lengths": np.where(rng.random(FEW) < 0.9, mean // 2, 11 * mean // 2),
    }[name]
    kept = play(poisson(rng, rho, FEW), num_tokens, token_s=1 / mean, num_servers=1_000)
    inside_s = kept["end_s"] - kept["arrived_s"]
    assert agree(inside_s, 1 / (1 - rho), discrete_frac=2 / mean)
    if name == "two lengths":  # fair to both
        for tokens in set(num_tokens.tolist()):
            mine = num_tokens == tokens
            assert agree(inside_s[mine], tokens / mean / (1 - rho), discrete_frac=2 / tokens)
