"""Running a scenario: build it, play it, collect what it leaves, write it down."""

from __future__ import annotations

import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import sim
from sim.fleet.beside import Beside
from sim.fleet.build import Built, build
from sim.fleet.dealer import Dealer
from sim.fleet.drifts import Watch
from sim.fleet.host_tiers import counts_of
from sim.fleet.islands import share_out
from sim.fleet.mishaps import told_together
from sim.fleet.play import Play, Progress, Sink
from sim.fleet.promises import gateway_figures
from sim.fleet.side_by_side import num_processors, side_by_side
from sim.fleet.split import transfer_figures
from sim.metrics.collector import Collector
from sim.metrics.host_tier import HostTierCounts
from sim.metrics.rundata import RunData
from sim.metrics.summary import RunFacts, summarise, tier_histograms
from sim.spec import ClosedLoopTraffic, OpenLoopTraffic, Scenario, TraceTraffic
from sim.traffic import draws

if TYPE_CHECKING:
    import pandas as pd

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
    num_planes: int | None = None,
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
    num_planes
        Processors that pools which share nothing may be played on at once, the same result with any number; default:
        all. Give 1 where many runs go on at once.

    Raises
    ------
    SpecError, CapacityError, TraceError
        What is wrong with the scenario, before anything is simulated.
    """
    player = Player(build(scenario), clock, leap, progress, num_planes)
    if out is not None:
        from sim.metrics.writer import check_output

        check_output(Path(out))
    return player.play()


class Player:
    """One run in progress.

    Parameters
    ----------
    built, clock, leap, progress
        See `run`; what is run is built already.
    num_planes
        Planes that may be in play at once: each has pools that share nothing with those of another
        (`sim.fleet.islands`), and a thread of its own. The result is the same with any number. Default: as many as
        there are processors; SimPy has one, so that all can be watched.
    """

    def __init__(
        self, built: Built, clock: str, leap: bool, progress: Progress | None, num_planes: int | None = None
    ) -> None:
        scenario = built.scenario
        self.built, self.clock_name, self.leap = built, clock, leap
        self.progress = progress or (lambda _t, _n: None)
        most = 1 if clock == "simpy" else num_planes or num_processors()
        self.plays = [Play(built, pools, clock, leap=leap) for pools in share_out(built, most)]
        key = draws.key(scenario.seed, draws.SAMPLE)
        self.collector = Collector(
            built.groups,
            lambda user, conversation, turn: draws.bits(key, user, conversation, turn),
            num_hours=int(np.ceil(scenario.horizon_s / HOUR_S)),
        )
        self.take: Sink = self.collector.add
        self.watch = Watch(built) if scenario.monitoring is not None else None
        self.beside = Beside()
        self.log: Sink | None = None

    def play(self) -> Run:
        """Play to the end and sum up."""
        with self.beside:
            began = time.perf_counter()
            timeline, end_s = self.simulate()
            wall_s = time.perf_counter() - began
            return self.sum_up(timeline, end_s, wall_s)

    def simulate(self) -> tuple[NDArray[np.void], float]:
        """Play to the end. Returns the timeline (dtype INTERVAL), and the end [s]."""
        chunks = self.beside.ahead(self.built.source.chunks())
        dealer = Dealer(chunks, self.plane_of_class(), len(self.plays))
        sinks = [self.take] + ([self.watch.take] if self.watch is not None else [])

        def work(number: int) -> tuple[NDArray[np.void], float]:
            mine = dealer.of(number) if len(self.plays) > 1 else chunks
            progress = self._tell if number == 0 else (lambda _t, _n: None)
            try:
                return self.plays[number].simulate(mine, sinks, self.beside.line(), progress, self.log)
            except BaseException:
                dealer.stop()
                raise
            finally:
                dealer.leave(number)

        rows, ends_s = zip(*side_by_side([partial(work, number) for number in range(len(self.plays))]), strict=True)
        timeline = np.concatenate(rows)
        return timeline[np.lexsort((timeline["pool"], timeline["t_s"]))], max(ends_s)

    def plane_of_class(self) -> NDArray[np.int64]:
        """Which plane plays the requests of a class, shape [class]."""
        paths = [self.built.world.paths[kind.path] for kind in self.built.source.classes]
        visited = [{visit.pool for visit in path} for path in paths]  # a pause is in none
        return np.array([[bool(pools & play.pools) for play in self.plays].index(True) for pools in visited])

    def _tell(self, now_s: float, _num_done: int) -> None:
        self.progress(now_s, sum(play.num_done for play in self.plays))

    def sum_up(self, timeline: NDArray[np.void], end_s: float, wall_s: float) -> Run:
        """Make the result of what was kept."""
        scenario, built, planes = self.built.scenario, self.built, [play.plane for play in self.plays]

        def scalar(name: str) -> int:
            return sum(plane.scalar(name) for plane in planes)

        itl = np.sum([plane.itl for plane in planes], axis=0)
        facts = RunFacts(
            label=scenario.name,
            model_id=", ".join(dict.fromkeys(profile.model for profile in built.profiles.values())),
            version=sim.__version__,
            digest=scenario.digest,
            seed=scenario.seed,
            horizon_s=scenario.horizon_s,
            warmup_s=scenario.run_in_s,
            duration_s=end_s,
            num_fallbacks=scalar("num_fallbacks"),
            calibration=built.calibration,
            host_tiers=self._host_tiers(),
            **load(built),
        )
        per_token = np.sum([plane.itl_per_token for plane in planes], axis=0)
        spent_s = np.sum([plane.spent_s for plane in planes], axis=0)
        result = summarise(facts, self.collector, itl, timeline, per_token, spent_s)
        result["sim"]["operations"] = list(chain.from_iterable(play.operations for play in self.plays))
        mishaps = [play.mishaps for play in self.plays if play.mishaps is not None]
        if mishaps:
            result["sim"]["faults"] = told_together(mishaps, timeline, end_s)
            result["sim"]["deploys"] = list(chain.from_iterable(one.deploys for one in mishaps))
        if self.watch is not None:
            result["sim"]["monitoring"] = self.watch.verdicts(timeline)
        pools = list(result["sim"]["by_pool"].values())
        for name, figures_of in FIGURES.items():
            for play in self.plays:
                for number, figures in figures_of(play, timeline, end_s).items():
                    if number in play.pools:
                        pools[number][name] = figures
        result["sim"]["expected"] = built.source.describe()
        num_measured = int(self.collector.num_requests.sum())
        info = {
            "clock": self.clock_name,
            "leap": self.leap,
            "num_planes": len(planes),
            "wall_s": wall_s,
            "num_requests": num_measured,
            "requests_per_wall_s": num_measured / wall_s,
            "num_events": scalar("num_events"),
            "events_per_wall_s": scalar("num_events") / wall_s,
            "num_requests_with_run_in": sum(play.num_done for play in self.plays),
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

    def _host_tiers(self) -> dict[str, HostTierCounts]:
        """What the host tiers did, by pool."""
        names = list(self.built.profiles)
        found = [(play.pools, counts_of(play.plane, self.built.scenario)) for play in self.plays]
        return {
            name: counts[name]
            for number, name in enumerate(names)
            for pools, counts in found
            if number in pools and name in counts
        }


FIGURES: dict[str, Callable[[Play, NDArray[np.void], float], Mapping[int, dict[str, Any]]]] = {
    "kv_transfer": lambda play, timeline, _: transfer_figures(play.plane, timeline),
    "gateway": lambda play, _, _end: gateway_figures(play.plane),
    "scaling": lambda play, _, end_s: play.scaled.summaries(end_s) if play.scaled else {},
}
"""What a pool's entry in the result has besides, where there is any: by number of the pool."""


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
    player = Player(built, "compiled", leap=True, progress=None, num_planes=1)
    player.log = log
    kept: list[NDArray[np.void]] = []
    player.take = kept.append
    with player.beside:
        timeline, end_s = player.simulate()
    return Records(np.concatenate(kept), player.plays[0].plane.itl.copy(), timeline, end_s)


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
