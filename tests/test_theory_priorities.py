"""Priority queues and losses of `sim.theory` against what they must be."""

import math

import pytest

from sim import theory


def test_one_class_waits_as_without_priorities():
    assert theory.mg1_priority_waits_s([0.7], [1.0], [2.0]) == pytest.approx([theory.mg1_wait_s(0.7, 1.0, 2.0)])
    assert theory.mmc_priority_waits_s([2.5], 1.0, 4) == pytest.approx([theory.mmc_wait_s(2.5, 1.0, 4)])


def test_priorities_only_change_who_waits():
    # Kleinrock's conservation law: the sum of load x wait is that of first come, first served.
    rates, services_s, scvs = (0.2, 0.3, 0.1), (1.0, 0.5, 3.0), (0.0, 1.0, 0.5)
    loads = [rate * service_s for rate, service_s in zip(rates, services_s, strict=True)]
    waits_s = theory.mg1_priority_waits_s(rates, services_s, scvs)
    residual_s = sum(load * s * (1 + scv) / 2 for load, s, scv in zip(loads, services_s, scvs, strict=True))
    total = sum(load * wait_s for load, wait_s in zip(loads, waits_s, strict=True))
    assert total == pytest.approx(sum(loads) * residual_s / (1 - sum(loads)))
    assert waits_s == sorted(waits_s)
    many_s = theory.mmc_priority_waits_s((1.0, 2.0), 1.0, 5)
    assert (many_s[0] + 2 * many_s[1]) / 3 == pytest.approx(theory.mmc_wait_s(3.0, 1.0, 5))


def test_a_queue_of_one_loses_as_erlang_says_and_a_long_one_hardly_any():
    for load in (0.3, 1.0, 2.5):
        assert theory.md1k_loss_frac(load, 1) == pytest.approx(theory.erlang_b(load, 1))
    assert theory.md1k_loss_frac(0.5, 40) < 1e-12
    assert theory.md1k_loss_frac(2.0, 60) == pytest.approx(0.5, abs=1e-9)  # it serves all the time
    losses = [theory.md1k_loss_frac(0.9, k) for k in range(1, 20)]
    assert losses == sorted(losses, reverse=True)


def test_two_in_the_system_by_hand():
    # M/D/1/2: a departure leaves nobody with chance exp(-load), else one.
    load = 0.8
    nobody = math.exp(-load)
    assert theory.md1k_loss_frac(load, 2) == pytest.approx(1 - 1 / (nobody + load))


@pytest.mark.parametrize(("load", "most"), [(0.0, 3), (-1.0, 3), (0.5, 0)])
def test_a_queue_must_have_room_and_arrivals(load, most):
    with pytest.raises(ValueError, match="room for at least one"):
        theory.md1k_loss_frac(load, most)
