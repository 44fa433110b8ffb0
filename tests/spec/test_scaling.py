"""Autoscalers, start-up, warm pools and spot capacity as users write them: defaults, limits and mistakes."""

import pytest

from sim.errors import SpecError
from sim.spec import Scenario
from sim.spec.autoscaler import Autoscaler, Schedule
from sim.spec.scaling import most_on_line, most_serving, startup_of
from sim.spec.startup import Startup

METRICS = [{"metric": "outstanding", "target": 10}]
BASE = {
    "name": "scaled",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "1 h",
    "traffic": {"kind": "open_loop", "rate_per_s": 1, "input_sequence_length": 10, "output_sequence_length": 10},
}


def scenario(pool, operations=()):
    """A scenario whose only pool is this."""
    return Scenario.from_dict(BASE | {"fleet": {"pools": {"main": pool}, "operations": list(operations)}})


def refused(pool, operations=()):
    """What is said of a pool, by path below fleet."""
    with pytest.raises(SpecError) as caught:
        scenario(pool, operations)
    return {problem.path.removeprefix("fleet."): problem.message for problem in caught.value.problems}


def test_the_defaults_are_those_of_kubernetes():
    found = Autoscaler.from_dict({"metrics": METRICS})
    assert (found.sync_period_s, found.tolerance, found.min_replicas) == (15.0, 0.1, 1)
    assert found.scale_up.stabilization_window_s == 0.0
    assert found.scale_down.stabilization_window_s == 300.0
    limits = [
        [(policy.type, policy.value, policy.period_s) for policy in rules.policies]
        for rules in (found.scale_up, found.scale_down)
    ]
    assert limits == [[("percent", 100, 15.0), ("replicas", 4, 15.0)], [("percent", 100, 15.0)]]


def test_a_direction_keeps_its_own_defaults_beside_what_is_given():
    found = Autoscaler.from_dict({"metrics": METRICS, "scale_down": {"policies": [{"type": "replicas", "value": 1}]}})
    assert found.scale_down.stabilization_window_s == 300.0
    assert [policy.value for policy in found.scale_down.policies] == [1]


def test_a_scenario_survives_its_own_yaml():
    given = scenario(
        {
            "autoscaler": {"metrics": METRICS, "max_replicas": 5, "forecast": {"target": 2, "history": [1, 2]}},
            "warm_pool": {"replicas": 2}, "spot": {"together_frac": 0.5}, "startup": {"provisioning": "3 min"},
        }
    )  # fmt: skip
    assert Scenario.from_yaml(given.to_yaml()) == given


def test_how_many_there_can_be():
    def most(**pool):
        given = scenario(pool)
        found = given.fleet.pools["main"]
        return most_serving(found), most_on_line(found), given.pool("main").max_replicas

    assert most(autoscaler={"metrics": METRICS, "max_replicas": 5}) == (5, 5, 5)
    assert most(autoscaler={"metrics": METRICS, "max_replicas": 5}, warm_pool={"replicas": 2}) == (5, 7, 7)
    assert most(autoscaler={"metrics": METRICS}, max_replicas=9, warm_pool={"replicas": 2}) == (7, 9, 9)
    # Spot replicas that were taken back drain while others come for them.
    assert most(replicas=6, spot={"on_demand_base": 2}) == (6, 10, 10)


def test_replicas_start_at_once_only_where_nobody_but_operators_adds_them():
    assert startup_of(scenario({}).fleet.pools["main"]) is None
    assert startup_of(scenario({"startup": {"load": 5}}).fleet.pools["main"]) == Startup.from_dict({"load": 5})
    assert startup_of(scenario({"warm_pool": {"replicas": 1}}).fleet.pools["main"]) == Startup()


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        ({"autoscaler": {}}, {"pools.main.autoscaler.metrics": "missing: an autoscaler needs"}),
        ({"autoscaler": {"metrics": METRICS}}, {"pools.main.autoscaler.max_replicas": "missing: say it here"}),
        (
            {"autoscaler": {"metrics": METRICS, "min_replicas": 3, "max_replicas": 2}},
            {"pools.main.autoscaler.max_replicas": "must be >= min_replicas (3), got 2"},
        ),
        (
            {"autoscaler": {"metrics": METRICS}, "max_replicas": 2, "warm_pool": {"replicas": 2}},
            {"pools.main.max_replicas": "must be >= those that serve and are warm (3), got 2"},
        ),
        ({"spot": {"interruptions_per_hour": 0, "together_frac": 1}}, {"pools.main.spot.together_frac": "needs inter"}),
        (
            {"autoscaler": {"forecast": {"target": 1, "bin": "7 h"}, "max_replicas": 2}},
            {"pools.main.autoscaler.forecast.bin": "must go into every (86400 s) a whole number of times"},
        ),
    ],
)
def test_what_is_refused_and_why(pool, expected):
    found = refused(pool)
    assert set(found) >= set(expected)
    for path, message in expected.items():
        assert message in found[path]


def test_operators_keep_their_hands_off_a_pool_that_scales():
    add = {"at": 5, "do": "add", "pool": "main", "replicas": 1}
    found = refused({"spot": {}, "replicas": 2}, [add])
    assert "which would undo it" in found["operations.0.pool"]


def test_schedules_are_in_order_and_inside_their_period():
    with pytest.raises(SpecError) as caught:
        Schedule.from_dict({"steps": [{"at": "9 h", "replicas": 1}, {"at": "8 h", "replicas": 1}]})
    assert "must be later than the one before (32400 s), got 28800 s" in str(caught.value)
    with pytest.raises(SpecError) as caught:
        Schedule.from_dict({"every": "12 h", "steps": [{"at": "13 h", "replicas": 1}]})
    assert "must be less than every (43200 s), got 46800 s" in str(caught.value)
