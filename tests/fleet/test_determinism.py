"""The same scenario, code and seed give the same bytes, whatever clock plays it and however arrivals are cut."""

from dataclasses import replace
from pathlib import Path

import pytest

import sim
from sim.fleet.build import build
from sim.fleet.run import Player
from sim.metrics.writer import INFO
from sim.traffic import Chunk

SHORT = {"horizon": "10 min", "run_in": "5 min", "report_interval": "5 min"}
# A replica comes and goes, so control processes take part.
OPERATIONS = [
    {"at": "1 min", "do": "add", "pool": "main", "replicas": 1},
    {"at": "4 min", "do": "drain", "pool": "main", "replicas": 2},
]
# So does one that fails.
INCIDENTS = [{"at": "2 min", "do": "kill", "pool": "main", "replicas": [0], "duration": "1 min"}]
SHAPES = {
    "all-of-it-on": (["small"], {"fleet.faults.incidents": INCIDENTS}),
    "by-hand": (["small", "plain"], {"fleet.operations": OPERATIONS}),
}
"""Overrides and changes of meridian-1; of the first, chat and API are played side by side on two processors."""


class Cut:
    """A source whose chunks are cut into pieces of `size` rows."""

    def __init__(self, source, size):
        self._source, self._size = source, size

    def __getattr__(self, name):
        return getattr(self._source, name)

    def chunks(self):
        for rows, _ in self._source.chunks():
            yield from (Chunk(rows[n : n + self._size]) for n in range(0, len(rows), self._size))


@pytest.fixture(scope="module", params=SHAPES)
def scenario(request):
    """Makes the scenario, with changes {dotted path: value}."""
    override, given = SHAPES[request.param]
    return lambda **changes: sim.load("meridian-1", set=SHORT | given | changes, override=override)


def files(run, folder: Path):
    """The bytes of everything a run writes, but for what depends on the machine."""
    run.write(folder)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != INFO}


@pytest.fixture(scope="module")
def reference(scenario, tmp_path_factory):
    found = files(sim.run(scenario()), tmp_path_factory.mktemp("reference"))
    assert {"result.json", "requests.parquet", "timeline.parquet", "histograms.parquet"} <= set(found)
    return found


def different(a, b):
    return [name for name in a | b if a.get(name) != b.get(name)]


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
@pytest.mark.parametrize("leap", [True, False])
def test_same_bytes_under_both_clocks_leaping_or_not(scenario, reference, tmp_path, clock, leap):
    assert different(files(sim.run(scenario(), clock=clock, leap=leap), tmp_path), reference) == []


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
@pytest.mark.parametrize("size", [1, 97])
def test_chunks_of_arrivals_do_not_matter(scenario, reference, tmp_path, clock, size):
    built = build(scenario())
    cut = replace(built, source=Cut(built.source, size))
    assert different(files(Player(cut, clock, True, None).play(), tmp_path), reference) == []


def test_reporting_less_often_changes_no_request(scenario, reference, tmp_path):
    found = files(sim.run(scenario(report_interval="2 min")), tmp_path)
    assert found["timeline.parquet"] != reference["timeline.parquet"]
    assert found["requests.parquet"] == reference["requests.parquet"]
    assert found["histograms.parquet"] == reference["histograms.parquet"]


def test_another_seed_is_another_run(scenario, reference, tmp_path):
    changed = different(files(sim.run(scenario(seed=2)), tmp_path), reference)
    assert {"result.json", "requests.parquet", "timeline.parquet", "histograms.parquet"} <= set(changed)
