"""The bill of a scenario against GPU-hours that are counted from replicas, and what was done to them."""

import math

import pytest

import sim
from sim.metrics.summary import MONTH_S

CENT = 0.005
CHANGES = {
    "horizon": "4 min", "run_in": "0 s", "report_interval": "1 min", "money.site": "ireland",
    "money.yardsticks": "[gpt-5, deepseek-chat-v3.2]",
    "tiers.plus.price": "{usd_per_user_month: 20}",
    "tiers.pro.price": "{usd_per_user_month: 200}",
    "tiers.api.price": "{like: gpt-5-mini}",
    "fleet.pools.main.contracts": "[{kind: reserved, replicas: 2}, {kind: spot}]",
    "fleet.pools.api.contracts": "[{kind: owned, replicas: 5}]",
    "fleet.pools.guard.site": "sweden",
    "fleet.operations": "[{at: 2 min, do: add, pool: main, replicas: 1}]",
}  # fmt: skip


@pytest.fixture(scope="module", params=["use", "peak", "none"])
def result(request):
    scenario = sim.load("meridian-1", set=CHANGES | {"money.idle": request.param}, override=["small", "plain"])
    return sim.run(scenario).result


def test_the_ledger_is_gpu_hours_times_price_to_the_cent(result):
    """Main: 2 replicas of 4 GPUs for 4 minutes and one more for 2; api: 4 of 5 owned ones run; guards: one GPU each."""
    minutes = {
        ("main", "reserved"): 4 * 2 * 4,
        ("main", "spot"): 4 * 2,
        ("api", "owned"): 4 * 4 * 4,
        ("guard", "on_demand"): 4,
        ("api-guard", "on_demand"): 4,
    }
    price = {"reserved": 3.0 * 0.625, "spot": 3.0 * 0.425, "on_demand": 3.0}
    cost = result["sim"]["cost"]
    lines = {(line["pool"], line["contract"]): line for line in cost["ledger"]}
    assert lines.keys() == minutes.keys()
    for key, line in lines.items():
        assert line["gpu_hours"] == pytest.approx(minutes[key] / 60, rel=1e-9)
        hours = minutes[key] / 60 * (5 / 4 if key[1] == "owned" else 1)
        assert line["paid_gpu_hours"] == pytest.approx(hours, rel=1e-9)
        usd = hours * price.get(key[1], line["usd_per_gpu_hour"]) + line["paid_kwh"] * line["usd_per_kwh"]
        assert line["usd"] == pytest.approx(usd, abs=CENT * 0.01)
    assert cost["total_usd"] == pytest.approx(math.fsum(line["usd"] for line in lines.values()), abs=CENT)
    owned = lines["api", "owned"]
    kwh = result["sim"]["by_pool"]["api"]["energy_kwh"] + 0.350 * minutes["api", "owned"] / 60
    assert owned["paid_kwh"] == pytest.approx(kwh * 1.15, rel=1e-9)


def test_every_view_adds_up_to_the_bill(result):
    cost = result["sim"]["cost"]
    carried = cost["total_usd"] - cost["not_attributed_usd"]
    for view in ("by_tier", "by_language"):
        assert math.fsum(group["cost_usd"] for group in result["sim"][view].values()) == pytest.approx(
            carried, abs=CENT
        )
    for group in (cost | {"cost_usd": carried}, *result["sim"]["by_tier"].values()):
        assert math.fsum(group["by_feature"].values()) == pytest.approx(group["cost_usd"], abs=CENT)
        assert 0.0 <= group["wasted_cost_usd"] <= group["cost_usd"] + CENT
    assert math.fsum(cost["by_ending"].values()) == pytest.approx(carried, abs=CENT)
    assert set(cost["by_feature"]) == {"input_check", "answer"}
    guards = [result["sim"]["by_pool"][name]["total_usd"] for name in ("guard", "api-guard")]
    if cost["not_attributed_usd"] == 0.0:  # the checks have the guards to themselves
        assert cost["by_feature"]["input_check"] == pytest.approx(sum(guards), abs=CENT)
    assert math.fsum(pool["total_usd"] for pool in result["sim"]["by_pool"].values()) == pytest.approx(
        cost["total_usd"], abs=CENT
    )


def test_carbon_adds_up_over_tiers_and_pools(result):
    """Facility energy times the grid of each pool's site: Ireland 279.7, Sweden 35.82 g/kWh."""
    sim_, total = result["sim"], result["sim"]["energy"]["carbon_kg"]
    for pool, grid in (("main", 279.7), ("api", 279.7), ("guard", 35.82)):
        found = sim_["by_pool"][pool]
        kwh = 1.15 * (found["energy_kwh"] + 0.350 * found["gpu_hours"])
        assert found["facility_kwh"] == pytest.approx(kwh)
        assert found["carbon_kg"] == pytest.approx(kwh * grid / 1000)
    for view in ("by_pool", "by_tier", "by_language"):
        assert math.fsum(group["carbon_kg"] for group in sim_[view].values()) == pytest.approx(total)


def test_revenue_is_users_and_tokens_times_price(result):
    tiers, cost = result["sim"]["by_tier"], result["sim"]["cost"]
    months = 240.0 / MONTH_S
    assert tiers["plus"]["revenue_usd"] == pytest.approx(20 * 100_000 * 0.053 * months)
    assert tiers["pro"]["revenue_usd"] == pytest.approx(200 * 100_000 * 0.003 * months)
    assert "revenue_usd" not in tiers["free"]
    api = tiers["api"]
    cached = api["prefix_cache_hit_tokens"]
    tokens = (api["total_input_tokens"] - cached) * 0.25 + cached * 0.025 + api["total_output_tokens"] * 2
    assert api["revenue_usd"] == pytest.approx(tokens * 1e-6)
    revenue = math.fsum(tier.get("revenue_usd", 0.0) for tier in tiers.values())
    assert cost["revenue_usd"] == pytest.approx(revenue)
    assert cost["margin_usd"] == pytest.approx(revenue - cost["total_usd"])
    for name, usd in cost["yardstick_usd"].items():
        assert usd == pytest.approx(math.fsum(tier["yardstick_usd"][name] for tier in tiers.values()))
