"""Both clocks, leaping or not, play any fleet to the same bytes, control processes and all; and its books balance."""

import pytest
from fleet_books import check_laws, play_every_way
from fleets import scenarios
from hypothesis import HealthCheck, given, settings

from sim.fleet.build import build

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
