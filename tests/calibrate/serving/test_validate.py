"""A whole table: coverage, what is written, the choice of rows."""

import csv
from pathlib import Path

import pytest

from sim.calibrate.serving import validate as module
from sim.calibrate.serving.rows import read_table
from sim.calibrate.serving.validate import chosen, scenario_of_row, validate
from sim.errors import SpecError

PUBLIC = Path(__file__).parents[4] / "shared/data/measured/serving_public.csv"


@pytest.fixture(scope="module")
def validation():
    return validate(read_table(Path(__file__).parent / "rows.csv"), processes=1)


def test_coverage(validation):
    found = validation.summary
    assert (found["rows"], found["covered"], found["known_rows"]) == (40, 36, 39)
    assert found["covered_known_frac"] == pytest.approx(36 / 39)
    reasons = {row["reason"].split(":")[0]: row["num_rows"] for row in found["not_covered"]}
    assert reasons == {
        "nvidia/NVIDIA-Nemotron-Nano-9B-v2 is not covered": 1,
        "no bed fits engine Triton": 1,
        "load of unknown form": 1,
        "metric mystery is not one that a run gives": 1,
    }


def test_sections(validation):
    found = validation.summary
    assert {(row["gpu"], row["metric"], row["tier"]) for row in found["by"]} >= {
        ("H100-SXM-80GB", "ttft_mean", "A"), ("A100-SXM-80GB", "gpu_peak_memory", "C"),
    }  # fmt: skip
    assert [(row["metric"], row["num_rows"]) for row in found["by_distrusted"]] == [("ttft_mean", 2)]
    assert found["by_saturated"] == []
    assert found["knees"] == [
        {"bed": "nim", "gpu": "H100-SXM-80GB", "num_sweeps": 1, "within_one_step": 1, "worst_steps_off": 0}
    ]
    assert {(row["bed"], row["quantity"], row["num_pairs"]) for row in found["noise"]} == {
        ("nim", "throughput", 1), ("nim", "tpot", 1), ("nim", "ttft", 1),
    }  # fmt: skip
    entries = {row["entry"]: row for row in found["engines"]}
    assert {name: entries[name]["num_rows"] for name in ("nim-h100-sxm-80gb", "trtllm-1.0-h100-sxm-80gb")} == {
        "nim-h100-sxm-80gb": 17, "trtllm-1.0-h100-sxm-80gb": 1,
    }  # fmt: skip
    assert {"version", "date", "driver", "gpu", "grade"} <= entries["nim-h100-sxm-80gb"].keys()


def test_scores_are_near_on_ground_that_is_known(validation):
    """The made-up rows lie near what was measured there, so a mistake of units or kinds would show."""
    scores = {(row["bed"], row["quantity"]): row for row in validation.summary["by_bed"] if row["tier"] == "A"}
    for place in (("nim", "tpot"), ("nim", "throughput"), ("nim", "ttft"), ("blis", "tpot"), ("dynamo", "tpot")):
        assert scores[place]["median_ape_frac"] < 0.4, place


def test_what_is_written(validation, tmp_path):
    path = tmp_path / "out.csv"
    validation.write(path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with (Path(__file__).parent / "rows.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    first = rows[0]
    error = abs(float(first["predicted"]) / float(first["value"]) - 1.0)
    assert float(first["ape_frac"]) == pytest.approx(error, rel=1e-4)
    assert (first["covered"], first["saturated"], first["predicted_cv"], first["bed"]) == ("true", "false", "", "nim")
    last = next(row for row in rows if row["engine"] == "Triton")
    assert (last["covered"], last["predicted"], last["ape_frac"]) == ("false", "", "")
    assert last["reason"] == "no bed fits engine Triton"


def test_several_processes_say_the_same(validation, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 5)
    monkeypatch.setattr(module, "FEWEST_FOR_PROCESSES", 2)
    counts = []
    other = validate(validation.table, processes=2, progress=lambda done, total: counts.append((done, total)))
    assert other.outcomes == validation.outcomes
    assert counts[-1] == (len(validation.points), len(validation.points))


def test_chosen_rows(table):
    few = chosen(table, {"gpu": "a100|h200", "tier": "^C$"})
    assert {row["gpu"] for row in few.rows} == {"A100-SXM-80GB"}
    assert len(few.values) == len(few.rows) == 3
    with pytest.raises(SpecError, match="no row of the table has model gpt-5"):
        chosen(table, {"model": "gpt-5"})
    with pytest.raises(SpecError, match="not a regular expression: '\\('"):
        chosen(table, {"model": "("})


def test_the_scenario_of_a_row(table):
    scenario = scenario_of_row(table, 3)
    assert scenario.traffic.concurrency == 2
    assert scenario.fleet.pools["main"].model == "llama-3-8b"
    with pytest.raises(SpecError, match="the table has 40 rows, asked for row 41"):
        scenario_of_row(table, 40)
    triton = next(number for number, row in enumerate(table.rows) if row["engine"] == "Triton")
    with pytest.raises(SpecError, match="is not covered: no bed fits engine Triton"):
        scenario_of_row(table, triton)


@pytest.mark.slow
def test_the_public_table():
    if not PUBLIC.is_file():
        pytest.skip(f"no {PUBLIC}")
    found = validate(read_table(PUBLIC)).summary
    assert found["rows"] == 20_791
    assert found["known_rows"] == 20_791 - 126
    assert found["covered_known_frac"] >= 0.97
