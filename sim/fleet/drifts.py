"""Drifts that a scenario injects, and the monitors that watch a run. SimPy processes, and readers of records."""

from __future__ import annotations

from collections.abc import Callable, Generator
from itertools import chain
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from sim.fleet.build import Built
from sim.fleet.clocks import Clock
from sim.metrics.drift.compare import joined_bins, psi
from sim.metrics.drift.monitors import Plan, Verdict, watch
from sim.metrics.drift.quantities import Layout, all_series
from sim.metrics.drift.windows import SPREADS, Shape, Windows
from sim.plane.drifts import bust_prefix, scale_lengths, set_block_frac
from sim.spec.drift import Drift
from sim.spec.scenario import DAY_S

Log = list[dict[str, Any]]


def drift_away(clock: Clock, drift: Drift, built: Built, log: Log, over: Callable[[], bool]) -> Generator[simpy.Event]:
    """A process that makes one change at its time, and logs it; nothing is done once the run is over."""
    yield clock.at(drift.at_s)
    if over():
        return
    for change in changes(drift, built):
        clock.act(*change)
    log.append({"t_s": clock.env.now, "do": drift.kind})


def changes(drift: Drift, built: Built) -> list[tuple[Any, ...]]:
    """The commands of a drift: what to call, and with what."""
    kinds = built.source.classes
    mine = [number for number, kind in enumerate(kinds) if drift.tiers is None or kind.tier in drift.tiers]
    if drift.kind == "cache_busting":
        return [(bust_prefix, number) for number in mine]
    if drift.kind == "strict_classifier":
        pool = list(built.profiles).index(str(drift.pool))
        paths = {kinds[number].path for number in mine}
        visits = chain.from_iterable(((name, visit) for visit in path) for name, path in built.world.paths.items())
        return [
            (set_block_frac, number, float(drift.block_frac or 0.0))
            for number, (name, visit) in enumerate(visits)
            if name in paths and visit.pool == pool and visit.kind == "classify"
        ]
    factor = float(drift.factor or 1.0)
    factors = (factor, 1.0) if drift.kind == "longer_prompts" else (1.0, factor)
    return [(scale_lengths, number, *factors) for number in mine]


class Watch:
    """The monitors of one run: they see every request that ends, and the timeline."""

    def __init__(self, built: Built) -> None:
        scenario = built.scenario
        self.built, self.interval_s = built, scenario.report_interval_s
        pools = built.world.pools
        ends = np.cumsum([max(pool.max_replicas, pool.num_replicas) for pool in pools])
        self.replicas = tuple(range(int(begin), int(end)) for begin, end in zip([0, *ends[:-1]], ends, strict=True))
        shape = Shape(
            interval_s=self.interval_s,
            num_intervals=int(scenario.horizon_s / self.interval_s),
            prefix_tokens=tuple(kind.prefix_tokens for kind in built.source.classes),
            num_languages=len(built.groups.languages),
            num_replicas=int(ends[-1]),
        )
        self.windows = Windows(shape)
        self.take = self.windows.add

    def layout(self) -> Layout:
        """The names of what is watched; a group is a path and the classes that take it."""
        paths = self.built.world.paths
        classes = self.built.source.classes
        groups = {name: tuple(n for n, kind in enumerate(classes) if kind.path == name) for name in paths}
        return Layout(
            groups={name: ids for name, ids in groups.items() if ids},
            classes=tuple(kind.name for kind in classes),
            languages=self.built.groups.languages,
            pools=tuple(self.built.profiles),
            replicas=self.replicas,
            answering=frozenset(
                next(v.pool for v in reversed(path) if v.kind != "classify") for path in paths.values()
            ),
        )

    def gauges(self, timeline: NDArray[np.void]) -> NDArray[np.float64]:
        """Requests waiting for each replica, and KV use, shape [interval, pool, 2]."""
        found = np.zeros((self.windows.shape.num_intervals, len(self.replicas), 2))
        at = np.floor(timeline["t_s"] / self.interval_s + 1e-9).astype(np.int64)
        rows = timeline[inside := (at >= 0) & (at < len(found))]
        waiting = rows["waiting_mean"] / np.maximum(rows["num_replicas"], 1.0)
        found[at[inside], rows["pool"]] = np.stack([waiting, rows["kv_used_mean_frac"]], axis=1)
        return found

    def verdicts(self, timeline: NDArray[np.void]) -> dict[str, Any]:
        """What the monitors say of every week after the first baseline, fit for JSON."""
        asked = self.built.scenario.monitoring
        if asked is None:
            raise ValueError("the scenario asks for no monitoring")
        plan = Plan(round(DAY_S / self.interval_s), asked.baseline_weeks, asked.false_alarms_per_week)
        charts, series = all_series(self.windows, self.gauges(timeline), self.layout(), plan.baseline_weeks * plan.week)
        return {
            "false_alarms_per_week": asked.false_alarms_per_week,
            "baseline_weeks": asked.baseline_weeks,
            "num_charts": len(charts),
            "limit": plan.limit(len(charts)),
            "weeks": [
                as_dict(number, verdict, plan, self.interval_s)
                | {"psi": self.shifts(plan, number, verdict) if verdict.alarms else None}
                for number, verdict in watch(charts, series, plan)
            ],
        }

    def shifts(self, plan: Plan, number: int, verdict: Verdict) -> dict[str, float]:
        """Stability index of each group's lengths and latencies, from the first alarm to the end of its week."""
        spreads = self.windows.spreads
        begin = number * plan.week
        known = spreads[:, : plan.baseline_weeks * plan.week].sum(axis=1)
        new = spreads[:, begin + verdict.alarms[0].interval : begin + plan.week].sum(axis=1)
        found = {}
        for name, ids in self.layout().groups.items():
            for quantity, counts, later in zip(SPREADS, known[:, ids], new[:, ids], strict=True):
                before, after = counts.sum(axis=0), later.sum(axis=0)
                if before.any() and after.any():
                    found[f"{name} {quantity}"] = psi(*joined_bins(before, after))
        return found


def as_dict(number: int, verdict: Verdict, plan: Plan, interval_s: float) -> dict[str, Any]:
    """A verdict, with times since the start of the run [s]."""
    begin_s = number * plan.week * interval_s
    found = verdict.diagnosis
    return {
        "begin_s": begin_s,
        "alarms": [
            {
                "chart": str(alarm.chart),
                "t_s": begin_s + (alarm.interval + 1) * interval_s,
                "since_s": begin_s + alarm.since * interval_s,
                "direction": "up" if alarm.upwards else "down",
            }
            for alarm in verdict.alarms
        ],
        "diagnosis": None
        if found is None
        else {
            "owner": found.owner.layer,
            "first_look": found.owner.first_look,
            "because": found.because,
            "moved_stderr": found.moved,
        },
    }
