"""The size that is found is the least."""

import pytest

from sim.errors import CapacityError, SpecError
from sim.fleet.run import run
from sim.study.sizing import answering, size, worst_hour


@pytest.fixture(scope="module")
def sized(small, how):
    return size(small, answering(small), **how)


def is_enough(small, how, pool, tier, replicas):
    thinned = worst_hour(small, how["scale"], how["peak_factor"])
    result = run(thinned.replace(f"fleet.pools.{pool}.replicas", replicas)).result["sim"]
    kept = result["by_tier"][tier]["slo_attainment_frac"]
    return kept >= how["target"] and result["by_pool"][pool]["num_saturated_intervals"] == 0


@pytest.mark.parametrize(("pool", "tier"), [("main", "free"), ("quick", "pro")])
def test_it_is_the_first_number_that_is_enough_by_brute_force(small, how, sized, pool, tier):
    enough = [replicas for replicas in range(1, 6) if is_enough(small, how, pool, tier, replicas)]
    assert sized.replicas[pool] == enough[0]
    assert enough == list(range(enough[0], 6))


def test_one_pool_alone_is_sized_as_together_with_the_other(small, how, sized):
    alone = size(small, {"main": ("free",)}, **how)
    assert alone.replicas["main"] == sized.replicas["main"] > 2
    # The other is not sized: one more than there are, to be in nobody's way; and billed as it stands in the scenario.
    assert alone.replicas["quick"] == 3
    assert alone.num_gpus == alone.replicas["main"] + small.fleet.pools["quick"].replicas


@pytest.mark.parametrize("first", [1, 16])
def test_where_the_search_begins_makes_no_difference(small, how, sized, first):
    again = size(small.replace("fleet.pools.main.replicas", first), answering(small), **how)
    assert again.replicas["main"] == sized.replicas["main"]


def test_the_run_is_that_of_the_size_and_is_billed_for_it(sized):
    pools = sized.run.result["sim"]["by_pool"]
    assert {name: pool.replicas for name, pool in sized.run.scenario.fleet.pools.items()} == sized.replicas
    assert sized.num_gpus == sum(sized.replicas.values())
    assert sized.usd_per_month == pytest.approx(730 * sized.num_gpus * pools["main"]["usd_per_gpu_hour"])


def test_a_thinned_fleet_counts_at_full_size(small, how):
    half = size(small, answering(small), **how | {"scale": 0.5})
    assert half.num_gpus == 2 * sum(half.replicas.values())
    months = 365.25 / 12 * small.traffic.monthly_users * 0.25 * 8  # 0.25 of them send 8 messages a day
    requests = half.run.result["sim"]["endings"]["num_requests"]
    assert half.per_month(requests) == pytest.approx(months, rel=0.1)  # some 1,500 requests, in conversations


def test_a_hopeless_slo_says_what_to_try(small, how):
    with pytest.raises(CapacityError, match=r"replicas of main do not keep 90% .* of free .*: try a looser slo, .* or"):
        size(small.replace("slo.ttft_s", 0.001), {"main": ("free",)}, **how)


def test_what_cannot_be_sized_is_a_mistake(small, how):
    with pytest.raises(SpecError, match=r"tiers\.free\.slo: missing"):
        size(small.replace("slo", {}), {"main": ("free",)}, **how)
    lonely = {"kind": "open_loop", "rate_per_s": 1, "input_sequence_length": 9, "output_sequence_length": 9}
    with pytest.raises(SpecError, match=r"traffic\.kind: must be population, got open_loop"):
        size(small.replace("traffic", {**lonely, "tier": "free"}), {"main": ("free",)}, **how)
