"""Outages of the door in a scenario: who arrives fails at once, who reacts comes again; counts known beforehand."""

import numpy as np
import pytest
from recorder import Recorder

from sim.errors import SpecError
from sim.metrics.records import COMPLETED, FAILED, IN_FLIGHT, SHED
from sim.spec import Scenario

RATE_PER_S, AT_S, LASTS_S, LATER_S = 20.0, 300.0, 120.0, 400.0
BASE = {
    "name": "outage",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "20 min",
    "drain": True,
    "traffic": {
        "kind": "open_loop", "rate_per_s": RATE_PER_S, "input_sequence_length": 64, "output_sequence_length": 8,
    },
    "fleet": {
        "pools": {"main": {"replicas": 1}},
        "operations": [{"at": AT_S, "do": "outage", "duration": LASTS_S}],
    },
}  # fmt: skip
RETRIES = {"retry_frac": 0.5, "max_retries": 1, "backoff": LATER_S, "max_backoff": LATER_S}


def play(clock="compiled", **tier):
    """All records."""
    return Recorder(Scenario.from_dict(BASE | {"tiers": {"default": tier}}), clock)


def is_shut(t_s):
    """Whether a time is in the outage: shut from its first instant, open from its last."""
    return (t_s >= AT_S) & (t_s < AT_S + LASTS_S)


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_who_arrives_in_an_outage_fails_and_nobody_else(clock):
    played = play(clock)
    rows = played.records
    assert np.array_equal(rows["ending"] == FAILED, is_shut(rows["arrived_s"]))
    assert np.array_equal(rows["end_s"] == rows["arrived_s"], is_shut(rows["arrived_s"]))
    assert (rows["ending"][~is_shut(rows["arrived_s"])] == COMPLETED).all()
    # Of 2,400 expected, within four standard errors of a Poisson count.
    assert abs((rows["ending"] == FAILED).sum() - RATE_PER_S * LASTS_S) < 4 * np.sqrt(RATE_PER_S * LASTS_S)
    assert played.result["sim"]["operations"] == [{"t_s": AT_S, "do": "outage", "ended_s": AT_S + LASTS_S}]


def test_those_who_try_again_come_so_much_later_and_all_are_answered():
    rows = play(reaction=RETRIES).records
    again = rows[rows["attempt"] == 1]
    num_failed = is_shut(rows["arrived_s"]).sum()
    assert (again["ending"] == COMPLETED).all()
    assert np.allclose(again["arrived_s"] - LATER_S, np.sort(rows["arrived_s"][again["retry_of"]]))
    assert is_shut(again["arrived_s"] - LATER_S).all()
    # Half of them try: within four standard errors of a binomial count.
    assert abs(len(again) - 0.5 * num_failed) < 4 * np.sqrt(0.25 * num_failed)
    # While they come, the rate is half as high again.
    surge = np.count_nonzero(is_shut(rows["arrived_s"] - LATER_S)) / LASTS_S
    assert surge == pytest.approx(1.5 * RATE_PER_S, abs=4 * np.sqrt(1.5 * RATE_PER_S / LASTS_S))


def test_outages_that_overlap_last_until_the_last_is_over():
    operations = [{"at": 300, "do": "outage", "duration": 60}, {"at": 330, "do": "outage", "duration": 60}]
    scenario = Scenario.from_dict(BASE).replace("fleet.operations", operations)
    rows = Recorder(scenario).records
    shut = (rows["arrived_s"] >= 300) & (rows["arrived_s"] < 390)
    assert np.array_equal(rows["ending"] == FAILED, shut)


def test_mistakes_are_told():
    wrong = [
        {"at": 1, "do": "outage", "pool": "main", "replicas": 2},
        {"at": 1, "do": "drain", "pool": "main"},
        {"at": 1, "do": "add", "pool": "main", "replicas": 1, "duration": 3},
    ]
    with pytest.raises(SpecError) as caught:
        Scenario.from_dict(BASE).replace("fleet.operations", wrong)
    said = {problem.path: problem.message for problem in caught.value.problems}
    assert said == {
        "fleet.operations.0.duration": "missing; outage needs it",
        "fleet.operations.0.pool": "not used by outage (it needs duration); remove it",
        "fleet.operations.0.replicas": "not used by outage (it needs duration); remove it",
        "fleet.operations.1.replicas": "missing; drain needs it",
        "fleet.operations.2.duration": "not used by add (it needs pool, replicas); remove it",
    }


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_who_waits_at_a_gateway_for_replicas_that_never_come_back_does_not_hang_the_run(clock):
    scenario = Scenario.from_dict(
        {
            "name": "gone",
            "model": "llama-3.1-8b",
            "hardware": "h100-sxm-80gb",
            "horizon": 10,
            "report_interval": 5,
            "traffic": {
                "kind": "open_loop", "rate_per_s": 30, "input_sequence_length": 500, "output_sequence_length": 200,
            },
            "fleet": {
                "pools": {"main": {"gateway": {"max_outstanding": 4}}},
                "faults": {"incidents": [{"at": 5, "do": "kill", "pool": "main"}]},
            },
        }
    )  # fmt: skip
    rows = Recorder(scenario, clock).records
    assert np.array_equal(rows["serial"], np.arange(len(rows)))
    assert np.count_nonzero(rows["ending"] == FAILED) == 4  # who was there
    left = rows[rows["ending"] == IN_FLIGHT]
    assert len(left) > 50
    assert (left["arrived_s"] < 5.0).all()
    assert (rows["ending"][rows["arrived_s"] >= 5.0] == SHED).all()
