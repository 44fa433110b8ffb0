"""Drills for monitors: weeks in which nothing changes, and weeks in which something does, on a thinned fleet.

Thinned: the scenario's people, prompts, answers, tiers, languages and curve, with so few users that a day has some
20,000 requests, on a handful of replicas. A *service* is one seed: its people come again week after week, so a week is
compared with other weeks of the same service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.fleet.build import Pools, build
from sim.fleet.drifts import Watch
from sim.fleet.run import Player
from sim.metrics.drift.baseline import Baseline, Series
from sim.metrics.drift.monitors import Plan, Verdict, judge, watch
from sim.metrics.drift.quantities import Chart, all_series
from sim.spec import Scenario

ONE_GUARD: Mapping[str, Any] = {
    "fleet.paths.api": [
        {"pool": "guard", "kind": "classify", "prompt": "user", "template_tokens": 210, "block_frac": 0.01},
        {"pool": "api"},
    ],
    "fleet.pools.api-guard": None,
}
"""Of meridian-1, `plain`: one guard for chat and API."""
THINNED: Mapping[str, Any] = {
    **ONE_GUARD,
    "traffic.monthly_users": 5_000,
    "traffic.api.num_clients": 35,
    "traffic.start_weekday": "monday",
    "fleet.pools.main.replicas": 4,
    "fleet.pools.main.max_replicas": 4,
    "fleet.pools.api.replicas": 2,
    "fleet.pools.api.max_replicas": 2,
    "fleet.pools.guard.replicas": 1,
    "fleet.pools.guard.max_replicas": 1,
    "run_in": "1 h",
    "report_interval": "1 h",
}
"""Of meridian-1, `plain`: 20,000 requests a day, hour by hour."""
PER_DAY = 24
WEEK = 7 * PER_DAY
DRIFT_HOUR = 57
"""Drifts begin on Wednesday at 9 in the morning."""
DRIFT_HOURS = 96
"""Hours that are played of a week with a drift."""


@dataclass(frozen=True)
class Drill:
    """A drift, and the layer that owns it."""

    name: str
    layer: str
    changes: Mapping[str, Any]


def drift(**fields: Any) -> Mapping[str, Any]:
    """Changes of a scenario that make it drift."""
    return {"drifts": [{"at": f"{DRIFT_HOUR} h"} | fields]}


DRILLS = (
    Drill("longer_prompts", "product", drift(kind="longer_prompts", tiers=["free", "plus", "pro"], factor=1.3)),
    Drill("cache_busting", "prompt template", drift(kind="cache_busting", tiers=["free", "plus", "pro"])),
    Drill("strict_classifier", "safety", drift(kind="strict_classifier", pool="guard", block_frac=0.03)),
    Drill("longer_answers", "model", drift(kind="longer_answers", factor=1.15)),
    Drill(
        "sick_gpu",
        "hardware",
        {
            "fleet.faults": {
                "incidents": [{"at": f"{DRIFT_HOUR} h", "do": "slow", "pool": "main", "replicas": [2], "factor": 1.2}]
            }
        },
    ),
)
"""Injected drifts: prompts of the chat 30 % longer after a release, a system prompt that differs each time, three times
as many messages blocked, answers 15 % longer, one replica of four whose steps take 20 % longer; all sizes *assumed*."""


@dataclass(frozen=True)
class Seen:
    """What monitors have seen of a service."""

    endings: NDArray[np.int64]
    sums: NDArray[np.float64]
    languages: NDArray[np.int64]
    replicas: NDArray[np.float64]
    gauges: NDArray[np.float64]


def thinned(scenario: Scenario, changes: Mapping[str, Any] = THINNED) -> Scenario:
    """A scenario with few users and replicas."""
    for path, value in changes.items():
        scenario = scenario.replace(path, value)
    return scenario


def play(scenario: Scenario, pools: Pools, seed: int, hours: int, changes: Mapping[str, Any]) -> tuple[Watch, Seen]:
    """Play the first hours of a service, and keep what monitors see."""
    scenario = thinned(scenario.replace("seed", seed).replace("horizon", f"{hours} h"), changes)
    built = build(scenario, pools)
    seen = Watch(built)
    player = Player(built, "compiled", leap=True, progress=None, num_planes=1)
    player.take = seen.take
    with player.beside:
        timeline, _ = player.simulate()
    windows = seen.windows
    return seen, Seen(windows.endings, windows.sums, windows.languages, windows.replicas, seen.gauges(timeline))


def series_of(seen: Watch, found: Seen, known: int) -> tuple[list[Chart], Series]:
    """The series of what was seen."""
    windows = seen.windows
    windows.endings, windows.sums = found.endings, found.sums
    windows.languages, windows.replicas = found.languages, found.replicas
    return all_series(windows, found.gauges, seen.layout(), known)


def joined(calm: Seen, drifting: Seen) -> Seen:
    """What was seen of the calm weeks, and behind it of the drifting one, so that both have the same series."""
    axes = {"sums": 1, "replicas": 1}
    return Seen(
        **{
            name: np.concatenate([getattr(calm, name), getattr(drifting, name)], axis=axes.get(name, 0))
            for name in Seen.__dataclass_fields__
        }
    )


def false_alarms(charts: list[Chart], calm: Series, plan: Plan) -> list[tuple[int, Verdict]]:
    """The verdict on every week of a service that does not change."""
    return watch(charts, calm, plan)


def drilled(charts: list[Chart], calm: Series, drifting: Series, plan: Plan) -> Verdict:
    """The verdict on a first week that drifts, against the service's next weeks, in which nothing has changed."""
    baseline = Baseline.fit(calm.part(WEEK, (1 + plan.baseline_weeks) * WEEK), plan.per_day)
    return judge(charts, baseline, drifting, plan.k, plan.limit(len(charts)))
