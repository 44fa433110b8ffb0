"""The catalogue's workloads, curves and percentile tables: complete, justified, and equal to their sources."""

import csv
import json
import re
import runpy

import numpy as np
import pytest

from sim import catalog
from sim.errors import SpecError
from sim.spec import Tier
from sim.spec.workload import read_curves, read_percentile_tables
from sim.traffic import build
from sim.traffic.arrivals import ARRIVAL
from sim.traffic.classes import class_of, workload_tables
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import lookup, table_mean, tokens
from sim.traffic.rows import fill

WORKLOADS = [
    "api-service",
    "batch-generation",
    "code-completion",
    "coding-agent",
    "image-understanding",
    "interactive-chat",
    "reasoning-chat",
    "retrieval-augmented",
    "science-assistant",
    "summarisation",
    "voice",
]
# What a reason names: where a number was measured or published, or that it was not.
SOURCE = re.compile("assumed|measured|arxiv|trace|servegen|wildchat|nber|azure|never used", re.IGNORECASE)
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
    "mooncake-conversation-first-input": "mooncake_conversation_first_turn_input",
    "arxiv-summarization-input": "arxiv_summarization_input",
    "arxiv-summarization-output": "arxiv_summarization_output",
}
# Histograms of the study that the committed tables were read off.
POOLS = {
    "servegen-r1-output": ("reason_deepseek-r1", "output_tokens"),
    "servegen-image-text": ("multimodal_mm-image", "text_tokens"),
    "servegen-image-number": ("multimodal_mm-image", "image_count"),
    "servegen-image-tokens": ("multimodal_mm-image", "image_tokens"),
    "servegen-image-output": ("multimodal_mm-image", "output_tokens"),
}
CODING_AGENTS = """
    Anthropic/claude-code/claude-code-opus-5 Cursor/cursor Google/antigravity-cli Google/gemini-cli Google/jules
    Meta/muse-code Microsoft/copilot-cli Microsoft/github-copilot Microsoft/vscode-copilot-agent Misc/amp-code
    Misc/commandcode-cli Misc/devin-cli Misc/opencode Misc/warp-2.0-agent Misc/zed Mistral/mistral-code
    OpenAI/Codex/gpt-5.6 xAI/grok-build
"""
SEARCHES = """
    Google/google-search-ai-mode Google/notebooklm-chat Misc/brave-search Misc/kagi-assistant Misc/reddit-answers
    Misc/stack-overflow-ai-assist Perplexity/perplexity-ai
"""
VOICES = """
    Anthropic/claude-voice-mode Misc/elevenlabs-voice-agent Misc/sesame-ai-maya
    OpenAI/Codex/codex-desktop-realtime-voice-agent OpenAI/gpt-4o-advanced-voice-mode OpenAI/gpt-4o-legacy-voice-mode
    Perplexity/voice-assistant
"""
TOOLS = "OpenAI/Old/tool-python-code OpenAI/Old/tool-web-search OpenAI/Old/tool-file_search"


@pytest.fixture(scope="module")
def tables():
    ((text, shown),) = catalog.read_all("workloads/_percentiles.yaml")
    return read_percentile_tables(text, shown)


@pytest.fixture(scope="module")
def curves():
    ((text, shown),) = catalog.read_all("workloads/_curves.yaml")
    return read_curves(text, shown)


def test_the_catalogue_lists_them():
    assert list(catalog.list_entries("workloads")) == WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_number_is_justified_and_explained(name, repository):
    workload = catalog.load_workload(name)
    assert workload.name == name
    fields = type(workload).model_fields
    quantities = {field for field in fields if f"{field}_justification" in fields}
    given = {field for field in quantities if getattr(workload, field) != fields[field].default}
    readme = (repository / "workloads" / name / "README.md").read_text()
    assert readme.startswith(f"# {name}\n")
    assert [part.split("\n")[0] for part in readme.split("\n## ")[1:]] == [
        "Use case and distributions",
        "In numbers",
        "Reference datasets",
        "System impact",
    ]
    for field in given:
        reason = getattr(workload, f"{field}_justification")
        assert field == "multi_turn" or SOURCE.search(reason), (field, reason)
        assert f"| `{field}` |" in readme
        assert " ".join(reason.split()) in readme
    found = workload_tables(workload)
    tables = {"user_tokens", "output_tokens", "gap_s", "turns"}
    assert set(found) - {"first_user_tokens", "application_tokens"} == tables
    assert catalog.load_curve(workload.curve)


def test_the_pages_are_those_made_from_the_workloads(repository):
    made = runpy.run_path(str(repository / "docs/make_workload_reference.py"))
    advice = "run: python docs/make_workload_reference.py"
    assert (repository / "docs/workloads.md").read_text(encoding="utf-8") == made["page"](), advice
    for name in WORKLOADS:
        assert (repository / "workloads" / name / "README.md").read_text() == made["readme"](name), advice


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("max_context_tokens", [None, 32_768])
def test_conversations_cost_what_is_expected(name, max_context_tokens, expand, within):
    workload = catalog.load_workload(name)
    tables = workload_tables(workload)
    turns = tables.pop("turns")
    tier = Tier(system_prompt_tokens=1000, max_context_tokens=max_context_tokens)
    traffic_class = class_of(name, "any", tier, **tables, min_think_s=0.0, keep_history=workload.multi_turn)
    rows = np.zeros(40_000, dtype=ARRIVAL)
    rows["user"] = np.arange(len(rows))
    fill(rows, 8, turns, traffic_class)
    found = expand(rows, traffic_class, 8)
    prompt, output = conversation_tokens(traffic_class, turns)
    for values, expected in ((found.prompt_tokens, prompt), (found.output_tokens, output)):
        within(np.bincount(found.row, values) - expected, 0.0, name)


def test_people_with_single_turns_are_told_what_to_set(scenario):
    with pytest.raises(SpecError, match="code-completion has one turn a conversation; set turns_per_conversation to 1"):
        build(scenario(traffic__workload="code-completion"))
    build(scenario(traffic__workload="code-completion", traffic__turns_per_conversation=1))


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


def test_tables_of_pools_are_read_off_their_histograms(tables, shared):
    folder = shared / "data" / "traces"
    stats = json.loads((folder / "_stats" / "servegen_stats.json").read_text())
    for name, (service, field) in POOLS.items():
        with (folder / "servegen" / f"{service}_pooled_hist.csv").open() as file:
            bins = [(int(row["bin_upper_exclusive"]), float(row["prob"])) for row in csv.DictReader(file)
                    if row["field"] == field]  # fmt: skip
        ends, shares = np.array(bins).T
        edges = np.append(ends[0] - 1, ends) - 0.5
        done = np.append(0.0, np.cumsum(shares)) / shares.sum()
        points = tables[name].percentiles
        expected = np.maximum(np.interp(np.array(list(points)) / 100, done, edges), 0.0)
        assert list(points.values()) == pytest.approx(expected, rel=1e-4, abs=0.01)
        assert tables[name].mean == pytest.approx(stats[service]["fields"][field]["mean"], rel=1e-5)
        assert tables[name].num_values == round(stats[service]["mean_rps"] * 86400)


def test_system_prompts_are_the_medians_of_captures(shared):
    with (shared / "data" / "traces" / "_stats" / "sysprompt_lengths.csv").open() as file:
        lengths = {row["path"].removesuffix(".md"): int(row["o200k_tokens"]) for row in csv.DictReader(file)}
    for name, captures in (("coding-agent", CODING_AGENTS), ("retrieval-augmented", SEARCHES), ("voice", VOICES)):
        median = np.median([lengths[capture] for capture in captures.split()])
        assert catalog.load_workload(name).system_prompt == pytest.approx(median, abs=0.5)
    assert catalog.load_workload("science-assistant").tools == sum(lengths[tool] for tool in TOOLS.split())


def test_the_other_tables_are_those_of_the_agents_calls(tables, shared):
    sessions = {}
    with (shared / "data" / "traces" / "lmcache_agent_trace_derived" / "agent_calls.csv").open() as file:
        for row in csv.DictReader(file):
            sessions.setdefault((row["agent"], row["session"]), []).append(row)
    later = [(agent, row) for (agent, _), rows in sessions.items() for row in rows if int(row["call"]) > 0]
    shared_tokens = "prefix_shared_tokens_with_best_earlier_call"
    new = [int(row["input_tokens_o200k"]) - int(row[shared_tokens]) for agent, row in later if agent == "miniswe"]
    gaps = [float(row["gap_from_prev_call_s"]) for agent, row in later if agent == "magagent"]
    first = [int(rows[0]["input_tokens_o200k"]) for (agent, _), rows in sessions.items() if agent == "miniswe"]
    task = [length - min(first) for length in first]
    for name, values in (
        ("agent-miniswe-new-input", new),
        ("agent-magagent-gap-s", gaps),
        ("agent-miniswe-task", task),
    ):
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
    assert list(curves["servegen-mm-image"].hourly) == servegen["multimodal_mm-image"]["profile"]
    with (shared / "data" / "traces" / "burstgpt_derived" / "burstgpt1_hourly_avg.csv").open() as file:
        requests = [float(row["avg_requests_per_hour"]) for row in csv.DictReader(file)]
    assert curves["burstgpt"].hourly == pytest.approx(np.array(requests) / np.mean(requests), abs=0.006)


def test_every_curve_has_a_mean_of_one(curves):
    for name, curve in curves.items():
        assert np.mean(curve.hourly) == pytest.approx(1, abs=0.002), name
