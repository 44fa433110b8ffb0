"""What operators do at set times: replicas added, replicas drained. SimPy processes."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from sim.fleet.clocks import Clock
from sim.plane.handle import add_replicas, drain_replicas
from sim.plane.tables import DRAINING
from sim.spec.fleet import Operation


def carry_out(clock: Clock, operation: Operation, pool: int, log: list[dict[str, Any]]) -> Generator[simpy.Event]:
    """A process that does one operation, waits until it is complete, and logs both times.

    Parameters
    ----------
    clock
        Of the run.
    operation
        What to do and when.
    pool
        Index of its pool.
    log
        Gets one entry: when, what, how many, and when the last drained replica was empty.
    """
    yield clock.at(operation.at_s)
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do, "pool": operation.pool}
    log.append(entry)
    if operation.do == "add":
        entry["replicas"] = clock.act(add_replicas, pool, operation.replicas)
        return
    entry["replicas"] = clock.act(drain_replicas, pool, operation.replicas)
    replicas = clock.plane["replicas"]
    yield clock.when(lambda: not ((replicas["pool"] == pool) & (replicas["state"] == DRAINING)).any())
    entry["drained_s"] = clock.env.now
