"""Both clocks, leaping or not, play any fleet to the same bytes, control processes and all; and its books balance."""

from itertools import pairwise

import numpy as np
import pytest
from fleet_books import check_laws, play_every_way
from fleets import scenarios
from hypothesis import HealthCheck, given, settings

import sim
from sim import catalog
from sim.fleet.build import build
from sim.fleet.clocks import CLOCKS
from sim.plane.owner import Plane
from sim.spec import Scenario

FREELY = settings(suppress_health_check=list(HealthCheck))


def hold(scenario):
    """Play a scenario every way, and check what it leaves."""
    check_laws(play_every_way(build(scenario)))


@settings(FREELY, max_examples=25)
@given(scenarios())
def test_every_clock_plays_a_random_fleet_to_the_same_bytes(scenario):
    hold(scenario)


@pytest.mark.slow
@settings(FREELY, max_examples=300)
@given(scenarios())
def test_every_clock_plays_many_random_fleets_to_the_same_bytes(scenario):
    hold(scenario)


@pytest.mark.slow
@settings(FREELY, max_examples=30)
@given(scenarios(weeks=True))
def test_every_clock_plays_weeks_under_monitors_to_the_same_bytes(scenario):
    hold(scenario)


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_the_clocks_stop_where_they_are_told_to_the_last_bit(clock):
    """now + (then - now) is not always then."""
    scenario = Scenario.from_yaml(catalog.read("scenarios", "quickstart")[0]).replace_all({"horizon": 60.0})
    times_s = np.sort(10.0 ** np.random.default_rng(1).uniform(-6.0, 1.7, 20)).tolist()
    assert any(a + (b - a) != b for a, b in pairwise(times_s))
    built = build(scenario)
    player = CLOCKS[clock](Plane(built.world), built.source.chunks(), lambda _rows: None)
    for t_s in times_s:
        player.run(t_s)
        assert player.env.now == t_s


def test_what_waits_is_woken_at_the_instant_of_the_event():
    """A drain is complete when its last request has ended, the same instant under both clocks."""
    drains = [{"at": at_s, "do": "drain", "pool": "main", "replicas": 1} for at_s in (1.1, 2.3, 3.7, 5.9, 7.1, 8.3)]
    changes = {"fleet.operations": drains, "fleet.pools.main.replicas": 8, "horizon": "20 s"}
    scenario = sim.load("quickstart", set=changes)
    ended = [
        [one["drained_s"] for one in sim.run(scenario, clock=clock).result["sim"]["operations"]]
        for clock in ("compiled", "simpy")
    ]
    assert len(ended[0]) == len(drains)
    assert ended[0] == ended[1]
