import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import GROUPS, bits, collect, done, measured

from sim.metrics import histogram
from sim.metrics.collector import (
    COST_BIN_USD,
    KEPT,
    LATENCY_COLUMNS,
    MAX_TURNS,
    METRICS,
    SLO_PARTS,
    Collector,
    SampleSize,
    latencies,
)
from sim.metrics.records import COMPLETED, DONE, ENDINGS

ROWS = done(20_000)


@pytest.fixture(scope="module")
def collector():
    return collect(ROWS)


@pytest.fixture(scope="module")
def frame():
    """The measured requests as a data frame, with latencies by the definitions in docs/nomenclature.md."""
    data = pd.DataFrame(measured(ROWS))
    data["cell"] = data["class_id"] * len(GROUPS.languages) + data["language"]
    data["ttft"] = data["first_token_s"] - data["arrived_s"]
    data["ttft_from_admission"] = data["first_token_s"] - data["classified_s"]
    data["decode"] = data["end_s"] - data["first_token_s"]
    data["tpot"] = (data["decode"] / (data["output_tokens"] - 1)).where(data["output_tokens"] > 1)
    data["e2el"] = data["end_s"] - data["arrived_s"]
    data["admission"] = data["classified_s"] - data["arrived_s"]
    data["queue"] = data["scheduled_s"] - data["classified_s"]
    data["prefill"] = data["first_token_s"] - data["scheduled_s"] - data["transfer_s"]
    data["transfer"] = data["transfer_s"]
    data["cost"] = data["cost_usd"]
    return data


def table(frame, column, index, columns, shape, agg="sum"):
    found = frame.pivot_table(column, index, columns, agg, fill_value=0)
    return found.reindex(index=range(shape[0]), columns=range(shape[1]), fill_value=0).to_numpy()


def test_requests_are_counted_by_class_language_and_ending(collector, frame):
    expected = table(frame, "serial", "cell", "ending", collector.num_requests.shape, "count")
    assert np.array_equal(collector.num_requests, expected)


@pytest.mark.parametrize("name", ["prompt_tokens", "cached_tokens", "output_tokens", "num_preemptions", "cost_usd"])
def test_totals_are_exact_sums(collector, frame, name):
    found = getattr(collector, name)
    assert found == pytest.approx(table(frame, name, "cell", "ending", found.shape), rel=1e-12)


def test_replica_seconds_go_to_the_answering_pool(collector, frame):
    answered = frame[frame["pool"] >= 0]
    assert collector.busy_s == pytest.approx(table(answered, "busy_s", "cell", "pool", collector.busy_s.shape))
    assert collector.guard_s == pytest.approx(frame.groupby("cell")["guard_s"].sum().to_numpy())


@pytest.mark.parametrize("metric", METRICS)
def test_sums_and_histograms_are_over_completed_requests(collector, frame, metric):
    i = METRICS.index(metric)
    unit = COST_BIN_USD if metric == "cost" else 1.0
    complete = frame[frame["ending"] == COMPLETED].dropna(subset=metric)
    for cell, values in complete.groupby("cell")[metric]:
        values = values.to_numpy()
        assert collector.sums[cell, i] == pytest.approx(values.sum(), rel=1e-12)
        assert collector.square_sums[cell, i] == pytest.approx((values**2).sum(), rel=1e-12)
        assert np.array_equal(collector.histograms[cell, i], histogram.count(values / unit))
    assert collector.histograms[:, i].sum() == len(complete)


def test_attainment_needs_every_target(collector, frame):
    complete = frame[frame["ending"] == COMPLETED]
    met = {}
    for part in SLO_PARTS:
        limits = GROUPS.limits(f"{part}_s")[complete["class_id"]]
        met[part] = complete[part].fillna(0.0) <= limits
    for cell in range(len(collector.num_met)):
        here = complete["cell"] == cell
        assert collector.num_met[cell].sum() == here.sum()
        assert collector.num_met[cell, -1] == (here & met["ttft"] & met["tpot"] & met["e2el"]).sum()
        for bit, part in enumerate(SLO_PARTS):
            ways = [way for way in range(2 ** len(SLO_PARTS)) if way >> bit & 1]
            assert collector.num_met[cell, ways].sum() == (here & met[part]).sum()


def test_arrivals_by_hour_and_turns(collector, frame):
    frame = frame.assign(hour=frame["arrived_s"] // 3600, counted=frame["turn"].clip(upper=MAX_TURNS - 1))
    shape = collector.hourly_arrivals.shape
    assert np.array_equal(collector.hourly_arrivals, table(frame, "serial", "class_id", "hour", shape, "count"))
    shape = collector.turns.shape
    assert np.array_equal(collector.turns, table(frame, "serial", "class_id", "counted", shape, "count"))


def test_the_run_in_is_not_measured(collector):
    assert (ROWS["arrived_s"] < 0).sum() > 100
    assert collector.num_requests.sum() == (ROWS["arrived_s"] >= 0).sum()
    assert (collector.sample()[0]["arrived_s"] >= 0).all()


def state(collector):
    names = ("num_requests", "prompt_tokens", "cost_usd", "guard_s", "num_met", "hourly_arrivals", "turns")
    arrays = [getattr(collector, name) for name in names]
    arrays += [collector.histograms, collector.sums, collector.square_sums, collector.busy_s, *collector.sample()]
    return b"".join(array.tobytes() for array in arrays)


@settings(max_examples=10)
@given(st.integers(1, 5000))
def test_chunks_do_not_matter_to_the_last_bit(chunk):
    rows = ROWS[:5000]
    size = SampleSize(300, 100, 50)
    assert state(collect(rows, chunk=chunk, size=size)) == state(collect(rows, chunk=len(rows), size=size))


def test_the_lectures_law_counts_one_gap_too_many():
    """Latency = TTFT + n ITL, as textbooks have it, against e2el = ttft + (n - 1) tpot, which is exact."""
    completed = ROWS[ROWS["ending"] == COMPLETED]
    values = dict(zip(METRICS, latencies({name: completed[name] for name in LATENCY_COLUMNS}), strict=True))
    n = completed["output_tokens"]
    exact = values["ttft"] + (n - 1) * values["tpot"]
    # Absolute times are near 1e5 s, where float64 steps by 1.5e-11 s; a few roundings separate the two sides.
    assert np.abs(exact - values["e2el"]).max() < 1e-10
    textbook = values["ttft"] + n * values["tpot"]
    assert np.abs(textbook - values["e2el"] - values["tpot"]).max() < 1e-10
    parts = values["admission"] + values["queue"] + values["prefill"] + values["transfer"]
    assert np.abs(parts - values["ttft"]).max() < 1e-10


def test_one_token_has_no_tpot_and_meets_its_target():
    rows = ROWS[(ROWS["ending"] == COMPLETED) & (ROWS["arrived_s"] >= 0)][:100].copy()
    rows["output_tokens"] = 1
    rows["end_s"] = rows["first_token_s"]
    collector = collect(rows)
    assert collector.histograms[:, METRICS.index("tpot")].sum() == 0
    met_tpot = [way for way in range(8) if way >> SLO_PARTS.index("tpot") & 1]
    assert collector.num_met[:, met_tpot].sum() == len(rows)


def test_no_rows_are_no_requests():
    collector = Collector(GROUPS, bits, num_hours=24)
    collector.add(np.zeros(0, DONE))
    rows, weight, kept = collector.sample()
    assert len(rows) == len(weight) == len(kept) == collector.num_requests.sum() == 0


def key(rows):
    return set(zip(rows["user"].tolist(), rows["conversation"].tolist(), rows["turn"].tolist(), strict=True))


def test_a_small_run_is_kept_whole(collector):
    rows, weight, _ = collector.sample()
    assert key(rows) == key(measured(ROWS))
    assert (weight == 1.0).all()


def test_the_slowest_and_all_that_did_not_complete_are_kept():
    rows, weight, kept = collect(ROWS, size=SampleSize(500, 100_000, 200)).sample()
    all_rows = measured(ROWS)
    completed = all_rows[all_rows["ending"] == COMPLETED]
    slowest = completed[np.argsort(completed["arrived_s"] - completed["end_s"], kind="stable")[:200]]
    assert key(rows[kept == KEPT.index("slowest")]) == key(slowest)
    assert key(rows[kept == KEPT.index("not_completed")]) == key(all_rows[all_rows["ending"] != COMPLETED])
    assert (weight[kept != KEPT.index("sample")] == 1.0).all()
    assert (kept == KEPT.index("sample")).sum() <= 500
    assert len(key(rows)) == len(rows)


def test_a_flood_of_endings_stays_bounded_and_its_weights_say_how_large_it_was():
    flood = done(20_000, seed=3, completed_frac=0.0)
    rows, weight, _ = collect(flood, size=SampleSize(500, 1000, 50)).sample()
    assert len(rows) <= 1000
    for ending in range(1, len(ENDINGS)):
        assert weight[rows["ending"] == ending].sum() == pytest.approx((measured(flood)["ending"] == ending).sum())


def test_weights_add_up_to_the_requests_of_every_tier_and_language():
    rows, weight, _ = collect(ROWS, size=SampleSize(400, 300, 100)).sample()
    all_rows = measured(ROWS)
    assert len(rows) < len(all_rows) / 10
    tier = GROUPS.tier_of_class
    for t in range(len(GROUPS.tiers)):
        for language in range(len(GROUPS.languages)):
            found = (tier[rows["class_id"]] == t) & (rows["language"] == language)
            truth = (tier[all_rows["class_id"]] == t) & (all_rows["language"] == language)
            assert weight[found].sum() == pytest.approx(truth.sum())


def test_estimates_from_the_sample_are_unbiased():
    all_rows = measured(ROWS)
    completed = all_rows[all_rows["ending"] == COMPLETED]
    truth = completed["output_tokens"].sum()
    estimates = []
    for seed in range(60):
        keyed = lambda user, conversation, turn, seed=seed: bits(user, conversation, turn + np.uint64(seed << 20))  # noqa: E731
        collector = Collector(GROUPS, keyed, num_hours=24, size=SampleSize(400, 300, 100))
        collector.add(ROWS)
        rows, weight, _ = collector.sample()
        found = rows["ending"] == COMPLETED
        estimates.append((weight[found] * rows["output_tokens"][found]).sum())
    error = np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 4 * error
    assert error < 0.01 * truth
