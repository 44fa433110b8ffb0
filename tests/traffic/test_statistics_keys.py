"""Every key that `tokenfleet traffic` writes is defined in docs/nomenclature.md."""

import re

import pytest

from sim.traffic.subject import find

STATISTIC = re.compile(r"(?:mean|std|min|max|p[0-9.]+)_(?:tokens|s)")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Statistics of a trace, of a workload, and of people and their programs."""
    monkeypatch.chdir(tmp_path)
    trace = tmp_path / "trace.jsonl"
    row = '{{"timestamp": {}, "input_length": 600, "output_length": 5, "hash_ids": [1, {}]}}\n'
    trace.write_text("".join(row.format(1000 * k, 2 + k % 3) for k in range(50)))
    people = find("meridian-1", changes=["horizon=1 h", "run_in=0 s", "traffic.monthly_users=10000"])
    found = [find(str(trace)), find("interactive-chat", changes=["horizon=1 h"]), people]
    return [subject.statistics() for subject in found]


def keys(value, depth_by_name=0):
    """All keys of nested mappings and lists but those that are names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if depth_by_name == 0:
                yield key
            # Below these the keys are names that the traffic gave.
            levels = {"shares": 2, "users": 1, "by_name": 1, "repairs": 1, "left_out": 1, "curves": 1}.get(key, 0)
            yield from keys(inner, max(depth_by_name - 1, 0) or levels)
    elif isinstance(value, list):
        for part in value:
            yield from keys(part)


def test_every_key_is_defined(results, repository):
    text = (repository / "docs" / "nomenclature.md").read_text(encoding="utf-8")
    names = {name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"[\w.]+", code)}
    found = {key for result in results for key in keys(result)}
    assert len(found) > 70
    assert {key for key in found if key not in names and not STATISTIC.fullmatch(key)} == set()
