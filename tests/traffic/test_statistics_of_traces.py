"""Recorded traces: the statistics published of them, to the printed digits."""

import json

import pytest

from sim.traffic.statistics import Statistics, TraceView
from sim.traffic.traces import read_trace

TRACES = {
    "azure2023_conv": ("azure2023/AzureLLMInferenceTrace_conv.csv", "azure"),
    "azure2023_code": ("azure2023/AzureLLMInferenceTrace_code.csv", "azure"),
    "mooncake_conversation": ("mooncake/conversation_trace.jsonl", "mooncake"),
}


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "traces"


@pytest.fixture(scope="module", params=TRACES)
def trace(request, folder):
    """What we find of a trace, and what was found before."""
    file, trace_format = TRACES[request.param]
    statistics = Statistics(512)
    for seen in TraceView().seen(read_trace(folder / file, trace_format)):
        statistics.add(seen)
    published = json.loads((folder / "_stats" / "trace_stats.json").read_text())[request.param]
    return statistics.result(), published


def test_arrivals(trace):
    found, published = trace
    arrivals = published["arrivals"]
    assert found["num_requests"] == arrivals["n"]
    assert found["span_s"] == pytest.approx(arrivals["span_s"], abs=1e-6)
    assert found["rate_per_s"] == pytest.approx(arrivals["rate_rps"], rel=1e-8)
    assert found["arrivals"]["cv"] == pytest.approx(arrivals["iat_cv"], rel=1e-6)
    assert found["arrivals"]["equal_frac"] == pytest.approx(arrivals["zero_iat_frac"])
    assert found["arrivals"]["spacing"]["p99_s"] == pytest.approx(arrivals["iat_p99"], rel=1e-6)
    assert [round(cv, 3) for cv in found["arrivals"]["cv_by_10min"]] == arrivals["iat_cv_per_10min"]


def test_dispersion(trace):
    # Published with the last window, which the end of the trace cuts short: of 59 windows of a minute that one alone
    # makes 16.1 of the conversations a 20.6. `fano` leaves it out.
    found, published = trace
    by_window = {each["window_s"]: each for each in found["arrivals"]["by_window"]}
    for window_s in (1, 10, 60):
        assert by_window[window_s]["fano_with_last"] == pytest.approx(published["arrivals"][f"fano_{window_s}s"])
        peak = published["arrivals"][f"peak_to_mean_{window_s}s"]
        assert by_window[window_s]["peak_to_mean"] == pytest.approx(peak, rel=0.02)


def test_lengths(trace):
    found, published = trace
    for name, key in (("prompt_tokens", "input"), ("output_tokens", "output")):
        expected = published[key]
        assert found[name]["mean_tokens"] == pytest.approx(expected["mean"])
        assert found[name]["std_tokens"] == pytest.approx(expected["std"])
        assert found[name]["max_tokens"] == expected["max"]
        for share, value in expected["quant"].items():
            assert found[name][f"p{100 * float(share):g}_tokens"] == pytest.approx(value), share
    assert found["prompt_output"]["spearman"] == pytest.approx(published["corr"]["spearman"])


def test_reuse(trace, folder):
    found, published = trace
    if "prefix_hit_tokens_infinite" not in published:
        assert found["reuse"] is None
        return
    reuse = found["reuse"]
    extra = json.loads((folder / "_stats" / "mooncake_conversation_extra.json").read_text())
    assert reuse["unlimited"]["token_frac"] == pytest.approx(published["prefix_hit_tokens_infinite"])
    assert reuse["beyond_first_block_frac"] == pytest.approx(published["requests_with_hit_gt512"])
    assert reuse["num_distinct_blocks"] == published["unique_blocks"]
    for row in reuse["by_ttl"]:
        assert round(row["token_frac"], 4) == extra["ttl_hit"][f"{row['ttl_s']:g}"]
    # Published in blocks. Its cache uses a prompt's blocks in another order, which decides who is dropped first.
    lru = {512 * int(blocks): frac for blocks, frac in published["lru_hit_by_blocks"].items()}
    compared = [row for row in reuse["by_cache_size"] if row["cache_tokens"] in lru]
    assert len(compared) == 5
    for row in compared:
        assert row["block_frac"] == pytest.approx(lru[row["cache_tokens"]], abs=0.0006)


def test_sessions(trace, folder):
    found, published = trace
    if "sessions" not in published:
        assert found["sessions"] is None
        return
    sessions, expected = found["sessions"], published["sessions"]
    assert sessions["inferred"]
    assert sessions["num_sessions"] == expected["n"]
    assert sessions["mean_turns"] == pytest.approx(expected["turns_mean"])
    counts = sessions["num_by_turns"]
    assert [*counts[:9], sum(counts[9:])] == list(expected["turns_dist"].values())
    assert sessions["multi_turn_frac"] == pytest.approx(expected["multi_turn_frac"])
    assert sessions["multi_turn_request_frac"] == pytest.approx(expected["requests_in_multi"])
    for share, value in expected["inter_turn_gap_s"].items():
        assert found["gap"][f"p{100 * float(share):g}_s"] == pytest.approx(value, abs=1e-6)
    extra = json.loads((folder / "_stats" / "mooncake_conversation_extra.json").read_text())
    for name, key in (("first_prompt_tokens", "first"), ("later_prompt_tokens", "later")):
        for share, value in extra[key].items():
            # The published ones are rounded to a tenth.
            assert found[name][f"p{100 * float(share):g}_tokens"] == pytest.approx(value, abs=0.051), share
    # The published new tokens of a turn leave out the turns of 4,000 and more; of all, a tenth has over 5,000.
    assert extra["new_user_tokens"]["0.9"] < 1700
    assert found["new_tokens"]["p90_tokens"] > 5000
