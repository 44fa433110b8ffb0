"""``tokenfleet check``."""

import json
from pathlib import Path

import pytest

from sim import catalog

TRACES = Path(__file__).parents[1] / "fleet" / "data"

BROKEN = """\
seeed: 2
traffic: {kind: open_loop, rate_per_s: fast, input_sequence_length: 8, output_sequence_length: 8}
"""


@pytest.mark.parametrize("name", catalog.list_entries("scenarios"))
def test_a_scenario_of_the_catalogue_is_right_or_waits_for_a_trace(tokenfleet, name):
    checked = tokenfleet("check", name)
    if checked.exit_code:
        assert "traffic.path: missing" in checked.stderr
        trace = TRACES / ("azure.csv" if "azure" in name else "mooncake.jsonl")
        checked = tokenfleet("check", name, "--set", f"traffic.path={trace}")
    assert (checked.exit_code, checked.stdout, checked.stderr) == (0, f"{name}: ok\n", "")


def test_all_mistakes_come_at_once_with_their_lines(tokenfleet, small, tmp_path):
    (tmp_path / "broken.yaml").write_text(BROKEN)
    checked = tokenfleet("check", "broken.yaml", str(small), "--json")
    assert checked.exit_code == 2
    broken, right = json.loads(checked.stdout)["scenarios"]
    assert (broken["scenario"], broken["ok"]) == ("broken.yaml", False)
    problems = "\n".join(broken["problems"])
    assert "broken.yaml:1  seeed" in problems
    assert "Did you mean seed?" in problems
    assert "broken.yaml:2  traffic.rate_per_s" in problems
    assert problems in checked.stderr
    assert (right["ok"], right["problems"]) == (True, [])
    assert "Traceback" not in checked.output


def test_a_change_is_checked_too(tokenfleet, small):
    assert tokenfleet("check", str(small), "--set", "fleet.pools.main.replicas=2").exit_code == 0
    wrong = tokenfleet("check", str(small), "--set", "fleet.pools.main.replicas=none")
    assert wrong.exit_code == 2
    assert "fleet.pools.main.replicas" in wrong.stderr


def test_overrides_can_be_named(tokenfleet, small):
    digests = {
        name: json.loads(tokenfleet("check", str(small), "--json", *options).stdout)["scenarios"][0]["digest"]
        for name, options in {
            "plain": (),
            "slow": ("--override", "slow"),
            "set": ("--set", "traffic.rate_per_s=1"),
        }.items()
    }
    assert digests["plain"] != digests["slow"]
    assert digests["slow"] == digests["set"]
    assert tokenfleet("check", str(small), "--override", "slwo").exit_code == 2


def test_a_scenario_that_does_not_exist_is_a_mistake_of_the_user(tokenfleet):
    missing = tokenfleet("check", "meridian-one")
    assert missing.exit_code == 2
    assert "Did you mean meridian-1?" in missing.stderr
    assert tokenfleet("check", "absent.yaml").exit_code == 2


def test_the_rungs_of_a_ladder_are_checked_too(tokenfleet, small):
    text = small.read_text()
    small.write_text(text + "ladder: [{override: slow, switches: the rate}]\n")
    assert tokenfleet("check", str(small)).exit_code == 0
    small.write_text(small.read_text().replace("traffic.rate_per_s: 1}", "traffic.rate: 1}"))
    wrong = tokenfleet("check", str(small))
    assert wrong.exit_code == 2
    assert "traffic.rate" in wrong.stderr
