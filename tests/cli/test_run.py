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


LADDER = """\
  crowded: {traffic.rate_per_s: 40}
  too-big: {model: llama-3.1-70b}
ladder:
  - {override: slow, switches: one request a second}
  - {override: crowded, switches: forty a second, against: slow, expected: the same requests sooner}
  - {override: too-big, switches: ten times the model, against: slow}
"""


@pytest.fixture
def ladder(small):
    """The small scenario with a ladder of three rungs, the last of which does not fit."""
    small.write_text(small.read_text() + LADDER)
    return str(small)


def test_a_ladder_is_climbed_and_compared(tokenfleet, ladder, tmp_path):
    ran = tokenfleet("run", ladder, "--no-report")
    assert ran.exit_code == 0, ran.stderr
    lines = {line.split()[0]: line for line in ran.stdout.splitlines() if line.strip()}
    assert set(lines) >= {"slow", "crowded", "too-big"}
    assert "expected: the same requests sooner" in lines["crowded"]
    assert "not run: llama-3.1-70b (bf16) does not fit 1 x h100-sxm-80gb" in lines["too-big"]
    assert "runs/small/ladder.csv" in ran.stderr.replace("\\", "/")
    folder = tmp_path / "runs" / "small"
    assert {path.name for path in folder.iterdir()} == {"slow", "crowded", "ladder.csv", "ladder.json"}
    assert "result.json" in {path.name for path in (folder / "slow").iterdir()}


def test_a_ladder_as_json_is_the_table_alone(tokenfleet, ladder, tmp_path):
    ran = tokenfleet("run", ladder, "--no-report", "--json", "--out", "here", "--seed", "3")
    assert ran.exit_code == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert printed == json.loads((tmp_path / "here" / "ladder.json").read_text())
    assert [row["rung"] for row in printed["ladder"]] == ["slow", "crowded", "too-big"]
    assert printed["ladder"][1]["output_throughput_factor"] > 2
    result = json.loads((tmp_path / "here" / "crowded" / "result.json").read_text())
    assert result["output_throughput"] == printed["ladder"][1]["output_throughput"]
    assert result["sim"]["seed"] == 3


def test_one_rung_is_run_as_ever(tokenfleet, ladder, tmp_path):
    ran = tokenfleet("run", ladder, "--no-report", "--override", "crowded", "--json", "--out", "one")
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["completed"] == 40
    # Its resolved scenario is that rung, and no ladder any more.
    again = tokenfleet("run", "one/scenario.yaml", "--no-report", "--json", "--out", "again")
    assert again.exit_code == 0, again.stderr
    assert (tmp_path / "one" / "result.json").read_text() == (tmp_path / "again" / "result.json").read_text()


def test_a_mistake_in_a_rung_is_found_before_the_first_is_run(tokenfleet, ladder, small, tmp_path):
    small.write_text(small.read_text().replace("crowded: {traffic.rate_per_s: 40}", "crowded: {traffic.rate: 40}"))
    ran = tokenfleet("run", ladder)
    assert ran.exit_code == 2
    assert "traffic.rate" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "runs").exists()
