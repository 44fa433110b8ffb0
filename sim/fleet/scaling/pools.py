"""The scaled pools of a run: their processes set going, their requests counted, their results summed up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.fleet.build import Built
from sim.fleet.clocks import Clock
from sim.fleet.scaling.autoscaler import Scaler
from sim.fleet.scaling.capacity import Capacity
from sim.fleet.scaling.ledger import Ledger
from sim.fleet.scaling.spot import Interruptions
from sim.fleet.scaling.starts import starts_of
from sim.spec.companions import before_check
from sim.spec.scaling import most_serving, num_warm, startup_of


class ScaledPools:
    """Those pools of a run whose replicas take time to start, by name; mostly none.

    Parameters
    ----------
    built
        What is run.
    clock
        Of the run, at its start.
    pools
        Numbers of those it is about.
    over
        Whether the run has ended.
    """

    def __init__(self, built: Built, clock: Clock, pools: Collection[int], over: Callable[[], bool]) -> None:
        scenario, self._groups = built.scenario, built.groups
        self.capacities: dict[str, Capacity] = {}
        for number, (name, profile) in enumerate(built.profiles.items()):
            pool = scenario.pool(name)
            if number not in pools or startup_of(pool) is None:
                continue
            paths = [before_check(scenario.fleet.paths[kind.path]) for kind in built.source.classes]
            answered = [path[-1].pool == name for path in paths]
            base = pool.spot.on_demand_base if pool.spot else None
            ledger = Ledger(clock.plane, number, np.array(answered, dtype=np.bool_), base)
            starts = starts_of(pool, profile, scenario.seed, number)
            capacity = Capacity(clock, number, starts, num_warm(pool), base, ledger, over)
            self.capacities[name] = capacity
            clock.env.process(at_once(capacity))
            if pool.spot is not None:
                clock.env.process(Interruptions(capacity, pool.spot, scenario.seed).run())
            if pool.autoscaler is not None:
                clock.env.process(Scaler(capacity, pool.autoscaler, most_serving(pool)).run())
        if scenario.run_in_s > 0.0 and self.capacities:
            clock.env.process(self._begin(clock))

    def _begin(self, clock: Clock) -> Generator[simpy.Event]:
        yield clock.at(0.0)
        for capacity in self.capacities.values():
            capacity.ledger.begin()

    def count(self, rows: NDArray[np.void]) -> None:
        """Count finished requests (dtype DONE)."""
        for capacity in self.capacities.values():
            capacity.ledger.count(rows, self._groups)

    def summaries(self, end_s: float) -> dict[int, dict[str, Any]]:
        """Results by index of the pool."""
        return {capacity.pool: capacity.ledger.summary(end_s) for capacity in self.capacities.values()}


def at_once(capacity: Capacity) -> Generator[simpy.Event]:
    """A process that orders the warm pool at the start."""
    yield capacity.clock.at(capacity.clock.env.now)
    capacity.reconcile()
