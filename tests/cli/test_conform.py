"""``tokenfleet conform``."""

import json
import shutil
from pathlib import Path

import pytest

RECORDED = Path(__file__).parents[1] / "golden"
CASE = RECORDED / "tiny_pool"


def test_cases_that_match(tokenfleet):
    done = tokenfleet("conform", str(CASE))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "matched 1 of 1 (653 steps)\n", "")
    done = tokenfleet("conform", str(CASE), "--json")
    assert json.loads(done.stdout) == {"matched": 1, "cases": 1, "steps": 653, "failures": []}


@pytest.mark.parametrize("options", [("--clock", "simpy"), ("--no-leap",), ("--cache", "blocks")])
def test_every_way_to_play_them(tokenfleet, options):
    assert tokenfleet("conform", str(CASE), *options).exit_code == 0


def test_a_case_that_differs(tokenfleet, tmp_path):
    changed = Path(shutil.copytree(CASE, tmp_path / "changed"))
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {"num_gpu_blocks": 26}))
    done = tokenfleet("conform", str(CASE), str(changed))
    assert done.exit_code == 1
    matched, first = done.stdout.splitlines()
    assert matched == "matched 1 of 2 (1,306 steps)"
    assert first.startswith("changed: step 0: free: expected ")
    done = tokenfleet("conform", str(CASE), str(changed), "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["matched"], found["cases"], found["steps"]) == (1, 2, 1306)
    (failure,) = found["failures"]
    assert list(failure) == ["case", "step", "field", "expected", "got"]
    assert (failure["case"], failure["step"], failure["field"]) == ("changed", 0, "free")


def test_what_is_no_case_is_a_mistake_of_the_user(tokenfleet, tmp_path):
    done = tokenfleet("conform", str(tmp_path), "absent")
    assert done.exit_code == 2
    assert "no recorded case here" in done.stderr
    assert "absent  no such folder" in done.stderr
    assert "Traceback" not in done.output
