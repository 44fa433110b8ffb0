"""``tokenfleet import``."""

import csv
import json
from pathlib import Path

DATA = Path(__file__).parents[1] / "calibrate" / "results" / "data"
SAID = ("--gpu", "h100-sxm-80gb", "--tp", "1", "--precision", "bf16", "--engine-version", "0.12.0")


def test_files_become_a_table(tokenfleet, tmp_path):
    done = tokenfleet("import", str(DATA / "vllm.json"), "--out", "own.csv", *SAID, "--notes", "--max-num-seqs 64")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == "own.csv: 17 rows at 1 loads: concurrency=16\n"
    with (tmp_path / "own.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["gpu"] for row in rows} == {"h100-sxm-80gb"}
    assert rows[0]["notes"] == "200 requests; --max-num-seqs 64"

    again = tokenfleet("import", str(DATA / "vllm.json"), "--out", "own.csv", *SAID)
    assert again.exit_code == 2
    assert "never overwritten" in again.stderr


def test_several_files_as_json(tokenfleet):
    files = (str(DATA / "vllm.json"), str(DATA / "sglang.jsonl"))
    done = tokenfleet("import", *files, *SAID, "--json")
    assert json.loads(done.stdout)["loads"] == [
        "concurrency=16",
        "rate=4 req/s",
        "concurrency=32",
        "inf rate (all 100 prompts at once)",
    ]


def test_what_is_missing_is_asked_for_at_once(tokenfleet, tmp_path):
    done = tokenfleet("import", str(DATA / "aiperf.csv"), "--engine", "vllm")
    assert done.exit_code == 2
    for option in ("--gpu", "--tensor-parallel-size", "--precision", "--engine-version", "--model", "--load"):
        assert f"Give {option}" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
