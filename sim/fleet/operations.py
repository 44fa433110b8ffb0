"""What operators do at set times: replicas added, replicas drained. SimPy processes."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import simpy

from sim.fleet.clocks import Clock
from sim.plane.handle import add_replicas, drain_replicas
from sim.plane.tables import DRAINING, OFF
from sim.spec.fleet import Operation


def carry_out(
    clock: Clock, operation: Operation, pool: int, log: list[dict[str, Any]], over: Callable[[], bool]
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
    yield clock.at(operation.at_s)
    if over():
        return
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do, "pool": operation.pool}
    log.append(entry)
    replicas = clock.plane["replicas"]
    if operation.do == "add":
        entry["replicas"] = clock.act(add_replicas, pool, operation.replicas)
        while (missing := operation.replicas - entry["replicas"]) > 0:
            yield clock.when(lambda: bool(np.any(replicas["state"][replicas["pool"] == pool] == OFF)))
            entry["replicas"] += clock.act(add_replicas, pool, missing)
        entry["added_s"] = clock.env.now
    else:
        row = clock.plane["pools"][pool]
        yield clock.when(lambda: bool(row["num_active"] > operation.replicas))
        draining_before = replicas["state"] == DRAINING
        entry["replicas"] = clock.act(drain_replicas, pool, operation.replicas)
        mine = (replicas["state"] == DRAINING) & ~draining_before
        yield clock.when(lambda: not np.any(replicas["state"][mine] == DRAINING))
        entry["drained_s"] = clock.env.now
