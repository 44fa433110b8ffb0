"""``tokenfleet list``."""

import json

import pytest

KINDS = ("models", "hardware", "workloads", "scenarios", "lifecycles")


@pytest.mark.parametrize("kind", KINDS)
def test_every_entry_of_the_json_is_in_the_table(tokenfleet, kind):
    listed = tokenfleet("list", kind, "--json")
    assert listed.exit_code == 0
    names = [entry["name"] for entry in json.loads(listed.stdout)[kind]]
    assert names == sorted(set(names))
    assert names
    table = tokenfleet("list", kind)
    assert table.exit_code == 0
    assert all(name in table.stdout for name in names)


def test_a_folder_of_the_users_comes_first(tokenfleet, small, tmp_path, monkeypatch):
    mine = tmp_path / "mine" / "scenarios"
    mine.mkdir(parents=True)
    (mine / "meridian-1.yaml").write_text(small.read_text())
    (mine / "just-mine.yaml").write_text(small.read_text())
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path / "mine"))
    entries = json.loads(tokenfleet("list", "scenarios", "--json").stdout)["scenarios"]
    files = {entry["name"]: entry["file"] for entry in entries}
    assert files["just-mine"] == str(mine / "just-mine.yaml")
    assert files["meridian-1"] == str(mine / "meridian-1.yaml")
