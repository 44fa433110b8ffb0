"""Routers: what a scenario says of them, and one that fails, with the requests that came by it. SimPy processes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from sim.fleet.clocks import Clock
from sim.plane.commands import abort_row, close_router, open_router
from sim.plane.tables import FREE, THINKING
from sim.plane.world_routing import Routing
from sim.spec.fleet import Operation
from sim.spec.routing import Routing as RoutingSpec


def routing_of(given: RoutingSpec) -> Routing:
    """The plane's part of what a scenario says about routers."""
    return Routing(
        num_routers=given.num_routers,
        by_conversation=given.spread == "conversation",
        state_interval_s=given.state_interval_s,
        counts_own=given.gauges == "corrected",
        index_blocks=given.prefix_index_blocks if given.prefix_index == "routed" else 0,
        min_match_frac=given.min_match_frac,
    )


def router_failure(
    clock: Clock, operation: Operation, log: list[dict[str, Any]], over: Callable[[], bool]
) -> Generator[simpy.Event]:
    """A process that takes a router down for a while; it logs when, how many requests failed with it, and how long.

    Parameters as of `sim.fleet.operations.carry_out`.
    """
    yield clock.at(operation.at_s)
    if over():
        return
    router = operation.router or 0
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do, "router": router}
    log.append(entry)
    entry["failed"] = fail_router(clock, router)
    yield clock.at(operation.at_s + (operation.duration_s or 0.0))
    clock.act(open_router, router)
    entry["ended_s"] = clock.env.now


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
