"""Running a scenario: build it, play it, collect what it leaves, write it down."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sim
from sim import catalog
from sim.fleet.beside import Beside
from sim.fleet.build import Built, build
from sim.fleet.clocks import CLOCKS, Clock
from sim.fleet.drifts import Watch, drift_away
from sim.fleet.host_tiers import counts_of
from sim.fleet.laws import hold
from sim.fleet.mishaps import Mishaps, has_mishaps
from sim.fleet.monitors import Timeline, measure_from
from sim.fleet.operations import carry_out, outage
from sim.fleet.promises import gateway_figures
from sim.fleet.routers import router_failure
from sim.fleet.scaling.operated import carry_out_in_time
from sim.fleet.scaling.pools import ScaledPools
from sim.fleet.split import transfer_figures
from sim.fleet.standstill import stands_still
from sim.metrics.collector import Collector
from sim.metrics.rundata import RunData
from sim.metrics.summary import RunFacts, summarise, tier_histograms
from sim.plane.owner import Plane
from sim.spec import ClosedLoopTraffic, OpenLoopTraffic, Scenario, SessionTraffic, TraceTraffic
from sim.traffic import draws

if TYPE_CHECKING:
    import pandas as pd

Progress = Callable[[float, int], None]
HOUR_S = 3600.0
RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of `ru_maxrss`: getrusage(2) of macOS and of Linux."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    scenario: Scenario
    data: RunData
    collector: Collector
    _info: dict[str, Any]

    @property
    def result(self) -> dict[str, Any]:
        """vLLM's benchmark keys, our own under `sim`: a pure function of scenario, code and seed."""
        return dict(self.data.result)

    @property
    def info(self) -> dict[str, Any]:
        """What depends on the machine or the moment: clock, wall time, host, date."""
        return dict(self._info)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The sample of requests, one row each, with weights."""
        from sim.metrics.tables import requests_table

        frame: pd.DataFrame = requests_table(self.collector).to_pandas()
        return frame

    @property
    def timeline(self) -> NDArray[np.void]:
        """One row per interval and pool (dtype `sim.metrics.timeline.INTERVAL`)."""
        return self.data.timeline

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Plotly figures by name."""
        from sim.report.figures import figures

        return figures(self.data)

    def write(self, folder: str | Path) -> None:
        """Write the run's folder, all but the report; the time it takes is part of `wall_s`."""
        from sim.metrics.tables import requests_table
        from sim.metrics.writer import write_info, write_run

        began = time.perf_counter()
        write_run(Path(folder), self.data, requests_table(self.collector))
        info = self._info
        info["wall_s"] += time.perf_counter() - began
        info["requests_per_wall_s"] = info["num_requests"] / info["wall_s"]
        write_info(Path(folder), info)

    def report(self, path: str | Path) -> None:
        """Write the report: one HTML file that needs nothing else."""
        from sim.report.page import write_report

        write_report(self.data, Path(path))


def run(
    scenario: Scenario,
    *,
    clock: str = "compiled",
    leap: bool = True,
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Run:
    """Simulate a scenario.

    Parameters
    ----------
    scenario
        What to simulate.
    clock
        `compiled` or `simpy`: the same result, at different paces.
    leap
        Take many decode steps as one event where nothing can change in between: the same result, faster.
    out
        Folder that the run will be written to; made, and tried, before the run starts.
    progress
        Called with (simulated time [s], finished requests) now and then.

    Raises
    ------
    SpecError, CapacityError, TraceError
        What is wrong with the scenario, before anything is simulated.
    """
    player = Player(build(scenario), clock, leap, progress)
    if out is not None:
        from sim.metrics.writer import check_output

        check_output(Path(out))
    return player.play()


class Player:
    """One run in progress."""

    def __init__(self, built: Built, clock: str, leap: bool, progress: Progress | None) -> None:
        scenario = built.scenario
        self.built, self.clock_name, self.leap = built, clock, leap
        self.progress = progress or (lambda _t, _n: None)
        self.plane = Plane(built.world, leap=leap)
        CLOCKS[clock].warm_up(self.plane)
        key = draws.key(scenario.seed, draws.SAMPLE)
        self.collector = Collector(
            built.groups,
            lambda user, conversation, turn: draws.bits(key, user, conversation, turn),
            num_hours=int(np.ceil(scenario.horizon_s / HOUR_S)),
        )
        self.take: Callable[[NDArray[np.void]], None] = self.collector.add
        self.watch = Watch(built) if scenario.monitoring is not None else None
        self.beside = Beside()
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
        self.log: Callable[[NDArray[np.void]], None] | None = None

    def play(self) -> Run:
        """Play to the end and sum up."""
        with self.beside:
            return self._play()

    def _play(self) -> Run:
        began = time.perf_counter()
        timeline, end_s = self.simulate()
        wall_s = time.perf_counter() - began
        return self.sum_up(timeline, end_s, wall_s)

    def simulate(self) -> tuple[NDArray[np.void], float]:
        """Play to the end. Returns the timeline (dtype INTERVAL), and the end [s]."""
        scenario, plane = self.built.scenario, self.plane
        clock = CLOCKS[self.clock_name](plane, self.beside.ahead(self.built.source.chunks()), self.keep)
        if self.log is not None:
            clock.log(self.log)
        num_gpus = [profile.num_gpus for profile in self.built.profiles.values()]
        timeline = Timeline(clock, self.built.world, num_gpus, scenario.report_interval_s, lambda: self.over(clock))
        pools = list(self.built.profiles)
        self.scaled = ScaledPools(self.built, clock, lambda: self.over(clock))
        for operation in scenario.fleet.operations:
            over, log = lambda: self.over(clock), self.operations
            if operation.router is not None:
                clock.env.process(router_failure(clock, operation, log, over))
            elif operation.pool is None:
                clock.env.process(outage(clock, operation, log, over))
            elif operation.pool in self.scaled.capacities:
                clock.env.process(carry_out_in_time(self.scaled.capacities[operation.pool], operation, log))
            else:
                clock.env.process(carry_out(clock, operation, pools.index(operation.pool), log, over))
        if has_mishaps(scenario):
            self.mishaps = Mishaps(
                clock, scenario, self.built.profiles, gpus_per_node(scenario), lambda: self.over(clock)
            )
        for drift in scenario.drifts:
            clock.env.process(drift_away(clock, drift, self.built, self.operations, lambda: self.over(clock)))
        if scenario.run_in_s > 0.0:
            clock.env.process(measure_from(clock, 0.0))
        end_s = self.stride(clock)
        timeline.close(end_s)
        for rows in plane.end(end_s):
            self.keep(rows)
        self.beside.catch_up()
        hold(plane, self.num_done, self.num_retries, self.cost_usd, self.booked_usd, drained=scenario.drains)
        return timeline.rows, end_s

    def stride(self, clock: Clock) -> float:
        """Play interval by interval to the horizon, and on until empty if the scenario drains. Returns the end [s]."""
        scenario = self.built.scenario
        now_s = -scenario.run_in_s
        while True:
            before_s, now_s = now_s, now_s + scenario.report_interval_s
            if before_s < scenario.horizon_s:
                now_s = min(now_s, scenario.horizon_s)
            clock.run(now_s)
            self.progress(now_s, self.num_done)
            if self.over(clock):
                worked_s = float(self.plane.scalar("now_s"))  # an aborted request's step ends after it
                return max(self.least_end_s, self.last_end_s, worked_s)
            if not scenario.drains and now_s >= scenario.horizon_s:
                return scenario.horizon_s

    def over(self, clock: Clock) -> bool:
        """Whether a run that drains has ended: nothing is left, or goes on, and nothing can come any more."""
        scenario = self.built.scenario
        if not scenario.drains or clock.env.now < self.least_end_s:
            return False
        return clock.finished or stands_still(clock, scenario, self.scaled, self.mishaps)

    def keep(self, rows: NDArray[np.void]) -> None:
        """Take finished requests."""
        if self.scaled is not None:
            self.scaled.count(rows)
        self.beside.do(self.take, rows)
        if self.watch is not None:
            self.beside.do(self.watch.take, rows)
        self.num_done += len(rows)
        if self.mishaps is not None:
            self.mishaps.count(rows)
        self.num_retries += int(np.count_nonzero(rows["attempt"]))
        self.cost_usd += float(rows["cost_usd"].sum())
        self.booked_usd += float(rows["cost_usd"] @ (rows["arrived_s"] >= 0.0))
        self.last_end_s = max(self.last_end_s, float(np.fmax.reduce(rows["end_s"], initial=0.0)))
        self.progress(float(self.plane.scalar("now_s")), self.num_done)

    def sum_up(self, timeline: NDArray[np.void], end_s: float, wall_s: float) -> Run:
        """Make the result of what was kept."""
        scenario, built, itl = self.built.scenario, self.built, self.plane.itl.copy()
        facts = RunFacts(
            label=scenario.name,
            model_id=", ".join(dict.fromkeys(profile.model for profile in built.profiles.values())),
            version=sim.__version__,
            digest=scenario.digest,
            seed=scenario.seed,
            horizon_s=scenario.horizon_s,
            warmup_s=scenario.run_in_s,
            duration_s=end_s,
            num_fallbacks=self.plane.scalar("num_fallbacks"),
            calibration=built.calibration,
            host_tiers=counts_of(self.plane, scenario),
            **load(built),
        )
        result = summarise(facts, self.collector, itl, timeline, self.plane.itl_per_token, self.plane.spent_s)
        result["sim"]["operations"] = self.operations
        if self.mishaps is not None:
            result["sim"]["faults"] = self.mishaps.result(timeline, end_s)
            result["sim"]["deploys"] = self.mishaps.deploys
        if self.watch is not None:
            result["sim"]["monitoring"] = self.watch.verdicts(timeline)
        pools = list(result["sim"]["by_pool"].values())
        for number, figures in transfer_figures(self.plane, timeline).items():
            pools[number]["kv_transfer"] = figures
        for number, figures in gateway_figures(self.plane).items():
            pools[number]["gateway"] = figures
        for number, figures in self.scaled.summaries(end_s).items() if self.scaled else ():
            pools[number]["scaling"] = figures
        result["sim"]["expected"] = built.source.describe()
        num_measured = int(self.collector.num_requests.sum())
        info = {
            "clock": self.clock_name,
            "leap": self.leap,
            "wall_s": wall_s,
            "num_requests": num_measured,
            "requests_per_wall_s": num_measured / wall_s,
            "num_events": self.plane.scalar("num_events"),
            "events_per_wall_s": self.plane.scalar("num_events") / wall_s,
            "num_requests_with_run_in": self.num_done,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT_BYTES,
            "host": platform.node(),
            "python": platform.python_version(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        data = RunData(
            result=result,
            info=info,
            histograms=tier_histograms(self.collector, itl),
            timeline=timeline,
            tiers=tuple(tier.name for tier in built.groups.tiers),
            assumptions=built.assumptions,
            scenario_yaml=scenario.to_yaml(),
        )
        return Run(scenario, data, self.collector, info)


@dataclass(frozen=True)
class Records:
    """What a run leaves, not summed up."""

    rows: NDArray[np.void]
    """Every request (dtype DONE), in the order they ended."""
    gaps: NDArray[np.int64]
    """Histogram of the times between tokens since t = 0 (`sim.metrics.histogram`), shape [tiers used, NUM_BINS]."""
    timeline: NDArray[np.void]
    """Dtype INTERVAL."""
    end_s: float


def play_records(built: Built, log: Callable[[NDArray[np.void]], None] | None = None) -> Records:
    """Play a small run for its requests alone: nothing is summed up, nothing is sampled.

    `log` takes the log of steps part by part (`sim.plane.log`), where it is wanted.
    """
    player = Player(built, "compiled", leap=True, progress=None)
    player.log = log
    kept: list[NDArray[np.void]] = []
    player.take = kept.append
    with player.beside:
        timeline, end_s = player.simulate()
    return Records(np.concatenate(kept), player.plane.itl.copy(), timeline, end_s)


def gpus_per_node(scenario: Scenario) -> dict[str, int]:
    """GPUs in a node of each pool."""
    gpus = {name: catalog.load_gpu(str(scenario.pool(name).hardware)) for name in scenario.fleet.pools}
    return {name: int(gpu.gpus_per_node) for name, gpu in gpus.items()}


def load(built: Built) -> dict[str, Any]:
    """How hard the load generator pushed, in vLLM's words; of a trace, how much of it a cache could hold at best."""
    traffic = built.scenario.traffic
    if isinstance(traffic, ClosedLoopTraffic):
        return {"max_concurrency": traffic.concurrency}
    if isinstance(traffic, OpenLoopTraffic):
        return {"request_rate_per_s": traffic.rate_per_s, "burstiness": traffic.burstiness}
    if isinstance(traffic, TraceTraffic):
        return {"ideal_hit_frac": built.source.describe()["inputs"]["trace"].get("ideal_prefix_hit_frac")}
    return {}


__all__ = ["Run", "run"]
