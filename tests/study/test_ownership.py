"""The cost of a life, and the size at which it is least."""

import math

import pytest

from sim import catalog
from sim.lifecycle.plan import Plan
from sim.lifecycle.scaling import lifetime_optimum
from sim.lifecycle.stages import stages_of
from sim.study import ownership
from sim.study.echo import scenario_of
from sim.study.ownership import Served, TokenCost, cost_of_token, lifetime_usd, optimum, served, study, summary

TOKENS, DEMAND = 9.6e12, 9e13


@pytest.fixture(scope="module")
def stages():
    return stages_of(catalog.load_lifecycle("meridian-1"))


@pytest.fixture(scope="module")
def plan(stages):
    return Plan(stages.spec)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.52])
def test_a_planted_power_law_is_found(power):
    points = [Served(n, 0, 0, 3e-17 * n**power) for n in (2e10, 4e10, 7e10)]
    found = cost_of_token(points)
    assert found.power == pytest.approx(power)
    assert found(5e10) == pytest.approx(3e-17 * 5e10**power)


def test_points_off_the_law_are_evened_out():
    jumps = [1.1, 1 / 1.1, 1 / 1.1, 1.1]  # no slope of their own: sizes are evenly spaced
    points = [Served(n, 0, 0, 1e-17 * n * jump) for n, jump in zip((1e10, 2e10, 4e10, 8e10), jumps, strict=True)]
    assert cost_of_token(points).power == pytest.approx(1.0)
    assert cost_of_token(points)(3e10) == pytest.approx(3e-7)


def test_with_costs_in_flop_the_optimum_is_that_of_the_scaling_laws(plan, monkeypatch):
    monkeypatch.setattr(ownership, "usd_to_train", lambda _plan, n, d: 6 * n * d)
    owned = optimum(plan, TOKENS, DEMAND, TokenCost(2.0, 1.0))
    expected = lifetime_optimum(plan.law, owned.loss, DEMAND)
    assert owned.by_fleet == owned.by_flops == expected
    assert owned.decided.total == pytest.approx(6 * 70.05e9 * TOKENS + 2 * 70.05e9 * DEMAND, rel=1e-3)


def test_at_the_price_of_flop_dollars_change_nothing(plan):
    dollars_a_flop = ownership.usd_to_train(plan, 1e10, 1e12) / 6e22
    owned = optimum(plan, TOKENS, DEMAND, TokenCost(2 * dollars_a_flop, 1.0))
    assert owned.by_fleet.parameters == pytest.approx(owned.by_flops.parameters, rel=1e-3)


def test_the_dearer_and_the_steeper_a_token_the_smaller_the_model(plan):
    def best(usd_at_70b, power):
        return optimum(plan, TOKENS, DEMAND, TokenCost(usd_at_70b / 7e10**power, power)).by_fleet.parameters

    assert best(1e-6, 1.0) < best(1e-7, 1.0) < best(1e-9, 1.0)
    assert best(1e-7, 2.0) < best(1e-7, 1.0) < best(1e-7, 0.5)
    assert best(1e-15, 1.0) == pytest.approx(
        optimum(plan, TOKENS, DEMAND, TokenCost(1e-30, 1.0)).by_training.parameters, rel=1e-2
    )


def test_all_ways_reach_the_loss_and_none_costs_less_than_the_fleets(plan):
    owned = optimum(plan, TOKENS, DEMAND, TokenCost(8e-7 / 7e10**1.5, 1.5))
    ways = (owned.decided, owned.by_training, owned.by_flops, owned.by_fleet)
    for life in ways:
        assert plan.law.loss(life.parameters, life.tokens) == pytest.approx(owned.loss, abs=1e-9)
        assert life.total == life.training + life.serving >= owned.by_fleet.total
        assert life.serving == pytest.approx(DEMAND * owned.token(life.parameters))
    assert owned.by_fleet.parameters < owned.by_flops.parameters < owned.by_training.parameters


def test_what_was_decided_costs_what_pretraining_does(stages, plan):
    owned = optimum(plan, stages["pretraining"]["training tokens"].value, DEMAND, TokenCost(1e-17, 1.0))
    assert owned.decided.training == pytest.approx(stages["pretraining"]["dollars"].value)


def test_cost_of_ownership_adds_up(stages):
    found, development = lifetime_usd(stages, 2e6), stages.development_usd
    assert found.value == pytest.approx(development.value + 12 * 2e6)
    # Life is 6 to 24 months: 12 months less or 12 more, beside what development may cost.
    assert found.low < found.value - 0.9 * 6 * 2e6
    assert found.high > found.value + 12 * 2e6
    assert found.unit == "USD"


def test_models_of_several_sizes_are_served(small, how):
    spec = catalog.load_lifecycle("meridian-1", {"architecture.max_position_embeddings": "16k"})
    points = list(served(spec, small, (4e9, 16e9), **how))
    assert [point.parameters for point in points] == [4e9, 16e9]
    assert points[0].usd_per_token < points[1].usd_per_token
    for point in points:
        tokens_per_month = point.usd_per_month / point.usd_per_token
        assert tokens_per_month == pytest.approx(points[0].usd_per_month / points[0].usd_per_token, rel=0.02)
        assert point.usd_per_month == pytest.approx(730 * point.num_gpus * 3.0)  # H100 in the price book: 3 USD


def test_a_study_is_of_one_demand(small, how):
    changes = {"architecture.parameters": 8e9, "architecture.max_position_embeddings": "16k", "data.tokens": 1e12}
    stages = stages_of(catalog.load_lifecycle("meridian-1", {**changes, "pretraining.gpu_hours": None}))
    points, owned = study(stages, small, (4e9, 16e9), **how)
    told = summary(points, owned)
    assert owned.demand_tokens == pytest.approx(12 * points[0].usd_per_month / points[0].usd_per_token)
    assert told["decided"]["parameters"] == pytest.approx(8e9, rel=0.02)
    assert told["by_fleet"]["total"] <= min(told[way]["total"] for way in ("decided", "by_training", "by_flops"))
    assert told["token"]["power"] == pytest.approx(
        math.log(points[1].usd_per_token / points[0].usd_per_token) / math.log(4)
    )


@pytest.mark.slow
def test_the_page_says_what_this_fleet_makes_of_it(stages, repository):
    points, owned = study(
        stages, scenario_of(stages.spec), (20e9, 40e9, 70e9, 100e9), scale=0.05, peak_factor=1.5, target=0.9
    )
    page = (repository / "docs/lifecycle.md").read_text(encoding="utf-8").replace("**", "")
    # The figures of the page are those of this seed; its prose gives the spread over three seeds, which is held below.
    for point in points:
        cells = (point.num_gpus, point.usd_per_month / 1e6, 1e6 * point.usd_per_token)
        assert f"| {point.parameters / 1e9:.0f}B | {cells[0]:,.0f} | {cells[1]:.1f} | {cells[2]:.2f} |" in page
    for life in (owned.by_training, owned.decided, owned.by_flops, owned.by_fleet):
        money = " | ".join(f"{usd / 1e6:.0f}" for usd in (life.training, life.serving, life.total))
        tokens = f"{life.tokens / 1e12:.{0 if life.tokens >= 1e13 else 1}f}T"
        assert f"| {life.parameters / 1e9:.0f}B x {tokens} | {money} |" in page
    assert f"The power is {owned.token.power:.2f}" in page


@pytest.mark.slow
def test_another_seed_has_the_same_optimum(stages):
    scenario = scenario_of(stages.spec).replace("seed", 3)
    _, owned = study(stages, scenario, (20e9, 70e9, 100e9), scale=0.05, peak_factor=1.5, target=0.9)
    assert owned.token.power == pytest.approx(1.53, abs=0.05)
    assert owned.by_fleet.parameters == pytest.approx(46.5e9, rel=0.05)
    assert owned.by_fleet.total == pytest.approx(71e6, rel=0.15)
    assert owned.by_fleet.total < owned.by_flops.total < owned.decided.total


@pytest.mark.slow
def test_it_is_the_promise_to_long_prompts_that_makes_large_models_dear(stages):
    patient = scenario_of(stages.spec).replace("tiers.api.slo", {"ttft_s": 20, "tpot_s": 0.2})
    points, owned = study(stages, patient, (20e9, 40e9, 70e9, 100e9), scale=0.05, peak_factor=1.5, target=0.9)
    assert owned.token.power == pytest.approx(0.91, abs=0.05)
    assert owned.by_fleet.parameters == pytest.approx(owned.by_flops.parameters, rel=0.05)
    assert points[-1].num_gpus < 0.5 * 6108
