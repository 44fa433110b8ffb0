"""Every name that a run writes is defined in docs/nomenclature.md."""

import json
import re

import pyarrow.parquet as pq
import pytest

import sim
from sim.spec.ladder import Rung
from sim.study.ladder import Climbed, table

# Below these the keys are names that the scenario gave: of tiers, pools, languages, classes, workloads.
BY_NAME = {
    "by_tier", "by_pool", "by_language", "by_class", "calibration", "num_saturated_intervals", "tier_share",
    "tier_user_frac", "language_share", "use_share", "by_feature", "by_ending", "yardstick_usd", "yardstick_factor",
    "psi",
}  # fmt: skip
STATISTIC = re.compile(r"(?:mean|median|std|p[0-9.]+)_(\w+?)(?:_ms)?")
OPERATIONS = "[{at: 30 s, do: add, pool: main, replicas: 1}, {at: 40 s, do: drain, pool: main, replicas: 1}]"
FAULTS = (
    "{incidents: [{at: 20 s, do: kill, pool: main, replicas: [0], duration: 5 s},"
    " {at: 40 s, do: take_kv, pool: main, duration: 5 s}]}"
)
DEPLOYS = "[{at: 35 s, pool: main, restart: 1 s}]"
# By scenario and overrides, what else is changed.
RUNS = {
    "quickstart": {
        "horizon": "1 min", "fleet.pools.main.spot": {},
        "fleet.pools.main.autoscaler": {"max_replicas": 3, "metrics": [{"metric": "outstanding", "target": 2}]},
        "fleet.faults": FAULTS, "fleet.deploys": DEPLOYS,
    },
    "disaggregated": {"horizon": "1 min"},
    "meridian-1 small": {"horizon": "2 min", "run_in": "0 s"},
    "meridian-1 small plain": {
        "horizon": "2 min", "run_in": "0 s", "fleet.operations": OPERATIONS,
        "fleet.pools.main.kv_offload": {"capacity_gib": 100, "ttl_s": 300},
        "money": {"site": "ireland", "yardsticks": ["gpt-5"]}, "tiers.plus.price": {"usd_per_user_month": 20},
        "fleet.pools.main.contracts": [{"kind": "owned", "replicas": 1}],
        "fleet.pools.main.gateway": {"order": "fair"},
    },
}  # fmt: skip


def defined(text):
    """The names that stand between backticks."""
    return {name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"[\w.]+", code)}


def columns(text, file):
    """The names in the first column of a file's table."""
    section = text.split(f"### Columns of {file}\n")[1].split("\n#")[0]
    return defined("\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `")))


def keys(value):
    """All keys of nested mappings and lists but those that are names of the scenario's own."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            for part in inner.values() if key in BY_NAME and isinstance(inner, dict) else (inner,):
                yield from keys(part)
    elif isinstance(value, list):
        for part in value:
            yield from keys(part)


@pytest.fixture(scope="module")
def text(repository):
    return (repository / "docs" / "nomenclature.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=RUNS)
def folder(request, tmp_path_factory):
    """The folder of a small run."""
    name, *override = request.param.split()
    out = tmp_path_factory.mktemp("run")
    sim.run(sim.load(name, set=RUNS[request.param], override=override)).write(out)
    return out


@pytest.mark.parametrize("file", ["requests.parquet", "timeline.parquet"])
def test_a_table_has_the_columns_that_are_defined_and_no_others(folder, text, file):
    assert set(pq.read_schema(folder / file).names) == columns(text, file)


def test_a_ladder_has_the_columns_that_are_defined_and_no_others(text):
    (row,) = table([Climbed(Rung(override="low", switches="little"), None)])
    assert set(row) == columns(text, "ladder.csv")


def test_every_key_of_a_result_is_defined(folder, text):
    names = defined(text)
    found = set(keys(json.loads((folder / "result.json").read_text())))
    assert len(found) > 100
    stems = {key: match[1] for key in found if (match := STATISTIC.fullmatch(key))}
    assert {key for key in found if key not in names and stems.get(key) not in names} == set()
