import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.metrics.attribution import attribute
from sim.metrics.groups import PoolFacts
from sim.metrics.timeline import INTERVAL

POOLS = (
    PoolFacts("main", "m", "h", 4, 3.0),
    PoolFacts("guard", "g", "h", 1, 2.0),
    PoolFacts("spare", "m", "h", 2, 1.0),
)
PRICE_USD_PER_S = np.array([12.0, 2.0, 2.0]) / 3600


def timeline(replica_s, busy_frac):
    rows = np.zeros(3, INTERVAL)
    rows["pool"] = [0, 1, 2]
    rows["gpu_s"] = np.array(replica_s) * [4, 1, 2]
    rows["busy_frac"] = busy_frac
    return rows


def test_idle_time_follows_busy_shares_pool_by_pool():
    busy_s = np.array([[30.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    guard_s = np.array([2.0, 6.0])
    carried = busy_s @ PRICE_USD_PER_S + guard_s * PRICE_USD_PER_S[1]
    bill = attribute(timeline([100.0, 20.0, 0.0], [0.4, 0.4, 0.0]), POOLS, carried, busy_s, guard_s)
    main_usd, guard_usd = 100 * PRICE_USD_PER_S[0], 20 * PRICE_USD_PER_S[1]
    expected = np.array([0.75 * main_usd + 0.25 * guard_usd, 0.25 * main_usd + 0.75 * guard_usd])
    assert bill.cost_usd == pytest.approx(expected)
    assert bill.busy_usd[:2] == pytest.approx([0.4 * main_usd, 0.4 * guard_usd])


def test_energy_goes_where_the_bill_goes():
    """A pool's 8,000 J fall 3 to 1, as its replica time does, a guard's 400 J 1 to 3; a spare pool keeps its own."""
    busy_s = np.array([[30.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    guard_s = np.array([2.0, 6.0])
    carried = busy_s @ PRICE_USD_PER_S + guard_s * PRICE_USD_PER_S[1]
    rows = timeline([100.0, 20.0, 50.0], [0.4, 0.4, 0.0])
    rows["energy_j"] = [8000.0, 400.0, 5000.0]
    bill = attribute(rows, POOLS, carried, busy_s, guard_s)
    assert bill.energy_j == pytest.approx([6000.0 + 100.0, 2000.0 + 300.0])


def test_a_pool_that_answered_nobody_is_on_nobodys_bill():
    busy_s = np.array([[40.0, 0.0, 0.0]])
    bill = attribute(
        timeline([100.0, 0.0, 50.0], [0.4, 0.0, 0.0]), POOLS, busy_s @ PRICE_USD_PER_S, busy_s, np.zeros(1)
    )
    assert bill.not_attributed_usd == pytest.approx(50 * PRICE_USD_PER_S[2])
    assert bill.cost_usd.sum() == pytest.approx(100 * PRICE_USD_PER_S[0])


def test_nothing_carried_is_nothing_spread():
    bill = attribute(timeline([100.0, 0.0, 0.0], [0.0, 0.0, 0.0]), POOLS, np.zeros(2), np.zeros((2, 3)), np.zeros(2))
    assert bill.cost_usd.tolist() == [0.0, 0.0]
    assert bill.not_attributed_usd == pytest.approx(bill.total_usd.sum())


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(0.0, 100.0), min_size=3, max_size=3), min_size=1, max_size=4),
    st.lists(st.floats(0.0, 20.0), min_size=4, max_size=4),
    st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3),
)
def test_every_dollar_is_carried_spread_or_named(busy, guard, busy_frac):
    busy_s, guard_s = np.array(busy), np.array(guard[: len(busy)])
    carried = busy_s @ PRICE_USD_PER_S + guard_s * PRICE_USD_PER_S[1]
    bill = attribute(timeline([500.0, 120.0, 300.0], busy_frac), POOLS, carried, busy_s, guard_s)
    assert bill.cost_usd.sum() + bill.not_attributed_usd == pytest.approx(bill.total_usd.sum())
