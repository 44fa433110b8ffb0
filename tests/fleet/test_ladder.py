"""The scenario `ladder`: what each rung is worth, against what is published and against what physics allows.

docs/ladder.md says where the bounds come from; its figures are those of this very run.
"""

import re

import pytest

import sim
from sim import catalog
from sim.fleet.build import build
from sim.report import text
from sim.spec.hardware import GpuSpec
from sim.study.ladder import climb, load_rungs, table

WORTH = {
    # rung: least and most times the throughput of the rung compared with
    "static-batching": (10, 150),  # at most the size of the batch
    "continuous-batching": (2, 6),  # Anyscale 2023: 8 / 4 without paging, 23 / 4 with
    "contiguous-kv": (10, 1000),  # at most the tokens of a context
    "paged-kv": (1.2, 4),  # arXiv:2309.06180: 2 to 4, with a cache four times as large a token
    "flash-attention": (1.0, 1.2),  # docs/validation.md: 1.05 of a prefill of 512 tokens
    "prompt-caching": (1.05, 6.4),  # arXiv:2312.07104
    "weights-8-bit": (1.05, 1.6),  # documentation of vLLM
    "weights-4-bit": (1.0, 2.8),  # arXiv:2408.11743
    "kv-8-bit": (1.05, 1.54),  # Adlik's vLLM
    "gqa": (1.5, 4),  # at most as many times as the cache is smaller
    "mqa": (1.05, 8),
    "mla": (1.05, 4096 / 1152),
}


@pytest.fixture(scope="module")
def climbed():
    """Every rung, played."""
    return list(climb(catalog.load("ladder").ladder, load_rungs("ladder"), lambda _, scenario: sim.run(scenario)))


@pytest.fixture(scope="module")
def rows(climbed):
    """The table by rung."""
    return {row["rung"]: row for row in table(climbed)}


@pytest.fixture(scope="module")
def gpu() -> GpuSpec:
    """What every rung runs on."""
    return catalog.load_gpu("h100-sxm-80gb")


@pytest.mark.parametrize("rung", WORTH)
def test_a_rung_is_worth_what_is_known_of_it(rows, rung):
    low, high = WORTH[rung]
    assert low < rows[rung]["output_throughput_factor"] < high


def test_speculation_gains_less_than_at_a_quarter_of_the_batch(rows):
    factor = rows["speculation"]["output_throughput_factor"]
    assert 1.0 < factor < 1.38  # arXiv:2503.01840: 1.38 at 64 sequences


def test_every_rung_is_compared_or_begins_a_part(rows):
    compared = {name for name, row in rows.items() if row["against"] is not None}
    assert compared == {*WORTH, "speculation"}
    assert all(rows[name]["expected"] for name in compared)


def test_all_rungs_answer_the_same_requests(climbed):
    results = [one.run.result for one in climbed if one.run is not None]
    assert len(results) >= len(climbed) - 1
    totals = {(r["completed"], r["total_input_tokens"], r["total_output_tokens"]) for r in results}
    assert len(totals) == 1
    assert totals.pop()[0] == 256 * 40


def test_on_the_same_gpu_a_token_costs_as_much_less_as_there_are_more(rows):
    for row in rows.values():
        if row["output_throughput_factor"] is not None:
            worth = row["output_throughput_factor"] * row["usd_per_1m_output_tokens_factor"]
            assert worth == pytest.approx(1, rel=1e-9)


def test_one_at_a_time_is_bound_by_reading_the_weights(rows, gpu):
    weights = sim.compile("llama-3.1-8b", gpu).weights_bytes_per_gpu
    most = gpu.memory_bandwidth_bytes_per_s / weights
    assert 0.5 * most < rows["no-batching"]["output_throughput"] < most
    assert rows["no-batching"]["running_mean"] == pytest.approx(1, abs=0.01)


def test_without_a_cache_a_token_costs_its_whole_context(climbed, rows, gpu):
    run = next(one.run for one in climbed if one.rung.override == "no-kv-cache")
    profile = sim.compile("llama-3.1-8b", gpu)
    tokens = run.result["total_input_tokens"] / run.result["completed"]  # the answer so far comes on top
    most = gpu.bf16_flops_per_s / (2 * profile.num_active_parameters * tokens)
    assert 0.2 * most < rows["no-kv-cache"]["output_throughput"] < most


def test_what_a_contiguous_cache_holds_is_what_runs(rows):
    """8,192 tokens reserved are 1 GiB; the paged cache holds all 256."""
    (pool,) = build(catalog.load("ladder", override=["contiguous-kv"])).world.pools
    assert 0.97 < rows["contiguous-kv"]["running_mean"] / (pool.num_gpu_blocks - 1) <= 1
    assert rows["paged-kv"]["running_mean"] > 4 * rows["contiguous-kv"]["running_mean"]
    assert rows["paged-kv"]["median_ttft_ms_factor"] < 0.02  # nobody waits for a place


def test_prompt_caching_brings_the_first_token_forward(rows):
    assert rows["prompt-caching"]["median_ttft_ms_factor"] < 0.9
    assert rows["prompt-caching"]["p99_itl_ms"] < 0.7 * rows["no-prompt-caching"]["p99_itl_ms"]


def test_the_smaller_the_cache_the_faster(rows):
    by_size = ["mha", "gqa", "mla", "mqa"]  # 16,384, 4,096, 1,152 and 512 B a layer and token
    throughput = [rows[name]["output_throughput"] for name in by_size]
    assert throughput == sorted(throughput)


def test_at_large_batches_fewer_operations_beat_fewer_bytes(rows):
    assert rows["weights-4-bit"]["output_throughput"] < rows["weights-8-bit"]["output_throughput"]


def test_a_rung_that_does_not_fit_says_so():
    """64 KV heads of 70B on the one GPU: 141 GB of weights."""
    ladder = catalog.load("ladder").ladder
    rungs = load_rungs("ladder", ["traffic.requests_per_user=1", "traffic.concurrency=4"])
    rungs["mha"] = rungs["mha"].replace("model", "llama-3.1-70b, 64 KV heads")
    found = {row["rung"]: row for row in table(list(climb(ladder, rungs, lambda _, scenario: sim.run(scenario))))}
    assert "does not fit 1 x h100-sxm-80gb" in found["mha"]["problem"]
    assert found["gqa"]["output_throughput"] > 0
    assert found["gqa"]["output_throughput_factor"] is None


def test_the_page_has_these_figures(rows, repository):
    page = (repository / "docs" / "ladder.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([\w-]+)` \|(.*)\|$", page, re.MULTILINE)
    assert {name for name, _ in found} == set(rows)
    for name, cells in found:
        row = rows[name]
        shown = [cell.strip() for cell in cells.split("|")]
        if row["problem"] is None:
            assert shown[1:] == [
                text.number(row["output_throughput"]),
                text.number(row["output_throughput_factor"]),
                *(text.millis(row[key]) for key in ("median_ttft_ms", "median_itl_ms", "p99_itl_ms")),
                text.number(row["usd_per_1m_output_tokens"]),
            ], name
