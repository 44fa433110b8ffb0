"""What operators do at set times, replicas added or drained, and outages of the door. SimPy processes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from sim.fleet.clocks import Clock
from sim.plane.commands import add_replicas, count_outages, drain_replicas
from sim.plane.tables import DRAINING, OFF
from sim.spec.fleet import Operation

Log = list[dict[str, Any]]


def outage(clock: Clock, operation: Operation, log: Log, over: Callable[[], bool]) -> Generator[simpy.Event]:
    """A process that shuts the door for a while: whoever arrives fails at once. It logs when, and how long [s].

    Parameters as of `carry_out`.
    """
    yield clock.at(operation.at_s)
    if over():
        return
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do}
    log.append(entry)
    clock.act(count_outages, 1)
    yield clock.at(operation.at_s + (operation.duration_s or 0.0))
    clock.act(count_outages, -1)
    entry["ended_s"] = clock.env.now


def carry_out(
    clock: Clock, operation: Operation, pool: int, log: Log, over: Callable[[], bool]
) -> Generator[simpy.Event]:
    """A process that does one operation, waits until it is complete, and logs both times.

    Replicas are added as far as there are GPUs for them, the others as soon as replicas that drain leave theirs. A
    drain waits until it would leave an active replica.

    Parameters
    ----------
    clock
        Of the run.
    operation
        What to do and when.
    pool
        Index of its pool.
    log
        Gets one entry: when, what, how many, and when the last was there (`added_s`) or empty (`drained_s`).
    over
        Whether the run has ended; nothing is done after that.
    """
    wanted = operation.replicas or 0
    yield clock.at(operation.at_s)
    if over():
        return
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do, "pool": operation.pool}
    log.append(entry)
    replicas = clock.plane["replicas"]
    if operation.do == "add":
        entry["replicas"] = clock.act(add_replicas, pool, wanted)
        while (missing := wanted - entry["replicas"]) > 0:
            yield clock.when(lambda: bool(np.any(replicas["state"][replicas["pool"] == pool] == OFF)))
            entry["replicas"] += clock.act(add_replicas, pool, missing)
        entry["added_s"] = clock.env.now
    else:
        row = clock.plane["pools"][pool]
        yield clock.when(lambda: bool(row["num_active"] > wanted))
        draining_before = replicas["state"] == DRAINING
        entry["replicas"] = clock.act(drain_replicas, pool, wanted)
        mine = (replicas["state"] == DRAINING) & ~draining_before
        yield clock.when(lambda: not np.any(replicas["state"][mine] == DRAINING))
        entry["drained_s"] = clock.env.now
