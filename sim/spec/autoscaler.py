"""How many replicas a pool is to have: what an autoscaler looks at, how fast it moves, and between which limits.

Names, rules and defaults are those of Kubernetes' HorizontalPodAutoscaler (autoscaling/v2); scheduled and predictive
scaling are further proposals beside its metrics, and the largest of all wins, as in KEDA.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from sim.spec.base import NonNegativeNumber, PositiveInt, PositiveNumber, PositiveSeconds, Seconds, Spec

DAY_S = 86_400.0
Metric = Literal["waiting", "running", "outstanding", "kv_used_frac", "busy_frac", "arrivals_per_s"]
"""waiting, running: requests at the engines (vLLM's num_requests_waiting, num_requests_running); outstanding: both.
kv_used_frac: share of KV-cache blocks in use (vLLM's kv_cache_usage_perc). busy_frac: share of the time since the last
look with a step under way. arrivals_per_s: requests that came to the pool since then."""


class ScalingMetric(Spec):
    """What replicas are to have of a metric on average."""

    metric: Metric
    """What is looked at, over the active replicas of the pool."""
    target: PositiveNumber
    """How much of it one replica is to have."""
    window_s: Seconds = Field(default=0.0, alias="window")
    """The mean of the looks in so long a time counts, as PromQL's avg_over_time [s]. Default 0: the last look alone."""


class ScalingPolicy(Spec):
    """One limit on the pace of scaling."""

    type: Literal["replicas", "percent"]
    """replicas: so many. percent: of those at the beginning of the period."""
    value: PositiveInt
    """How many replicas, or how many percent, in a period."""
    period_s: PositiveSeconds = Field(default=15.0, alias="period")
    """The period [s]. Default 15 s."""


class ScalingRules(Spec):
    """How fast a pool scales in one direction."""

    stabilization_window_s: Seconds = Field(default=0.0, alias="stabilization_window")
    """Proposals of so long a time are looked at, and the one that changes least is taken [s]."""
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1)]
    """Limits on the pace."""
    select_policy: Literal["max", "min", "disabled"] = "max"
    """Which of them counts: the one that allows most, or least; disabled: no scaling in this direction. Default max."""


class ScaleUp(ScalingRules):
    """How fast replicas are added."""

    stabilization_window_s: Seconds = Field(default=0.0, alias="stabilization_window")
    """Proposals of so long a time are looked at, and the lowest is taken [s]. Default 0: Kubernetes'."""
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1)] = (
        ScalingPolicy(type="percent", value=100, period=15.0),
        ScalingPolicy(type="replicas", value=4, period=15.0),
    )
    """Limits on the pace. Default: 100 % or 4 replicas in 15 s, Kubernetes'."""


class ScaleDown(ScalingRules):
    """How fast replicas are drained."""

    stabilization_window_s: Seconds = Field(default=300.0, alias="stabilization_window")
    """Proposals of so long a time are looked at, and the highest is taken [s]. Default 300 s: Kubernetes'."""
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1)] = (
        ScalingPolicy(type="percent", value=100, period=15.0),
    )
    """Limits on the pace. Default: 100 % in 15 s, Kubernetes'."""


class ScheduledReplicas(Spec):
    """The least number of replicas from a time of the day (or week) on."""

    at_s: Seconds = Field(alias="at")
    """When [s after the beginning of the period], such as 8 h."""
    replicas: PositiveInt
    """How many, until the next entry; the last entry holds from the end of one period to the first of the next."""


class Schedule(Spec):
    """Numbers of replicas that come back every day or week."""

    every_s: PositiveSeconds = Field(default=DAY_S, alias="every")
    """The period [s], counted from t = 0. Default 24 h."""
    steps: Annotated[tuple[ScheduledReplicas, ...], Field(min_length=1)]
    """What holds from when."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield times out of order or beyond the period."""
        for index, (one, other) in enumerate(pairwise(self.steps), start=1):
            if other.at_s <= one.at_s:
                yield f"steps.{index}.at", f"must be later than the one before ({one.at_s:g} s), got {other.at_s:g} s"
        if self.steps[-1].at_s >= self.every_s:
            last = len(self.steps) - 1
            yield f"steps.{last}.at", f"must be less than every ({self.every_s:g} s), got {self.steps[-1].at_s:g} s"


class Forecast(Spec):
    """Predictive scaling: what a metric was at this time of the last day or week, times how it has changed since.

    No proposal is made as long as there is no last period.
    """

    metric: Literal["outstanding", "running", "arrivals_per_s"] = "arrivals_per_s"
    """What is forecast: the pool's total. Default arrivals_per_s."""
    target: PositiveNumber
    """How much of it one replica is to have."""
    every_s: PositiveSeconds = Field(default=DAY_S, alias="every")
    """The period that comes back [s]: a day or a week. Default 24 h."""
    bin_s: PositiveSeconds = Field(default=900.0, alias="bin")
    """Width of the bins that the past is kept in [s]. Default 15 min."""
    lead_s: PositiveSeconds | None = Field(default=None, alias="lead")
    """How far ahead to look [s]: the largest forecast until then is taken. Default: the mean time that a replica takes
    to start, and one sync period."""
    trend_window_s: Seconds = Field(default=3600.0, alias="trend_window")
    """The mean of so long a time over that of the same time a period ago is the change since [s]; 0: no change. Default
    1 h."""
    history: tuple[NonNegativeNumber, ...] = ()
    """Means of the metric in even parts of the period before the start: known from before, or from another run.
    Default: nothing is known."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield bins that do not tile the period."""
        ratio = self.every_s / self.bin_s
        if abs(ratio - round(ratio)) > 1e-9 * ratio or round(ratio) < 2:
            how_often = f"must go into every ({self.every_s:g} s) a whole number of times, at least 2"
            yield "bin", f"{how_often}, got {self.bin_s:g} s"


class Autoscaler(Spec):
    """Who decides how many replicas a pool has. The largest proposal of metrics, schedule and forecast counts."""

    min_replicas: PositiveInt = 1
    """Least replicas. Default 1."""
    max_replicas: PositiveInt | None = None
    """Most replicas that serve. Default: the pool's max_replicas, less its warm pool."""
    sync_period_s: PositiveSeconds = Field(default=15.0, alias="sync_period")
    """Time between decisions [s]. Default 15 s: Kubernetes'."""
    tolerance: NonNegativeNumber = 0.1
    """A metric within this fraction of its target changes nothing. Default 0.1: Kubernetes'."""
    metrics: tuple[ScalingMetric, ...] = ()
    """Reactive: what is looked at."""
    schedule: Schedule | None = None
    """Scheduled: least numbers by the time of the day."""
    forecast: Forecast | None = None
    """Predictive: what is expected by the last period."""
    scale_up: ScaleUp = ScaleUp()
    """How fast replicas are added."""
    scale_down: ScaleDown = ScaleDown()
    """How fast replicas are drained."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield an autoscaler without anything to go by, and limits out of order."""
        if not self.metrics and self.schedule is None and self.forecast is None:
            what = "such as metrics: [{metric: outstanding, target: 32}]"
            yield "metrics", f"missing: an autoscaler needs metrics, a schedule or a forecast, {what}"
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            yield "max_replicas", f"must be >= min_replicas ({self.min_replicas}), got {self.max_replicas}"
