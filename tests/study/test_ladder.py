"""Climbing a ladder: what is played, what is not, and how rungs compare."""

import csv
import json
from types import SimpleNamespace

import pytest

from sim import catalog
from sim.errors import CapacityError, SpecError
from sim.study.ladder import FIGURES, climb, load_rungs, table, write_table

LADDER = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: open_loop, rate_per_s: 1, input_sequence_length: 100, output_sequence_length: 10}
fleet: {pools: {main: {replicas: 2}}}
overrides:
  low: {traffic.rate_per_s: 0.5}
  high: {traffic.rate_per_s: 2}
  plain: {}
  same: {traffic.rate_per_s: 1}
ladder:
  - {override: low, switches: half the rate}
  - {override: high, switches: twice the rate, against: low, expected: four times}
  - {override: plain, switches: nothing, against: high}
  - {override: same, switches: nothing, against: plain}
"""


@pytest.fixture
def ladder(tmp_path):
    """Write a ladder, changed here and there; return its path."""

    def write(*changes):
        text = LADDER
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "ladder.yaml"
        path.write_text(text)
        return path

    return write


def fake_run(rate_per_s):
    """What a table needs of a run; throughput is the rate."""
    figures = dict.fromkeys(FIGURES, rate_per_s)
    cost, pools = {"usd_per_1m_output_tokens": 1 / rate_per_s}, {"a": {"running_mean": 1.0}, "b": {"running_mean": 2.0}}
    return SimpleNamespace(result=figures | {"sim": {"cost": cost, "by_pool": pools}})


def climbed(path, play):
    rungs = load_rungs(path)
    any_rung = next(iter(rungs.values()))
    assert any_rung.ladder == ()  # a rung is a scenario like any other
    return list(climb(catalog.load(path).ladder, rungs, play))


def test_rungs_are_played_in_order_and_equal_ones_once(ladder):
    played = []

    def play(name, scenario):
        played.append((name, scenario.traffic.rate_per_s))
        return fake_run(scenario.traffic.rate_per_s)

    rows = table(climbed(ladder(), play))
    assert played == [("low", 0.5), ("high", 2.0), ("plain", 1.0)]
    assert [row["rung"] for row in rows] == ["low", "high", "plain", "same"]
    assert [row["output_throughput"] for row in rows] == [0.5, 2.0, 1.0, 1.0]
    assert [row["output_throughput_factor"] for row in rows] == [None, 4.0, 0.5, 1.0]
    assert [row["usd_per_1m_output_tokens_factor"] for row in rows] == [None, 0.25, 2.0, 1.0]
    assert {row["running_mean"] for row in rows} == {3.0}
    assert rows[1]["switches"] == "twice the rate"
    assert rows[1]["expected"] == "four times"


def test_a_rung_that_cannot_run_is_a_row_with_its_reason(ladder, tmp_path):
    def play(name, scenario):
        if name == "high":
            raise CapacityError("it is short of 9 GB a GPU")
        return fake_run(scenario.traffic.rate_per_s)

    rows = table(climbed(ladder(), play))
    assert [row["problem"] for row in rows] == [None, "it is short of 9 GB a GPU", None, None]
    assert [row["output_throughput"] for row in rows] == [0.5, None, 1.0, 1.0]
    assert [row["output_throughput_factor"] for row in rows] == [None, None, None, 1.0]
    write_table(tmp_path, rows)
    assert json.loads((tmp_path / "ladder.json").read_text())["ladder"] == rows
    with (tmp_path / "ladder.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["output_throughput"] for row in read] == ["0.5", "", "1.0", "1.0"]
    assert [list(row) for row in read] == [list(row) for row in rows]


def test_where_no_rung_can_run_the_first_reason_is_raised(ladder):
    def play(name, _):
        raise CapacityError(f"{name} does not fit")

    with pytest.raises(CapacityError, match="low does not fit"):
        climbed(ladder(), play)


def test_a_bug_is_not_taken_for_a_rung_that_cannot_run(ladder):
    def play(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        climbed(ladder(), play)


def test_mistakes_in_any_override_are_found_before_anything_is_played(ladder):
    changes = ("low: {traffic.rate_per_s: 0.5}", "low: {traffic.rate: 0.5}"), ("rate_per_s: 2}", "rate_per_s: -2}")
    with pytest.raises(SpecError) as caught:
        load_rungs(ladder(*changes))
    said = "\n".join(str(problem) for problem in caught.value.problems)
    assert "traffic.rate" in said
    assert "-2" in said


def test_a_mistake_in_the_scenario_itself_is_said_once(ladder):
    with pytest.raises(SpecError) as caught:
        load_rungs(ladder(("replicas: 2", "replicas: 0")))
    assert len(caught.value.problems) == 1


def test_changes_of_the_command_line_hold_for_every_rung(ladder):
    rungs = load_rungs(ladder(), ["seed=7", "fleet.pools.main.replicas=3"])
    assert {(rung.seed, rung.fleet.pools["main"].replicas) for rung in rungs.values()} == {(7, 3)}
    assert [rung.traffic.rate_per_s for rung in rungs.values()] == [0.5, 2.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        (
            ("override: high", "override: hihg"),
            "ladder.1.override",
            "no override of that name: hihg. Did you mean high",
        ),
        (("override: same", "override: low"), "ladder.3.override", "stands in the ladder twice: low"),
        (("against: low", "against: plain"), "ladder.1.against", "no rung of that name before this one: plain. Before"),
        (("switches: half the rate", "switch: half"), "ladder.0", "missing. What it switches"),
    ],
)
def test_a_ladder_that_does_not_hold_together_is_refused(ladder, change, path, said):
    with pytest.raises(SpecError) as caught:
        load_rungs(ladder(change))
    found = [problem for problem in caught.value.problems if said in str(problem)]
    assert len(found) == 1
    assert found[0].path.startswith(path)
    assert found[0].line is not None
