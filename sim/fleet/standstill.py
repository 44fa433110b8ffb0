"""Whether a run that drains would go on for ever: who is left waits at a gateway, for replicas that never come back."""

from __future__ import annotations

import numpy as np

from sim.fleet.clocks import Clock
from sim.fleet.mishaps import Mishaps
from sim.fleet.scaling.pools import ScaledPools
from sim.plane.tables import DOWN, DRAINING, FAR, FREE, OFF, QUEUED, STARTING, WARM, WITHHELD
from sim.spec import Scenario


def stands_still(clock: Clock, scenario: Scenario, scaled: ScaledPools | None, mishaps: Mishaps | None) -> bool:
    """Return whether nothing will happen any more, though requests are left: after the horizon, without any timer."""
    plane, now_s = clock.plane, clock.env.now
    if now_s < scenario.horizon_s:
        return False
    rows = plane["requests"]
    states = rows["state"]
    queued = states == QUEUED
    if not queued.any() or not np.isin(states, (FREE, QUEUED, WITHHELD)).all():
        return False
    if np.any(rows["timer_s"][queued] < FAR) or any(one.at_s >= now_s for one in scenario.fleet.operations):
        return False
    lost = mishaps.ward.lost if mishaps is not None else set()
    for number, pool in enumerate(scenario.fleet.pools):
        first, size = (int(plane["pools"][number][name]) for name in ("first_replica", "max_replicas"))
        found = plane["replicas"]["state"][first : first + size].tolist()
        comes = {DRAINING, STARTING, WARM} | ({OFF} if scaled is not None and pool in scaled.capacities else set())
        if any(state in comes or (state == DOWN and first + n not in lost) for n, state in enumerate(found)):
            return False
    return True
