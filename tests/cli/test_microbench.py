"""``tokenfleet calibrate microbench`` and ``calibrate compare``."""

import json

import pytest

from sim.calibrate.microbench.folder import Writer
from sim.calibrate.microbench.plan import Device, plan
from sim.calibrate.microbench.points import MEASURED, Row, flops, moved_bytes


@pytest.fixture
def folder(tmp_path):
    """Measurements of a GPU as fast as its datasheet allows, less a third."""
    provenance = {"date": "2026-10-01", "gpu": "NVIDIA H200", "num_gpus": 1, "torch": "2.13.0"}
    points = plan(Device(141e9, ("bf16", "fp8"), 1), only=("gemm", "decode", "copy"))
    with Writer(tmp_path / "measured", provenance) as writer:
        for point in (point for section in points.values() for point in section):
            rate = {"bf16": 660e12, "fp8": 1320e12}[point.precision]
            now = 4e-6 + max(flops(point) / rate, moved_bytes(point) / 3.2e12)
            writer.write(Row(point, MEASURED, "played", median_s=now, iqr_s=0.0, min_s=now, num_samples=9))
    return tmp_path / "measured"


def test_a_folder_becomes_a_gpu_that_scenarios_can_name(tokenfleet, folder, tmp_path, monkeypatch):
    done = tokenfleet("calibrate", "microbench", str(folder), "--name", "mine", "--out", "own")
    assert done.exit_code == 0, done.stderr
    assert "gemm" in done.stdout
    assert "held out" in done.stdout
    assert "experts bf16" in done.stdout
    assert (tmp_path / "own" / "hardware_profiles" / "gpus" / "mine.yaml").is_file()
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path / "own"))
    compiled = tokenfleet("compile", "llama-3.1-8b", "mine", "--json")
    assert compiled.exit_code == 0, compiled.stderr
    assert json.loads(compiled.stdout)["calibration"]["status"] == "extrapolated"

    compared = tokenfleet("calibrate", "compare", str(folder), "vllm-mine", "--json")
    operators = json.loads(compared.stdout)["operators"]
    assert {(one["operator"], one["precision"]) for one in operators} == {
        ("gemm", "bf16"),
        ("gemm", "fp8"),
        ("decode_attention", "bf16"),
    }
    assert all(one["median_frac"] < 0.02 for one in operators)

    again = tokenfleet("calibrate", "microbench", str(folder), "--name", "mine", "--out", "own")
    assert again.exit_code == 2
    assert "already" in again.stderr


def test_a_comparison_for_people(tokenfleet, folder):
    done = tokenfleet("calibrate", "compare", str(folder), "vllm-h200-sxm-141gb")
    assert done.exit_code == 0, done.stderr
    assert "decode_attention" in done.stdout
    assert "farthest off" in done.stdout
    assert "bf16_flops_per_s: 6.5" in done.stdout


def test_scores_as_json(tokenfleet, folder):
    done = tokenfleet("calibrate", "microbench", str(folder), "--name", "mine", "--json")
    found = json.loads(done.stdout)
    assert len(found["files"]) == 5
    assert {score["operator"] for score in found["scores"]} == {"gemm", "decode attention"}
    assert "prefill_attention bf16" in found["kept"]


def test_unknown_kernels_and_folders_are_input_errors(tokenfleet, folder):
    assert tokenfleet("calibrate", "compare", str(folder), "vllm-nothing").exit_code == 2
    assert tokenfleet("calibrate", "compare", "nowhere", "vllm-h200-sxm-141gb").exit_code == 2
    assert tokenfleet("calibrate", "microbench", "nowhere").exit_code == 2
