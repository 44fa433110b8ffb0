"""``tokenfleet run``."""

import json

import pytest


def test_json_is_alone_on_standard_output(tokenfleet, small, tmp_path):
    ran = tokenfleet("run", str(small), "--json", "--out", "here")
    assert ran.exit_code == 0, ran.stderr
    printed = json.loads(ran.stdout)
    info = printed.pop("run_info")
    assert printed == json.loads((tmp_path / "here" / "result.json").read_text())
    assert info == json.loads((tmp_path / "here" / "run_info.json").read_text())
    assert printed["completed"] == 40


def test_a_run_leaves_its_folder_and_says_where_the_report_is(tokenfleet, small, tmp_path):
    ran = tokenfleet("run", str(small))
    assert ran.exit_code == 0, ran.stderr
    assert "Serving Benchmark Result" in ran.stdout
    assert "runs/small/report.html" in ran.stderr.replace("\\", "/")
    left = {path.name for path in (tmp_path / "runs" / "small").iterdir()}
    assert left >= {
        "report.html",
        "requests.parquet",
        "result.json",
        "run_info.json",
        "scenario.yaml",
        "timeline.parquet",
    }


def test_without_a_report_there_is_none(tokenfleet, small, tmp_path):
    assert tokenfleet("run", str(small), "--no-report", "--out", "here").exit_code == 0
    assert not (tmp_path / "here" / "report.html").exists()


def test_the_resolved_scenario_gives_the_same_result(tokenfleet, small):
    first = tokenfleet("run", str(small), "--no-report", "--set", "traffic.rate_per_s=2", "--out", "first", "--json")
    again = tokenfleet("run", "first/scenario.yaml", "--no-report", "--out", "again", "--json")
    assert again.exit_code == 0, again.stderr
    results = [json.loads(ran.stdout) for ran in (first, again)]
    for result in results:
        del result["run_info"]
    assert results[0] == results[1]


@pytest.mark.parametrize("option", ["--no-leap", "--clock=simpy"])
def test_neither_the_clock_nor_leaping_changes_the_result(tokenfleet, small, tmp_path, option):
    for out, options in {"plain": (), "other": (option,)}.items():
        assert tokenfleet("run", str(small), "--no-report", "--out", out, *options).exit_code == 0
    assert (tmp_path / "plain" / "result.json").read_bytes() == (tmp_path / "other" / "result.json").read_bytes()


def test_seed_and_duration_are_changes_of_the_scenario(tokenfleet, small):
    options = ("--seed", "7", "--duration", "5 s", "--override", "slow")
    ran = tokenfleet("run", str(small), "--json", "--no-report", *options)
    assert ran.exit_code == 0, ran.stderr
    result = json.loads(ran.stdout)
    assert (result["sim"]["seed"], result["sim"]["horizon_s"]) == (7, 5.0)
    assert 0 < result["completed"] < 40  # at 1 request/s instead of 4, for 5 s instead of 60


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--set", "fleet.pools.main.replicas"), "path=value"),
        (("--set", "fleet.pools.main.replica=2"), "Did you mean replicas?"),
        (("--duration", "2 GB"), "horizon"),
        (("--seed", "-1"), "seed"),
        (("--override", "slwo"), "Did you mean slow?"),
    ],
)
def test_bad_input_is_explained_and_nothing_is_run(tokenfleet, small, tmp_path, options, said):
    ran = tokenfleet("run", str(small), *options)
    assert ran.exit_code == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "runs").exists()
