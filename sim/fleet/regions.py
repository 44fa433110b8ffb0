"""From a scenario's regions to the plane's."""

from __future__ import annotations

from sim.plane.world_regions import Regions
from sim.spec import PopulationTraffic, Scenario
from sim.spec.regions import EVERYWHERE, way_s


def regions_of(scenario: Scenario) -> Regions | None:
    """Regions of a scenario's fleet, and the places of its senders; None: all is in one place."""
    regions = scenario.fleet.regions
    if not regions:
        return None
    traffic = scenario.traffic
    shares = {EVERYWHERE: 1.0}
    if isinstance(traffic, PopulationTraffic) and traffic.regions:
        shares = {name: region.user_frac for name, region in traffic.regions.items()}
    spill_at = scenario.fleet.spill_at
    return Regions(
        names=tuple(regions),
        user_frac=tuple(shares.values()),
        to_users_s=[[region.users[place] for region in regions.values()] for place in shares],
        between_s=[[way_s(regions, a, b) or 0.0 for b in regions] for a in regions],
        spill_at=float("inf") if spill_at is None else spill_at,
    )
