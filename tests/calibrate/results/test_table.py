"""Files and what the user adds become rows of the table of serving measurements."""

from pathlib import Path

import pytest

from sim.calibrate.results.files import read_files
from sim.calibrate.results.table import COLUMNS, Conditions, import_results, rows, write_table
from sim.calibrate.serving.loads import read_load
from sim.calibrate.serving.notes import read_notes
from sim.calibrate.serving.rows import read_table
from sim.errors import SpecError

DATA = Path(__file__).parent / "data"
SAID = Conditions("vLLM", gpu="h100-sxm-80gb", tensor_parallel_size=1, version="0.12.0", precision="bf16")


def test_a_row_a_value():
    table = import_results([DATA / "vllm.json"], SAID)
    assert len(table) == 17
    assert table[0] == {
        "source": "own (vllm bench serve)",
        "date": "2026-03-14",
        "engine": "vLLM",
        "version": "0.12.0",
        "model": "meta-llama/Llama-3.1-8B-Instruct",
        "precision": "bf16",
        "gpu": "h100-sxm-80gb",
        "tp": "1",
        "pp": "1",
        "isl": "1024",
        "osl": "128",
        "concurrency_or_rate": "concurrency=16",
        "metric": "ttft_mean",
        "value": "150",
        "unit": "ms",
        "url_or_path": str(DATA / "vllm.json"),
        "notes": "200 requests",
        "tier": "A",
        "group_id": table[0]["group_id"],
    }
    units = {row["metric"]: row["unit"] for row in table}
    assert units["output_throughput"] == "tok/s"
    assert units["total_throughput"] == "tok/s (in+out)"
    assert units["request_throughput"] == "req/s"


def test_one_curve_has_one_group():
    conditions = Conditions(gpu="h100-sxm-80gb", precision="fp8")
    table = import_results([DATA / "sglang.jsonl"], conditions)
    assert len({row["concurrency_or_rate"] for row in table}) == 3
    assert len({row["group_id"] for row in table}) == 1
    other = import_results([DATA / "sglang.jsonl"], Conditions(gpu="h100-sxm-80gb", precision="bf16"))
    assert other[0]["group_id"] != table[0]["group_id"]


def test_all_that_is_missing_is_asked_for_at_once():
    with pytest.raises(SpecError) as raised:
        import_results([DATA / "aiperf.csv", DATA / "vllm.json"], Conditions(isl="300"))
    asked = {problem.file for problem in raised.value.problems}
    assert asked == {
        "--engine",
        "--engine-version",
        "--model",
        "--precision",
        "--gpu",
        "--tensor-parallel-size",
        "--load",
    }
    assert "aiperf.csv and 1 more does not say it" in str(raised.value)


def test_what_the_user_says_goes_first():
    said = Conditions("SGLang", "9", "m", "fp8", "g", 8, 2, "dist:chat", "7", "rate=3 req/s", "--max-num-seqs 64")
    row = rows(read_files([DATA / "vllm.json"]), said)[0]
    assert [row[name] for name in COLUMNS[2:12]] == [
        "SGLang",
        "9",
        "m",
        "fp8",
        "g",
        "8",
        "2",
        "dist:chat",
        "7",
        "rate=3 req/s",
    ]
    assert row["notes"] == "200 requests; --max-num-seqs 64"


def test_the_table_reads_back(tmp_path):
    table = import_results([DATA / "vllm.json", DATA / "sglang.jsonl"], SAID)
    write_table(table, tmp_path / "own.csv")
    found = read_table(tmp_path / "own.csv")
    assert list(found.rows) == table
    assert found.values[0] == 150.0
    with pytest.raises(SpecError, match="never overwritten"):
        write_table(table, tmp_path / "own.csv")


def test_a_load_is_understood_by_those_who_play_it():
    table = import_results([DATA / "guidellm.json", DATA / "sglang.jsonl"], SAID)
    loads = [read_load(row["concurrency_or_rate"]) for row in table]
    assert None not in loads
    assert {load.kind for load in loads} == {"closed_loop", "open_loop", "all_at_once"}
    assert {read_notes(row["notes"]).num_requests for row in table} == {100, 120}
