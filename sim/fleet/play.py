"""One plane in play: its clock, what goes on in its pools at control pace, and who has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import catalog
from sim.fleet.beside import Line
from sim.fleet.build import Built
from sim.fleet.clocks import CLOCKS, Clock
from sim.fleet.drifts import drift_away
from sim.fleet.islands import Island
from sim.fleet.laws import hold
from sim.fleet.mishaps import Mishaps, has_mishaps
from sim.fleet.monitors import Timeline, measure_from
from sim.fleet.operations import carry_out, outage
from sim.fleet.routers import router_failure
from sim.fleet.scaling.operated import carry_out_in_time
from sim.fleet.scaling.pools import ScaledPools
from sim.fleet.standstill import stands_still
from sim.plane.owner import Plane
from sim.spec import OpenLoopTraffic, Scenario, SessionTraffic
from sim.traffic.arrivals import Chunk

Progress = Callable[[float, int], None]
Sink = Callable[[NDArray[np.void]], None]


class Play:
    """One plane in play.

    Parameters
    ----------
    built
        What is run.
    pools
        The plane's pools. It has the others as well, where nothing happens.
    clock, leap
        See `sim.fleet.run.run`.
    """

    def __init__(self, built: Built, pools: Island, clock: str, *, leap: bool) -> None:
        scenario = built.scenario
        self.built, self.pools = built, pools
        self._clock = clock
        self.plane = Plane(built.world, leap=leap)
        CLOCKS[clock].warm_up(self.plane)
        self.num_done = self.num_retries = 0
        self.last_end_s = 0.0
        # What goes on without end is billed to the horizon, however few requests it happened to send.
        traffic = scenario.traffic
        endless = isinstance(traffic, SessionTraffic)
        endless |= isinstance(traffic, OpenLoopTraffic) and traffic.num_requests is None
        self.least_end_s = scenario.horizon_s if endless else 0.0
        self.cost_usd = self.booked_usd = 0.0
        self.operations: list[dict[str, Any]] = []
        self.mishaps: Mishaps | None = None
        self.scaled: ScaledPools | None = None

    def simulate(
        self, chunks: Iterator[Chunk], sinks: list[Sink], line: Line, progress: Progress, log: Sink | None
    ) -> tuple[NDArray[np.void], float]:
        """Play to the end.

        Parameters
        ----------
        chunks
            Arrivals of these pools, in order of time.
        sinks
            Get the finished requests (dtype DONE), part by part, on the thread of `line`.
        line
            Where work beside the plane is given.
        progress
            Called with (simulated time [s], finished requests) now and then.
        log
            Gets the log of steps, part by part (`sim.plane.log`), where it is wanted.

        Returns
        -------
        timeline, end_s
            Rows of these pools (dtype INTERVAL); when it ended [s].
        """
        self._line, self._sinks, self._progress = line, [self.count, *sinks], progress
        clock = CLOCKS[self._clock](self.plane, chunks, self.keep)
        if log is not None:
            clock.log(log)
        timeline = self._begin(clock)
        end_s = self._stride(clock)
        timeline.close(end_s)
        for rows in self.plane.end(end_s):
            self.keep(rows)
        line.catch_up()
        hold(
            self.plane,
            self.num_done,
            self.num_retries,
            self.cost_usd,
            self.booked_usd,
            drained=self.built.scenario.drains,
        )
        rows = timeline.rows
        return rows[np.isin(rows["pool"], list(self.pools))], end_s

    def _begin(self, clock: Clock) -> Timeline:
        """Set going what goes on at control pace."""
        built, scenario = self.built, self.built.scenario
        num_gpus = [profile.num_gpus for profile in built.profiles.values()]

        def over() -> bool:
            return self._over(clock)

        timeline = Timeline(clock, built.world, num_gpus, scenario.report_interval_s, over)
        pools = list(built.profiles)
        self.scaled = ScaledPools(built, clock, self.pools, over)
        log = self.operations
        for operation in scenario.fleet.operations:
            if operation.router is not None:
                clock.env.process(router_failure(clock, operation, log, over))
            elif operation.pool is None:
                clock.env.process(outage(clock, operation, log, over))
            elif operation.pool in self.scaled.capacities:
                clock.env.process(carry_out_in_time(self.scaled.capacities[operation.pool], operation, log))
            elif (number := pools.index(operation.pool)) in self.pools:
                clock.env.process(carry_out(clock, operation, number, log, over))
        if has_mishaps(scenario):
            self.mishaps = Mishaps(clock, scenario, built.profiles, gpus_per_node(scenario), self.pools, over)
        for drift in scenario.drifts:
            clock.env.process(drift_away(clock, drift, built, log, over))
        if scenario.run_in_s > 0.0:
            clock.env.process(measure_from(clock, 0.0))
        return timeline

    def _stride(self, clock: Clock) -> float:
        """Play interval by interval to the horizon, and on until empty if the scenario drains. Returns the end [s]."""
        scenario = self.built.scenario
        now_s = -scenario.run_in_s
        while True:
            before_s, now_s = now_s, now_s + scenario.report_interval_s
            if before_s < scenario.horizon_s:
                now_s = min(now_s, scenario.horizon_s)
            clock.run(now_s)
            self._progress(now_s, self.num_done)
            if self._over(clock):
                self._line.catch_up()
                worked_s = float(self.plane.scalar("now_s"))  # an aborted request's step ends after it
                return max(self.least_end_s, self.last_end_s, worked_s)
            if not scenario.drains and now_s >= scenario.horizon_s:
                return scenario.horizon_s

    def _over(self, clock: Clock) -> bool:
        """Whether a run that drains has ended: nothing is left, or goes on, and nothing can come any more."""
        scenario = self.built.scenario
        if not scenario.drains or clock.env.now < self.least_end_s:
            return False
        return clock.finished or stands_still(clock, scenario, self.scaled, self.mishaps)

    def keep(self, rows: NDArray[np.void]) -> None:
        """Take finished requests."""
        for sink in self._sinks:
            self._line.do(sink, rows)
        self._progress(float(self.plane.scalar("now_s")), self.num_done)

    def count(self, rows: NDArray[np.void]) -> None:
        """Count finished requests; beside the plane, so a scaled pool's books look back in time."""
        if self.scaled is not None:
            self.scaled.count(rows)
        if self.mishaps is not None:
            self.mishaps.count(rows)
        self.num_done += len(rows)
        self.num_retries += int(np.count_nonzero(rows["attempt"]))
        self.cost_usd += float(rows["cost_usd"].sum())
        self.booked_usd += float(np.sum(rows["cost_usd"], where=rows["arrived_s"] >= 0.0))
        self.last_end_s = max(self.last_end_s, float(np.fmax.reduce(rows["end_s"], initial=0.0)))


def gpus_per_node(scenario: Scenario) -> dict[str, int]:
    """GPUs in a node of each pool."""
    gpus = {name: catalog.load_gpu(str(scenario.pool(name).hardware)) for name in scenario.fleet.pools}
    return {name: int(gpu.gpus_per_node) for name, gpu in gpus.items()}
