"""The laws of queues against published tables and worked examples, and against each other."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import theory

loads = st.floats(0.01, 0.99)
scvs = st.floats(0.0, 10.0)
servers = st.integers(1, 200)


# D. Collins, Carrier Grade Voice over IP, 2nd edition, appendix A: load that 2 to 9 channels carry, one decimal.
ERLANG_B = {0.01: (0.2, 0.5, 0.9, 1.4, 1.9, 2.5, 3.1, 3.8), 0.05: (0.4, 0.9, 1.5, 2.2, 3.0, 3.7, 4.5, 5.4)}


@pytest.mark.parametrize("blocked", ERLANG_B)
def test_erlang_b_table(blocked):
    for num_servers, load in enumerate(ERLANG_B[blocked], start=2):
        assert theory.erlang_b(load - 0.05, num_servers) < blocked < theory.erlang_b(load + 0.05, num_servers)


# Abstract Micro Systems, Erlang Library for Excel, help page of ErlbNsrvFromBlockage: 17.44, 14.30 and 24.49 servers.
@pytest.mark.parametrize(("blocked", "load", "num_servers"), [(0.01, 10.0, 18), (0.05, 10.0, 15), (0.01, 15.7, 25)])
def test_servers_needed_for_a_blocking(blocked, load, num_servers):
    assert theory.erlang_b(load, num_servers) < blocked < theory.erlang_b(load, num_servers - 1)


@given(loads.map(lambda x: 50.0 * x), st.integers(0, 60))
def test_erlang_b_is_its_closed_form(load, num_servers):
    terms = [load**k / math.factorial(k) for k in range(num_servers + 1)]
    assert theory.erlang_b(load, num_servers) == pytest.approx(terms[-1] / sum(terms), rel=1e-12)


def test_bronson_worked_examples():
    # R. Bronson, Schaum's Outline of Operations Research, 1982, problems 23.3, 23.14, 23.16 and 24.6.
    per_hour = 1.0 / 3600.0
    wait_s = theory.mm1_wait_s(24 * per_hour, 120.0)
    assert wait_s + 120.0 == pytest.approx(600.0)
    assert theory.little(24 * per_hour, wait_s + 120.0) == pytest.approx(4.0)
    assert theory.mm1_wait_s(30 * per_hour, 90.0) == pytest.approx(4.5 * 60.0)
    assert theory.little(1 / 60.0, theory.mm1_wait_s(1 / 60.0, 45.0)) == pytest.approx(2.25)
    wait_years = theory.mmc_wait_s(300.0, 1 / 182.5, 3)
    assert wait_years == pytest.approx(0.001175, abs=0.5e-6)
    assert theory.little(300.0, wait_years) == pytest.approx(0.352, abs=1e-3)  # printed as 300 x 0.001175 = 0.3525
    assert theory.little(300.0, wait_years + 1 / 182.5) == pytest.approx(1.996, abs=1e-3)


def test_hillier_lieberman_county_hospital():
    # F. S. Hillier, G. J. Lieberman, Introduction to Operations Research, chapter "Queueing theory": 2 patients an
    # hour, 20 minutes each; with one doctor Lq = 4/3, Wq = 2/3 h, with two Lq = 1/12, Wq = 1/24 h.
    for doctors, queue, wait_h in ((1, 4 / 3, 2 / 3), (2, 1 / 12, 1 / 24)):
        found = theory.mmc_wait_s(2.0, 1 / 3, doctors)
        assert found == pytest.approx(wait_h)
        assert theory.little(2.0, found) == pytest.approx(queue)


def test_taha_car_wash():
    # H. A. Taha, Operations Research: An Introduction, section on M/G/1, "Wheels-In" car wash: 4 cars an hour, 10
    # minutes each; Lq = 0.667 cars, Wq = 0.167 h, Ws = 0.333 h.
    wait_h = theory.md1_wait_s(4.0, 1 / 6)
    assert (wait_h, theory.little(4.0, wait_h), wait_h + 1 / 6) == pytest.approx((1 / 6, 2 / 3, 1 / 3))


def test_render_stair_compactor():
    # B. Render, R. M. Stair, Quantitative Analysis for Management, "Garcia-Golding Recycling": 8 trucks an hour, 12 an
    # hour at a constant rate; Wq = 1/12 h.
    assert theory.md1_wait_s(8.0, 1 / 12) == pytest.approx(1 / 12)


@given(loads, servers)
def test_erlang_c_lies_above_erlang_b_and_is_rho_for_one_server(rho, num_servers):
    assert theory.erlang_c(rho, 1) == pytest.approx(rho)
    assert theory.erlang_b(rho * num_servers, num_servers) <= theory.erlang_c(rho * num_servers, num_servers) <= 1.0


@given(loads, st.floats(1e-3, 1e3), scvs, servers)
def test_general_laws_contain_the_special_ones(rho, service_s, scv, num_servers):
    rate_per_s = rho / service_s
    assert theory.mm1_wait_s(rate_per_s, service_s) == pytest.approx(theory.mmc_wait_s(rate_per_s, service_s, 1))
    assert theory.md1_wait_s(rate_per_s, service_s) == pytest.approx(0.5 * theory.mm1_wait_s(rate_per_s, service_s))
    general = theory.ggc_wait_s(rate_per_s, service_s, 1, 1.0, scv)
    assert general == pytest.approx(theory.mg1_wait_s(rate_per_s, service_s, scv))
    many = num_servers * rate_per_s
    assert theory.ggc_wait_s(many, service_s, num_servers, 1.0, 1.0) == pytest.approx(
        theory.mmc_wait_s(many, service_s, num_servers)
    )


@given(loads, scvs)
def test_kingmans_bound_holds_for_mg1_and_tightens_in_heavy_traffic(rho, scv):
    exact_s, bound_s = theory.mg1_wait_s(rho, 1.0, scv), theory.gg1_wait_bound_s(rho, 1.0, 1.0, scv)
    assert bound_s > exact_s
    assert bound_s - exact_s == pytest.approx((1.0 + rho) / (2.0 * rho))  # (1 - rho^2) / (2 lambda (1 - rho))


@pytest.mark.parametrize(
    ("law", "given_numbers"),
    [
        (theory.mm1_wait_s, (1.0, 1.0)),
        (theory.mmc_wait_s, (4.0, 1.0, 4)),
        (theory.erlang_c, (1.0, 0)),
        (theory.erlang_b, (-1.0, 2)),
        (theory.mg1_wait_s, (0.5, 1.0, -0.1)),
        (theory.ggc_wait_s, (0.5, 1.0, 1, -0.1, 1.0)),
    ],
)
def test_what_has_no_answer_is_refused(law, given_numbers):
    with pytest.raises(ValueError, match=r"steady state|negative"):
        law(*given_numbers)
