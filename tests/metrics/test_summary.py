import json

import numpy as np
import pytest
from synthetic import GROUPS, HORIZON_S, collect, done, facts, gaps, intervals, measured

from sim.metrics import histogram
from sim.metrics.collector import METRICS
from sim.metrics.records import ABANDONED, COMPLETED, ENDINGS, FAILED, IN_FLIGHT, SHED, TIMED_OUT
from sim.metrics.summary import MONTH_S, summarise, tier_histograms

ROWS = done(20_000)
STATISTICS = ("mean", "median", "std", "p50", "p90", "p95", "p99", "p99.9")
VLLM_HEADER = [
    "endpoint_type",
    "backend",
    "label",
    "model_id",
    "tokenizer_id",
    "num_prompts",
    "request_rate",
    "burstiness",
    "max_concurrency",
]
VLLM_RESULTS = [
    "duration",
    "completed",
    "failed",
    "total_input_tokens",
    "total_output_tokens",
    "request_throughput",
    "request_goodput",
    "output_throughput",
    "total_token_throughput",
    "max_output_tokens_per_s",
    "max_concurrent_requests",
    "rtfx",
]
VLLM_LATENCIES = [f"{s}_{m}_ms" for m in ("ttft", "tpot", "itl", "e2el") for s in STATISTICS]
SIM = [
    "version",
    "digest",
    "seed",
    "horizon_s",
    "warmup_s",
    "saturation",
    "slo",
    "endings",
    "cost",
    "energy",
    "cache",
    "by_tier",
    "by_pool",
    "by_class",
    "by_language",
    "itl_per_token",
    "calibration",
]


@pytest.fixture(scope="module")
def collector():
    return collect(ROWS)


@pytest.fixture(scope="module")
def result(collector):
    return summarise(facts(), collector, gaps(), intervals())


def tier_rows(name):
    rows = measured(ROWS)
    index = [tier.name for tier in GROUPS.tiers].index(name)
    return rows[GROUPS.tier_of_class[rows["class_id"]] == index]


def test_the_keys_are_vllms_in_its_order_then_ours(result):
    assert list(result) == [*VLLM_HEADER, *VLLM_RESULTS, *VLLM_LATENCIES, "sim"]
    assert list(result["sim"]) == SIM


def test_nothing_depends_on_the_moment_and_all_is_json(result, collector):
    again = summarise(facts(), collector, gaps(), intervals())
    text = json.dumps(result, allow_nan=False)
    assert text == json.dumps(again, allow_nan=False)
    assert "date" not in text


def test_the_promised_keys_of_a_tier(result):
    promised = {"num_requests", "num_user_messages", "user_message_success_frac", "slo_attainment_frac"}
    promised |= {"cost_usd", "cost_usd_per_1m_output_tokens", "cost_usd_per_user_month"}
    promised |= {f"num_{ending}" for ending in ENDINGS}
    promised |= {f"{s}_{m}_ms" for s in STATISTICS for m in ("ttft", "tpot", "itl", "e2el", "queue")}
    for tier in result["sim"]["by_tier"].values():
        assert promised <= set(tier)


def test_requests_are_the_sum_of_their_endings_everywhere(result):
    groups = [*result["sim"]["by_tier"].values(), *result["sim"]["by_language"].values(), result["sim"]["endings"]]
    for group in groups:
        assert group["num_requests"] == sum(group[f"num_{ending}"] for ending in ENDINGS)
    for by in ("by_tier", "by_language"):
        assert sum(group["num_requests"] for group in result["sim"][by].values()) == result["num_prompts"]


def test_totals_and_rates(result):
    rows = measured(ROWS)
    completed = rows[rows["ending"] == COMPLETED]
    assert result["num_prompts"] == len(rows)
    assert result["completed"] == len(completed)
    assert result["failed"] == len(rows) - len(completed) - (rows["ending"] == IN_FLIGHT).sum()
    assert result["total_output_tokens"] == completed["output_tokens"].sum()
    assert result["output_throughput"] == pytest.approx(completed["output_tokens"].sum() / HORIZON_S)
    assert result["request_throughput"] == pytest.approx(len(completed) / HORIZON_S)


@pytest.mark.parametrize("tier", ["free", "pro", "api"])
def test_latencies_of_a_tier_are_those_of_its_completed_requests(result, tier):
    rows = tier_rows(tier)
    rows = rows[rows["ending"] == COMPLETED]
    ttft_ms = 1000 * (rows["first_token_s"] - rows["arrived_s"])
    found = result["sim"]["by_tier"][tier]
    assert found["mean_ttft_ms"] == pytest.approx(ttft_ms.mean(), rel=1e-9)
    assert found["std_ttft_ms"] == pytest.approx(ttft_ms.std(), rel=1e-6)
    for key, q in (("median", 0.5), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)):
        exact = np.quantile(ttft_ms, q, method="inverted_cdf")
        assert found[f"{key}_ttft_ms"] == pytest.approx(exact, rel=histogram.RELATIVE_ERROR)


def test_itl_is_pooled_from_the_planes_histogram(result):
    pooled = gaps().sum(axis=0)
    assert result["p99_itl_ms"] == 1000 * histogram.quantile(pooled, 0.99)
    assert result["mean_itl_ms"] == pytest.approx(1000 * histogram.mean(pooled))
    pro = gaps()[GROUPS.tier_of_class == 1].sum(axis=0)
    assert result["sim"]["by_tier"]["pro"]["median_itl_ms"] == 1000 * histogram.quantile(pro, 0.5)


def test_attainment_counts_four_endings_as_misses_and_leaves_the_rest_out(result):
    rows = tier_rows("pro")
    n = np.maximum(rows["output_tokens"] - 1, 1)
    met = (rows["first_token_s"] - rows["arrived_s"] <= 1.0) & (rows["end_s"] - rows["arrived_s"] <= 40.0)
    met &= (rows["end_s"] - rows["first_token_s"]) / n <= 0.04
    met &= rows["ending"] == COMPLETED
    judged = np.isin(rows["ending"], (COMPLETED, SHED, TIMED_OUT, ABANDONED, FAILED))
    found = result["sim"]["by_tier"]["pro"]
    assert found["slo_attainment_frac"] == pytest.approx(met.sum() / judged.sum())
    assert found["slo_attainment_completed_frac"] == pytest.approx(met.sum() / (rows["ending"] == COMPLETED).sum())
    assert found["slo_attainment_frac"] < found["slo_attainment_completed_frac"]


def test_a_tier_without_slo_has_no_attainment_and_no_part_in_goodput(result):
    tiers = result["sim"]["by_tier"]
    assert tiers["api"]["slo_attainment_frac"] is None
    assert tiers["api"]["num_slo_met"] is None
    assert result["request_goodput"] == pytest.approx(
        (tiers["free"]["num_slo_met"] + tiers["pro"]["num_slo_met"]) / HORIZON_S
    )


def test_money_adds_up(result):
    sim = result["sim"]
    hours = {"main": 24 * 6 * 4, "guard": 24 * 2 * 1}
    for pool, usd_per_gpu_hour in (("main", 3.0), ("guard", 2.5)):
        assert sim["by_pool"][pool]["gpu_hours"] == pytest.approx(hours[pool])
        assert sim["by_pool"][pool]["total_usd"] == pytest.approx(hours[pool] * usd_per_gpu_hour)
    total = sim["cost"]["total_usd"]
    assert total == pytest.approx(sim["cost"]["busy_usd"] + sim["cost"]["idle_usd"])
    assert sim["cost"]["not_attributed_usd"] == 0.0
    for by in ("by_tier", "by_language"):
        assert sum(group["cost_usd"] for group in sim[by].values()) == pytest.approx(total)


def test_cost_keys_are_ratios_of_cost(result):
    free = result["sim"]["by_tier"]["free"]
    assert free["cost_usd_per_1m_output_tokens"] == pytest.approx(1e6 * free["cost_usd"] / free["total_output_tokens"])
    assert free["cost_usd_per_user_month"] == pytest.approx(free["cost_usd"] * MONTH_S / HORIZON_S / 9000)
    assert result["sim"]["by_tier"]["api"]["cost_usd_per_user_month"] is None


def test_idle_cost_hides_rounding_and_nothing_else(collector):
    def idle_usd(busy_frac):
        rows = intervals()
        rows["busy_frac"] = busy_frac
        sim = summarise(facts(), collector, gaps(), rows)["sim"]
        return sim["cost"]["idle_usd"], sim["by_pool"]["main"]["idle_usd"], sim["cost"]["total_usd"]

    assert idle_usd(1.0 + 1e-12)[:2] == (0.0, 0.0)
    whole, main, total = idle_usd(1.001)
    assert whole == pytest.approx(-0.001 * total)
    assert main < 0.0


def test_energy_and_power_of_a_pool(result):
    rows = intervals()
    main = rows[rows["pool"] == 0]
    found = result["sim"]["by_pool"]["main"]
    assert found["energy_kwh"] == pytest.approx(main["energy_j"].sum() / 3.6e6)
    assert found["power_mean_w"] == pytest.approx(main["energy_j"].sum() / HORIZON_S)
    assert result["sim"]["energy"]["total_kwh"] == pytest.approx(rows["energy_j"].sum() / 3.6e6)


def test_joules_per_token_by_pool_and_tier(result):
    """Each pool's energy is carried as its bill is, idle time included; over all tiers nothing is lost."""
    rows = intervals()
    sim = result["sim"]
    for index, name in enumerate(sim["by_pool"]):
        mine = rows[rows["pool"] == index]
        joules = mine["energy_j"].sum() / mine["output_tokens"].sum()
        assert sim["by_pool"][name]["joules_per_output_token"] == pytest.approx(joules)
    for groups in (sim["by_tier"], sim["by_language"]):
        total_kwh = sum(group["energy_kwh"] for group in groups.values())
        assert total_kwh == pytest.approx(sim["energy"]["total_kwh"], rel=1e-9)
        for group in groups.values():
            per_token = group["energy_kwh"] * 3.6e6 / group["total_output_tokens"]
            assert group["joules_per_output_token"] == pytest.approx(per_token)


def test_peaks_are_the_highest_intervals_over_all_pools(result):
    rows = intervals()
    per_interval = rows["output_tokens"].reshape(-1, 2).sum(axis=1) / 900.0
    assert result["max_output_tokens_per_s"] == pytest.approx(per_interval.max())
    inside = (rows["running_mean"] + rows["waiting_mean"]).reshape(-1, 2).sum(axis=1)
    assert result["max_concurrent_requests"] == pytest.approx(inside.max())


def test_conversations_and_turns(result):
    rows = tier_rows("free")
    found = result["sim"]["by_tier"]["free"]
    assert found["num_conversations"] == (rows["turn"] == 0).sum()
    assert found["mean_turns"] == pytest.approx(len(rows) / (rows["turn"] == 0).sum())
    assert sum(found["hourly_arrivals"]) == len(rows)


def test_as_fast_as_answered_is_inf(collector):
    assert summarise(facts(request_rate_per_s=None), collector, gaps(), intervals())["request_rate"] == "inf"


def test_an_empty_run_is_all_none_and_still_json():
    empty = summarise(facts(), collect(ROWS[:0]), 0 * gaps(), intervals()[:0])
    json.dumps(empty, allow_nan=False)
    assert empty["num_prompts"] == 0
    assert empty["p99_ttft_ms"] is empty["mean_itl_ms"] is empty["sim"]["slo"]["slo_attainment_frac"] is None


def test_histograms_by_tier_hold_every_request(collector):
    found = tier_histograms(collector, gaps())
    assert list(found) == ["free", "pro", "api"]
    assert set(found["pro"]) == {*METRICS, "itl"}
    rows = tier_rows("pro")
    assert found["pro"]["e2el"].sum() == (rows["ending"] == COMPLETED).sum()
    assert np.array_equal(found["pro"]["itl"], gaps()[1] + gaps()[2])
