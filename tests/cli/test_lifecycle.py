"""``tokenfleet lifecycle``."""

import json

import pytest

OWN = "{name: own, data: {tokens: 1T}, architecture: {parameters: 7B}, pretraining: {hardware: a100-sxm-80gb}}\n"


def test_the_json_has_every_stage_and_the_table_every_figure(tokenfleet):
    done = tokenfleet("lifecycle", "meridian-1", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    stages = json.loads(done.stdout)["stages"]
    assert len(stages) == 11
    table = tokenfleet("lifecycle", "meridian-1")
    assert table.exit_code == 0
    for stage in stages:
        assert stage["title"] in table.stdout
        assert all(figure["name"] in table.stdout and figure["source"] for figure in stage["figures"])


def test_a_change_is_made(tokenfleet):
    def buys(*options):
        stages = json.loads(tokenfleet("lifecycle", "meridian-1", "--json", *options).stdout)["stages"]
        figures = {figure["name"]: figure["value"] for stage in stages for figure in stage["figures"]}
        return figures["tokens that the budget buys at this size"]

    assert buys("--set", "pretraining.gpu_hours=20M") == pytest.approx(2 * buys())


def test_a_file_of_ones_own(tokenfleet, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    done = tokenfleet("lifecycle", "own.yaml")
    assert done.exit_code == 0
    assert "a100-sxm-80gb" in done.stdout


def test_mistakes_are_the_users(tokenfleet, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN.replace("7B", "7B, attention: mqqa"))
    done = tokenfleet("lifecycle", "own.yaml")
    assert done.exit_code == 2
    assert "own.yaml:1  architecture.attention:" in done.stderr
    unknown = tokenfleet("lifecycle", "meridian-2")
    assert unknown.exit_code == 2
    assert "Did you mean meridian-1?" in unknown.stderr
