"""A router fails: the requests that came by it fail with it."""

from __future__ import annotations

import numpy as np

from sim.fleet.clocks import Clock
from sim.plane.commands import abort_row, close_router
from sim.plane.tables import FREE, THINKING


def fail_router(clock: Clock, router: int) -> int:
    """Take a router down, now: requests under way by it end as failed, in the order in which they came.

    Whoever asks again comes by another, if one is up. `sim.plane.commands.open_router` brings it back, knowing nothing.

    Returns
    -------
    int
        Requests that were under way by it.
    """
    plane = clock.plane
    if not clock.act(close_router, router):
        return 0
    rows = plane["requests"][: plane.scalar("num_requests")]
    alive = ~np.isin(rows["state"], (FREE, THINKING))
    if plane.scalar("num_routers") > 1:
        alive &= plane["via"]["v"][: len(rows)] == router
    slots = np.flatnonzero(alive)
    for slot in slots[np.argsort(rows["serial"][slots])].tolist():
        clock.act(abort_row, slot)
    return len(slots)
