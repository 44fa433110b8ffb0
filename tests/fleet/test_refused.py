"""What is not simulated together is refused with a message, before anything is built of it."""

import pytest

from sim.errors import SpecError
from sim.fleet.build import build
from sim.plane.world_routing import MOST_ENTRIES
from sim.spec import Scenario
from sim.spec.routing import MAX_INDEX_ENTRIES

GUARD = {"pool": "guard", "kind": "classify"}
SPLIT = [{"pool": "prefill", "kind": "prefill"}, {"pool": "main", "kind": "decode"}]
CHECK = GUARD | {"mode": "stream", "prompt": "answer"}
INCIDENT = {"at": 1, "do": "kill", "pool": "main"}


def scenario(visits, **fleet):
    """Scenario of a fleet with one path."""
    pools = {"main": {}, "prefill": {}, "guard": {"model": "llama-guard-3-1b"}}
    return {
        "name": "refused",
        "model": "llama-3.1-8b",
        "hardware": "h100-sxm-80gb",
        "horizon": 60,
        "traffic": {
            "kind": "open_loop", "rate_per_s": 1, "input_sequence_length": 100, "output_sequence_length": 10,
        },
        "fleet": {"pools": pools, "paths": {"default": visits}} | fleet,
    }  # fmt: skip


def problems(given):
    """{dotted path: message} of what is wrong with a scenario."""
    with pytest.raises(SpecError) as caught:
        build(Scenario.from_dict(given))
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("visits", [SPLIT, [*SPLIT, CHECK]])
def test_faults_and_answers_of_two_pools_whatever_stands_behind_them(visits):
    told = problems(scenario(visits, faults={"incidents": [INCIDENT]}))
    assert told == {"fleet.paths.default": "must answer in one pool where the fleet has faults or deploys"}


def test_an_index_that_no_memory_holds():
    assert MAX_INDEX_ENTRIES == MOST_ENTRIES  # the plane's own
    routing = {"num_routers": 100, "prefix_index": "routed", "prefix_index_blocks": 900_000}
    told = problems(scenario([{"pool": "main"}], router="prefix_affinity", routing=routing))
    message = "too many for 100 routers with 3 replicas: give at most 894784, got 900000"
    assert told == {"fleet.routing.prefix_index_blocks": message}
    routing["prefix_index_blocks"] = 894_784
    Scenario.from_dict(scenario([{"pool": "main"}], router="prefix_affinity", routing=routing))


def test_more_sequences_than_step_times_are_known_for():
    pools = {"main": {"max_num_seqs": 8, "max_num_active_seqs": 9}}
    told = problems(scenario([{"pool": "main"}], pools=pools))
    assert told == {"fleet.pools.main.max_num_active_seqs": "must be <= max_num_seqs (8), got 9"}


def test_a_drift_of_a_classifier_that_only_reads_answers():
    given = scenario([{"pool": "main"}, CHECK])
    given["drifts"] = [{"at": 1, "kind": "strict_classifier", "pool": "guard", "block_frac": 0.5}]
    told = problems(given)
    assert told == {"drifts.0.pool": "no path has a visit of kind classify to guard before its answer"}


@pytest.mark.parametrize("visits", [[GUARD | {"mode": "gate"}, {"pool": "main"}], [{"pool": "main"}, CHECK]])
def test_a_classifier_beside_the_answer_whose_verdict_is_long(tmp_path, monkeypatch, visits):
    (tmp_path / "models").mkdir()
    entry = "{verdict_tokens: 20, true_positive_rate: 0.9, false_positive_rate: 0.01, source: a test, assumed: all}"
    (tmp_path / "models" / "_classifiers.yaml").write_text(f"classifiers:\n  wordy: {entry}\n")
    monkeypatch.setenv("TOKENFLEET_CATALOG_PATH", str(tmp_path))
    visits = [visit | {"classifier": "wordy"} if visit["pool"] == "guard" else visit for visit in visits]
    ((path, message),) = problems(scenario(visits)).items()
    assert path == f"fleet.paths.default.{[visit['pool'] for visit in visits].index('guard')}.classifier"
    assert message.startswith("verdicts of wordy take several tokens; beside the answer one")
    build(Scenario.from_dict(scenario([GUARD | {"classifier": "wordy"}, {"pool": "main"}])))


def test_places_that_others_reserve_to_the_last():
    given = scenario([{"pool": "main"}], pools={"main": {"gateway": {}}})
    given["tiers"] = {"default": {"reserved_frac": 0.1}, "pro": {"reserved_frac": 0.9}, "team": {}}
    assert problems(given).keys() == {"tiers.team.reserved_frac"}
    given["tiers"]["pro"]["reserved_frac"] = 0.8
    Scenario.from_dict(given)
