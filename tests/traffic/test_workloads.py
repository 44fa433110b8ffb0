"""The catalogue's workloads, curves and percentile tables: complete, justified, and equal to their sources."""

import csv
import json

import numpy as np
import pytest

from sim import catalog
from sim.spec.workload import read_curves, read_percentile_tables
from sim.traffic.classes import workload_tables
from sim.traffic.lengths import lookup, table_mean, tokens

WORKLOADS = ["api-service", "coding-agent", "interactive-chat"]
# Series of the study that the committed tables were cut from.
SERIES = {
    "azure-2023-conv-input": "azure2023_conv_input",
    "azure-2023-conv-output": "azure2023_conv_output",
    "azure-2023-code-input": "azure2023_code_input",
    "azure-2023-code-output": "azure2023_code_output",
    "mooncake-conversation-input": "mooncake_conversation_input",
    "mooncake-conversation-output": "mooncake_conversation_output",
    "mooncake-conversation-new-input": "mooncake_conversation_new_user_tokens_per_turn",
    "agent-miniswe-output": "agent_miniswe_output",
}


@pytest.fixture(scope="module")
def tables():
    ((text, shown),) = catalog.read_all("workloads/_percentiles.yaml")
    return read_percentile_tables(text, shown)


@pytest.fixture(scope="module")
def curves():
    ((text, shown),) = catalog.read_all("workloads/_curves.yaml")
    return read_curves(text, shown)


def test_the_catalogue_lists_them():
    assert set(WORKLOADS) <= set(catalog.list_entries("workloads"))


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_number_is_justified_and_explained(name, repository):
    workload = catalog.load_workload(name)
    assert workload.name == name
    fields = type(workload).model_fields
    numbers = {field for field in fields if f"{field}_justification" in fields}
    given = {field for field in numbers if getattr(workload, field) != fields[field].default}
    assert all(getattr(workload, f"{field}_justification") for field in given)
    assert (repository / "workloads" / name / "README.md").read_text().startswith(f"# {name}\n")
    found = workload_tables(workload)
    assert set(found) - {"first_user_tokens"} == {
        "user_tokens",
        "output_tokens",
        "gap_s",
        "turns",
        "application_tokens",
    }
    assert catalog.load_curve(workload.curve)


def test_the_chat_is_as_planned():
    found = workload_tables(catalog.load_workload("interactive-chat"))
    assert table_mean(found["output_tokens"]) == pytest.approx(340, rel=0.02)
    assert table_mean(found["turns"]) == pytest.approx(2.52, abs=0.01)
    # WildChat: P(turns >= 2, 3, 5, 10), 99th percentile 13.
    u = (np.arange(100_000) + 0.5) / 100_000
    turns = tokens(found["turns"], u)
    assert [(turns >= n).mean() for n in (2, 3, 5, 10)] == pytest.approx([0.421, 0.262, 0.124, 0.027], abs=0.001)
    assert np.quantile(turns, 0.99) in (13, 14)
    ln_gap = np.log(lookup(found["gap_s"], u))
    assert np.median(ln_gap) == pytest.approx(4.88, abs=0.005)
    assert np.diff(np.quantile(ln_gap, [0.1587, 0.8413])) / 2 == pytest.approx(0.98, abs=0.005)


def test_percentile_tables_are_those_of_the_measurements(tables, shared):
    with (shared / "data" / "traces" / "_stats" / "percentile_tables.csv").open() as file:
        measured = {row["series"]: row for row in csv.DictReader(file)}
    for name, series in SERIES.items():
        row, table = measured[series], tables[name]
        assert table.num_values == int(row["n"])
        assert table.mean == pytest.approx(float(row["mean"]), rel=1e-4)
        for point, value in table.percentiles.items():
            assert value == pytest.approx(float(row[f"p{point:g}"]), rel=1e-4, abs=0.01), (name, point)


def test_the_other_tables_are_those_of_the_agents_calls(tables, shared):
    sessions = {}
    with (shared / "data" / "traces" / "lmcache_agent_trace_derived" / "agent_calls.csv").open() as file:
        for row in csv.DictReader(file):
            sessions.setdefault((row["agent"], row["session"]), []).append(row)
    later = [(agent, row) for (agent, _), rows in sessions.items() for row in rows if int(row["call"]) > 0]
    shared_tokens = "prefix_shared_tokens_with_best_earlier_call"
    new = [int(row["input_tokens_o200k"]) - int(row[shared_tokens]) for agent, row in later if agent == "miniswe"]
    gaps = [float(row["gap_from_prev_call_s"]) for agent, row in later if agent == "magagent"]
    for name, values in (("agent-miniswe-new-input", new), ("agent-magagent-gap-s", gaps)):
        points = tables[name].percentiles
        assert list(points.values()) == pytest.approx(np.percentile(values, list(points)), rel=1e-3, abs=0.01)
        assert tables[name].num_values == len(values)
    calls = [len(rows) for (agent, _), rows in sessions.items() if agent == "miniswe"]
    turns = catalog.load_workload("coding-agent").number_of_turns
    assert (turns.mean, turns.standard_deviation) == pytest.approx((np.mean(calls), np.std(calls)), rel=0.01)


def test_curves_are_those_of_the_measurements(curves, shared):
    stats = shared / "data" / "traces" / "_stats"
    week = json.loads((stats / "azure_week_stats.json").read_text())["stats"]
    servegen = json.loads((stats / "servegen_stats.json").read_text())
    for service in ("conv", "code"):
        for name, kind in (
            ("", "weekday_profile_over_weekday_mean"),
            ("-weekend", "weekend_profile_over_weekend_mean"),
        ):
            assert list(curves[f"azure-{service}-2024{name}"].hourly) == week[service][kind]
    for size in ("large", "small"):
        assert list(curves[f"servegen-m-{size}"].hourly) == servegen[f"language_m-{size}"]["profile"]
    with (shared / "data" / "traces" / "burstgpt_derived" / "burstgpt1_hourly_avg.csv").open() as file:
        requests = [float(row["avg_requests_per_hour"]) for row in csv.DictReader(file)]
    assert curves["burstgpt"].hourly == pytest.approx(np.array(requests) / np.mean(requests), abs=0.006)


def test_every_curve_has_a_mean_of_one(curves):
    for name, curve in curves.items():
        assert np.mean(curve.hourly) == pytest.approx(1, abs=0.002), name
