"""The bill: GPU-hours times price to the cent, over drawn fleets; who carries it; and what it was spent on."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import GROUPS, collect, done, intervals, measured

from sim.metrics.attribution import attribute, guard_seconds
from sim.metrics.energy import SiteFacts, carbon_kg, facility_kwh
from sim.metrics.groups import ClassFacts, ContractFacts, Groups, PoolFacts, TierFacts
from sim.metrics.ledger import ledger, totals_usd
from sim.metrics.money import open_books, spent_on, totals
from sim.metrics.timeline import INTERVAL

CENT = 0.005
PLACE = SiteFacts("place", carbon_g_per_kwh=400.0, pue=1.25, usd_per_kwh=0.10, host_w_per_gpu=100.0)


def timeline(replicas, width_s=3600.0, num_gpus=4, gpu_w=500.0):
    rows = np.zeros(len(replicas), INTERVAL)
    rows["t_s"], rows["width_s"] = width_s * np.arange(len(replicas)), width_s
    rows["num_replicas"] = replicas
    rows["gpu_s"] = np.array(replicas) * num_gpus * width_s
    rows["energy_j"] = rows["gpu_s"] * gpu_w
    rows["busy_frac"] = 0.5
    return rows


def pool(*contracts, price=3.0, site=None):
    return PoolFacts("main", "m", "h", 4, price, contracts, site)


def test_replicas_fill_contracts_in_their_order():
    """Hours with 1, 3 and 6 replicas of four GPUs: two reserved, always paid; one of spot; the rest on demand."""
    facts = pool(
        ContractFacts("reserved", 2.0, 2, is_committed=True),
        ContractFacts("spot", 1.0, 1),
        ContractFacts("on_demand", 3.0),
    )
    lines = ledger(timeline([1.0, 3.0, 6.0]), [facts])
    assert [(line.contract, line.gpu_hours, line.paid_gpu_hours, line.usd) for line in lines] == [
        ("reserved", 20.0, 24.0, 48.0),
        ("spot", 8.0, 8.0, 8.0),
        ("on_demand", 12.0, 12.0, 36.0),
    ]
    assert [line.unused_usd for line in lines] == [8.0, 0.0, 0.0]


def test_an_owned_gpu_pays_its_power_as_far_as_it_runs():
    """One replica of four GPUs runs for an hour of two: (4 x 0.5 kWh + 4 x 0.1 kWh) x 1.25 = 3 kWh."""
    facts = pool(ContractFacts("owned", 1.5, 1, is_committed=True, pays_power=True), site=PLACE)
    (line,) = ledger(timeline([1.0, 0.0]), [facts])
    assert (line.gpu_hours, line.paid_gpu_hours) == (4.0, 8.0)
    assert line.kwh == pytest.approx(3.0)
    assert line.usd == pytest.approx(8 * 1.5 + 3 * 0.10)


def test_energy_of_a_facility_and_what_it_emits():
    assert facility_kwh(PLACE, gpu_j=3.6e6, gpu_hours=10.0) == pytest.approx((1 + 1) * 1.25)
    assert carbon_kg(PLACE, 2.5) == pytest.approx(1.0)


CONTRACTS = st.lists(
    st.builds(
        ContractFacts,
        st.sampled_from(["on_demand", "reserved", "spot", "owned"]),
        st.floats(0.01, 10.0),
        st.integers(1, 50),
        st.booleans(),
        st.booleans(),
    ),
    max_size=3,
)
FLEETS = st.lists(
    st.tuples(CONTRACTS, st.lists(st.floats(0.0, 200.0), min_size=3, max_size=3), st.booleans()), min_size=1, max_size=3
)


@settings(max_examples=200)
@given(FLEETS, st.floats(1.0, 90_000.0))
def test_a_bill_is_gpu_hours_times_price_to_the_cent(fleet, width_s):
    """Interval by interval: replicas take the next contract in line; commitments are paid in full."""
    pools, parts, expected = [], [], []
    for number, (contracts, replicas, has_site) in enumerate(fleet):
        terms = (*contracts, ContractFacts("on_demand", 3.0))
        pools.append(pool(*terms, site=PLACE if has_site else None))
        rows = timeline(replicas, width_s)
        rows["pool"] = number
        parts.append(rows)
        gpu_hours, usd = 0.0, 0.0
        for running in replicas:
            left = running
            for contract in terms:
                mine = left if contract.replicas is None else min(left, contract.replicas)
                left -= mine
                hours = 4 * mine * width_s / 3600
                paid = contract.replicas if contract.is_committed and contract.replicas else mine
                usd += 4 * paid * width_s / 3600 * contract.usd_per_gpu_hour
                if contract.pays_power and has_site:
                    usd += 0.10 * 1.25 * hours * (0.5 + 0.1)
                gpu_hours += hours
            assert left == 0.0
        expected.append((gpu_hours, usd))
    rows = np.concatenate(parts)
    lines = ledger(rows, pools)
    for number, (gpu_hours, usd) in enumerate(expected):
        mine = [line for line in lines if line.pool == number]
        assert math.fsum(line.gpu_hours for line in mine) == pytest.approx(gpu_hours, rel=1e-9)
        assert math.fsum(line.usd for line in mine) == pytest.approx(usd, rel=1e-12, abs=CENT)
    assert totals_usd(lines, len(pools)).sum() == pytest.approx(sum(usd for _, usd in expected), rel=1e-12, abs=CENT)


# ------------------------------------------------------------------ who carries it, and what for


def booked(rows):
    """What a plane would have booked: a judge in the answering pool took a quarter of it, a check the guards' all."""
    spent_s = np.zeros((len(GROUPS.classes), 3))
    for column, name, part in ((0, "guard_s", 1.0), (1, "busy_s", 0.25), (2, "busy_s", 0.75)):
        np.add.at(spent_s[:, column], rows["class_id"], part * rows[name])
    return spent_s


def books(rows, **settings):
    accounts = ((1, "check"), (0, "judge"), (0, "answer"))
    collector = collect(rows)
    collector.groups = Groups(**{**vars_of(GROUPS), "accounts": accounts, **settings})
    return open_books(collector, intervals(), booked(measured(rows)), 1.0)


def vars_of(groups):
    return {name: getattr(groups, name) for name in Groups.__dataclass_fields__}


@pytest.mark.parametrize("idle", ["use", "peak", "none"])
def test_tiers_features_and_endings_each_sum_to_the_bill(idle):
    found = books(done(20_000, completed_frac=0.8), idle=idle)
    cost = totals(found)
    total = cost["total_usd"]
    carried = total - cost["not_attributed_usd"]
    assert total == pytest.approx(math.fsum(line["usd"] for line in cost["ledger"]), abs=CENT)
    assert math.fsum(found.bill.cost_usd) == pytest.approx(carried, abs=CENT)
    assert math.fsum(cost["by_feature"].values()) == pytest.approx(carried, abs=CENT)
    assert math.fsum(cost["by_ending"].values()) == pytest.approx(carried, abs=CENT)
    assert math.fsum(found.bill.by_pool_usd.ravel()) == pytest.approx(carried, abs=CENT)
    assert (cost["not_attributed_usd"] > 1.0) == (idle == "none")
    by_class = [spent_on(found, np.repeat(np.eye(4, dtype=bool)[c], 3))["by_feature"] for c in range(4)]
    for name, usd in cost["by_feature"].items():
        assert math.fsum(part[name] for part in by_class) == pytest.approx(usd, abs=CENT)
    assert cost["by_feature"]["judge"] == pytest.approx(cost["by_feature"]["answer"] / 3)


def test_the_peak_rule_puts_idle_time_on_those_who_come_at_the_peak():
    rows = done(20_000)
    night = rows["class_id"] == 3  # programs, whose requests now all come in the hour before dawn
    rows["arrived_s"][night] = 4 * 3600.0 + rows["arrived_s"][night] % 3600.0
    by_use, by_peak = (books(rows, idle=idle).bill for idle in ("use", "peak"))
    cells = np.repeat(np.arange(4) == 3, 3)
    assert by_use.spread_usd[cells].sum() > 1.0
    assert by_peak.spread_usd[cells].sum() == pytest.approx(0.0, abs=1e-9)
    assert by_peak.cost_usd.sum() == pytest.approx(by_use.cost_usd.sum())


def test_lost_and_repeated_work_is_told():
    rows = done(20_000, completed_frac=0.5)
    rows["attempt"] = rows["serial"] % 2
    found = spent_on(books(rows), np.ones(12, dtype=bool))
    mine = measured(rows)
    lost = (mine["ending"] != 0) & (mine["ending"] != 8)
    whole = found["by_feature"].values()
    carried = mine["cost_usd"].sum()
    assert found["wasted_cost_usd"] / sum(whole) == pytest.approx(mine["cost_usd"][lost].sum() / carried, rel=0.05)
    assert found["retry_cost_usd"] / sum(whole) == pytest.approx(
        mine["cost_usd"][mine["attempt"] > 0].sum() / carried, rel=0.05
    )


def test_guards_of_several_pools_are_told_apart_by_class():
    """Class a meets guard 1 alone, class b guard 2 alone; without the booking half of each would be put on either."""
    groups = Groups(
        classes=(ClassFacts("a", "t"), ClassFacts("b", "t")), tiers=(TierFacts("t"),), languages=("x", "y"),
        pools=tuple(PoolFacts(name, "m", "h", 1, 3600.0) for name in ("main", "one", "two")),
        accounts=((1, "input_check"), (2, "input_check"), (0, "answer")),
    )  # fmt: skip
    busy_s = np.array([[10.0, 0, 0], [20.0, 0, 0], [5.0, 0, 0], [5.0, 0, 0]])
    guard_s = np.array([1.0, 2.0, 4.0, 4.0])
    spent_s = np.array([[3.0, 0.0, 30.0], [0.0, 8.0, 10.0]])
    rows = np.zeros(3, INTERVAL)
    rows["pool"], rows["gpu_s"], rows["busy_frac"], rows["width_s"] = [0, 1, 2], [80.0, 6.0, 32.0], 0.5, 1.0
    where = guard_seconds(groups, spent_s, busy_s, guard_s)
    bill = attribute(rows, groups.pools, busy_s.sum(axis=1) + guard_s, busy_s, guard_s, guard_pool_s=where)
    assert bill.by_pool_usd == pytest.approx(
        np.array([[20.0, 2.0, 0.0], [40.0, 4.0, 0.0], [10.0, 0.0, 16.0], [10.0, 0.0, 16.0]])
    )


def test_a_day_without_requests_is_nobodys():
    cost = totals(open_books(collect(done(0)), intervals(), np.zeros((4, 0)), 1.0))
    assert cost["not_attributed_usd"] == pytest.approx(cost["total_usd"])
