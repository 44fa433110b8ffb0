"""Operators' orders to a pool whose replicas take time to start."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.fleet.scaling.capacity import Capacity, Process
from sim.plane.tables import ACTIVE, DRAINING
from sim.spec.fleet import Operation


def carry_out_in_time(capacity: Capacity, operation: Operation, log: list[dict[str, Any]]) -> Process:
    """A process that does one operation and logs it as `sim.fleet.operations.carry_out` does.

    What is added serves when it has started; a drain takes back first what has not. `added_s` is when as many replicas
    serve as were then wanted, and is missing where that never comes.
    """
    clock, wanted = capacity.clock, operation.replicas or 0
    yield clock.at(operation.at_s)
    if capacity.over():
        return
    entry: dict[str, Any] = {"t_s": clock.env.now, "do": operation.do, "pool": operation.pool, "replicas": wanted}
    log.append(entry)
    if operation.do == "add":
        goal = capacity.wanted + wanted
        capacity.want(goal)
        yield clock.when(lambda: bool(np.count_nonzero(capacity.states == ACTIVE) >= goal))
        entry["added_s"] = clock.env.now
    else:
        before = capacity.states == DRAINING
        capacity.want(capacity.wanted - wanted)
        mine = (capacity.states == DRAINING) & ~before
        yield clock.when(lambda: not np.any(capacity.states[mine] == DRAINING))
        entry["drained_s"] = clock.env.now
