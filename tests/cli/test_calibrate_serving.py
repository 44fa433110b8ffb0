"""``tokenfleet calibrate serving``."""

import csv
import json

import pytest

import sim
from sim.calibrate.serving.play import play
from sim.calibrate.serving.rows import COLUMNS, Point
from sim.cost.calibration import load_engine
from sim.spec.engine import EngineSpec

ROW = {
    "source": "mine", "date": "2026", "engine": "vLLM", "version": "0.15.1", "model": "Llama-3.2-1B",
    "precision": "bf16", "gpu": "H100-SXM-80GB", "tp": "1", "pp": "1", "isl": "256", "osl": "16", "notes": "",
    "tier": "A",
}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    """Two curves of two points, played with an engine whose steps take 0.5 ms more of the host."""
    base = load_engine("vllm", "h100-sxm-80gb")
    slower = base.with_values({"step_s": base.step_s + 5e-4})
    path = tmp_path / "own.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for curve, isl in (("a", "256"), ("b", "1024")):
            for users in (1, 4):
                row = ROW | {"isl": isl, "group_id": curve}
                predicted = play(Point(**row, load=f"concurrency={users}"), slower).predicted
                for metric in ("ttft_mean", "tpot_mean"):
                    told = {"metric": metric, "value": str(predicted[metric]), "unit": "ms"}
                    writer.writerow(row | {"concurrency_or_rate": f"concurrency={users}"} | told)
    return str(path)


def test_an_engine_of_ones_own(tokenfleet, table, tmp_path, monkeypatch):
    options = ("--name", "mine", "--like", "vllm-h100-sxm-80gb", "--out", "catalog", "--json")
    done = tokenfleet("calibrate", "serving", table, *options)
    assert done.exit_code == 0, done.stderr
    (found,) = json.loads(done.stdout)["engines"]
    assert found["entry"] == found["name"] == "mine-h100-sxm-80gb"
    assert (found["evidence"]["num_curves"], found["evidence"]["num_points"]) == (2, 4)
    assert found["errors"]["tpot"]["median_frac"] < 0.05
    assert found["step_s"] > load_engine("vllm", "h100-sxm-80gb").step_s
    assert "fitted: mine-h100-sxm-80gb" in done.stderr
    written = tmp_path / "catalog/hardware_profiles/engines/mine-h100-sxm-80gb.yaml"
    assert EngineSpec.from_yaml(written.read_text()).step_s == found["step_s"]
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", "catalog")
    profile = sim.cost.compile("llama-3.2-1b", "h100-sxm-80gb", engine="mine")
    assert profile.calibration.grade == "thin"
    assert profile.calibration.num_curves == 2


def test_tables_for_people(tokenfleet, table):
    done = tokenfleet("calibrate", "serving", table, "--name", "mine", "--like", "vllm-h100-sxm-80gb")
    assert done.exit_code == 0, done.stderr
    for text in ("Errors, median / 90th percentile", "held out", "thin", "mine-h100-sxm-80gb: coefficients", "step_s"):
        assert text in done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--name", "mine"), "--name and --like go together"),
        (("--like", "vllm-h100-sxm-80gb"), "--name and --like go together"),
        (("--name", "mine", "--like", "vllm-b300"), "vllm-b300 is no entry of an engine"),
        (("--name", "mine", "--like", "vllm-a100-sxm-80gb"), "no row was measured on a100-sxm-80gb"),
        (("--recipe", "nim"), "no recipe of that name: nim"),
        (("--recipe", "nim-h100-sxm-80gb"), "no measurement belongs to nim-h100-sxm-80gb"),
        (("--processes", "0"), "--processes"),
    ],
)
def test_mistakes_exit_with_2(tokenfleet, table, options, message):
    done = tokenfleet("calibrate", "serving", table, *options)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_is_not_there(tokenfleet):
    done = tokenfleet("calibrate", "serving", "none.csv")
    assert done.exit_code == 2
    assert "none.csv  cannot be read: No such file or directory" in done.stderr
