import dataclasses
import io

import pytest
from rich.console import Console
from synthetic import finished

from sim.report.terminal import render_result

LABELS = [
    "Serving Benchmark Result",
    "Successful requests:",
    "Benchmark duration (s):",
    "Total input tokens:",
    "Total generated tokens:",
    "Request throughput (req/s):",
    "Request goodput (req/s):",
    "Output token throughput (tok/s):",
    "Peak output token throughput (tok/s):",
    "Peak concurrent requests:",
    "Total token throughput (tok/s):",
    "Time to First Token",
    "Mean TTFT (ms):",
    "Median TTFT (ms):",
    "P99 TTFT (ms):",
    "Time per Output Token (excl. 1st token)",
    "Inter-token Latency",
    "P99 ITL (ms):",
    "End-to-end Latency",
    "Mean E2EL (ms):",
]


def printed(run, **info):
    text = io.StringIO()
    Console(file=text, width=120).print(render_result(run.result, {**run.info, **info}))
    return text.getvalue()


@pytest.fixture(scope="module")
def run():
    return finished(8000)[0]


def test_the_labels_are_vllms_in_its_order(run):
    text = printed(run)
    places = [text.index(label) for label in LABELS]
    assert places == sorted(places)


def test_values_stand_at_vllms_column(run):
    line = next(line for line in printed(run).splitlines() if line.startswith("P99 TTFT (ms):"))
    assert float(line[41:]) == pytest.approx(run.result["p99_ttft_ms"], abs=0.005)


def test_tiers_verdict_and_cost_follow(run):
    text = printed(run)
    assert "Stable" in text
    assert all(tier in text for tier in run.tiers)
    assert "per 1M output tokens" in text
    assert "simulated in 12.3 s" in text


def test_warnings_stand_under_the_verdict_and_the_cost(run):
    far = {"main": {"status": "extrapolated", "notes": ["tp 16 was not measured."]}}
    text = printed(dataclasses.replace(run, result={**run.result, "sim": {**run.result["sim"], "calibration": far}}))
    order = [text.index(part) for part in ("Stable", "Not answered: ", "By tier", "Cost: ", "Extrapolated: pool main")]
    assert order == sorted(order)
    assert "Extrapolated" not in printed(run)


def test_what_senders_did_about_failures_is_told(run):
    assert "tried" not in printed(run)
    tiers = {name: {**found, "num_retries": 3, "num_left": 2} for name, found in run.result["sim"]["by_tier"].items()}
    text = printed(dataclasses.replace(run, result={**run.result, "sim": {**run.result["sim"], "by_tier": tiers}}))
    assert f"tried {3 * len(tiers)} times again, and left {2 * len(tiers)} conversations." in text


def test_languages_stand_below_one_another_where_there_are_several(run):
    text = io.StringIO()
    Console(file=text, width=80).print(render_result(run.result, run.info))
    told = text.getvalue().partition("By language")[2]
    for name, found in run.result["sim"]["by_language"].items():
        line = next(line for line in told.splitlines() if line.split()[:1] == [name])
        assert f"{found['num_requests']:,}" in line
    assert "\N{HORIZONTAL ELLIPSIS}" not in told
    one = dict([next(iter(run.result["sim"]["by_language"].items()))])
    alone = dataclasses.replace(run, result={**run.result, "sim": {**run.result["sim"], "by_language": one}})
    assert "By language" not in printed(alone)


def test_markup_in_names_is_not_obeyed(run):
    tiers = {"[red]free[/red]": run.result["sim"]["by_tier"]["free"]}
    named = {**run.result, "sim": {**run.result["sim"], "by_tier": tiers}}
    text = io.StringIO()
    Console(file=text, width=120).print(render_result(named, {}))
    assert "[red]free[/red]" in text.getvalue()


def test_a_run_without_requests_or_information_prints():
    run, _ = finished(0)
    text = io.StringIO()
    Console(file=text, width=120).print(render_result(run.result, {}))
    assert "Successful requests:                     0" in text.getvalue()


def test_short_queues_of_people_who_gave_up_are_no_stability(run):
    found = {**run.result["sim"]["saturation"], "margin_frac": -0.296}
    text = printed(dataclasses.replace(run, result={**run.result, "sim": {**run.result["sim"], "saturation": found}}))
    assert "Stable" not in text
    assert "BEYOND CAPACITY: queues stayed short only because requests gave up or were turned away" in text
    assert "Estimated margin there: -29.6 %" in text
