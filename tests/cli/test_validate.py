"""``tokenfleet validate``."""

import csv
import json
from pathlib import Path

import pytest

import sim

ROWS = str(Path(__file__).parents[1] / "calibrate/serving/rows.csv")


def test_json_has_what_the_interface_promises(tokenfleet, tmp_path):
    out = tmp_path / "out.csv"
    done = tokenfleet("validate", ROWS, "--model", "llama-3-8b", "--json", "--out", str(out))
    assert done.exit_code == 0
    found = json.loads(done.stdout)
    assert (found["rows"], found["covered"]) == (17, 17)
    row = next(row for row in found["by"] if row["metric"] == "itl_mean")
    assert row["num_rows"] == 6
    assert {"gpu", "metric", "tier", "num_rows", "median_ape_frac", "p90_ape_frac", "median_signed_frac"} <= row.keys()
    assert found["not_covered"] == []
    assert done.stderr == f"Rows: {out}\n"
    with out.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert {"predicted", "ape_frac", "covered", "reason", "saturated"} <= written[0].keys()


def test_tables_and_the_figure(tokenfleet, tmp_path):
    plot = tmp_path / "plot.html"
    done = tokenfleet("validate", ROWS, "--source", "nim|somebody", "--plot", str(plot))
    assert done.exit_code == 0
    for title in (
        "Beds, mean and p50",
        "By GPU, metric and tier",
        "Rows not trusted",
        "Knees of sweeps",
        "Noise",
        "Calibrations",
    ):
        assert title in done.stdout
    assert "18 of 21 rows predicted" in done.stdout or "19 of 22 rows predicted" in done.stdout
    assert "no bed fits engine Triton" in done.stdout
    assert plot.read_text().startswith("<!doctype html>")


def test_the_scenario_of_a_row_runs(tokenfleet, tmp_path):
    done = tokenfleet("validate", ROWS, "--scenario", "4")
    assert done.exit_code == 0
    path = tmp_path / "row.yaml"
    path.write_text(done.stdout)
    scenario = sim.load(path)
    assert scenario.traffic.concurrency == 2
    assert tokenfleet("check", str(path)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.csv",), "none.csv  cannot be read: No such file or directory"),
        ((ROWS, "--gpu", "b200"), "no row of the table has gpu b200"),
        ((ROWS, "--scenario", "1000"), "the table has 40 rows, asked for row 1000"),
        ((ROWS, "--out", "nowhere/out.csv"), "no such folder: nowhere"),
        ((ROWS, "--plot", "."), "is a folder"),
    ],
)
def test_mistakes_are_told_in_a_line(tokenfleet, arguments, message):
    done = tokenfleet("validate", *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_no_table(tokenfleet, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    done = tokenfleet("validate", str(path))
    assert done.exit_code == 2
    assert "columns missing: source, date, engine" in done.stderr
