"""``tokenfleet lifecycle``."""

import json

import pytest

OWN = "{name: own, data: {tokens: 1T}, architecture: {parameters: 7B}, pretraining: {hardware: a100-sxm-80gb}}\n"
FEW = """\
model: llama-3.1-8b
hardware: h100-sxm-80gb
traffic: {kind: population, monthly_users: 400k}
tiers: {free: {user_frac: 1}}
slo: {ttft_s: 2 s}
fleet: {pools: {main: {replicas: 20}}}
"""


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


def test_choices_are_played_and_printed(tokenfleet, tmp_path, monkeypatch):
    from sim.study import echo

    monkeypatch.setattr(echo, "CHOICES", echo.CHOICES[:1])
    monkeypatch.setattr(echo.echo, "__defaults__", (echo.CHOICES,))
    (tmp_path / "few.yaml").write_text(FEW)
    own = OWN.replace("7B}", "7B, max_position_embeddings: 16k}").replace("}}\n", "}, serving: {scenario: few.yaml}}\n")
    (tmp_path / "own.yaml").write_text(own)
    done = tokenfleet("lifecycle", "own.yaml", "--choices", "--json")
    assert done.exit_code == 0, done.stderr
    assert "1 fleets are sized" in done.stderr
    (row,) = json.loads(done.stdout)["choices"]
    assert row["choice"] == "as it is"
    assert row["num_gpus"] >= 1
    table = tokenfleet("lifecycle", "own.yaml", "--choices")
    assert table.exit_code == 0
    assert "as it is" in table.stdout
    assert "per user-month" in table.stdout


def test_choices_need_a_scenario(tokenfleet, tmp_path):
    (tmp_path / "own.yaml").write_text(OWN)
    done = tokenfleet("lifecycle", "own.yaml", "--choices")
    assert done.exit_code == 2
    assert "serving.scenario: missing" in done.stderr
