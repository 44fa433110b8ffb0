"""Monitors: every series has a two-sided CUSUM chart, which begins anew each week, against the weeks before.

The rate of false alarms is stated for all charts together: the chance that any of them alarms in a week in which
nothing has changed. Charts share it evenly (Sidak); their common limit is simulated (`baseline.simulated_limit`). A
week with an alarm does not enter the baseline of later ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.metrics.drift.baseline import DAYS, Baseline, Series, per_chart, simulated_limit
from sim.metrics.drift.charts import cusum
from sim.metrics.drift.diagnosis import Diagnosis, diagnose
from sim.metrics.drift.quantities import Chart

CONFIRM = 4
"""Intervals after the first alarm until somebody is called: other charts get the time to speak; *assumed*."""


@dataclass(frozen=True)
class Plan:
    """How to watch."""

    per_day: int
    """Intervals of a day."""
    baseline_weeks: int
    false_alarms: float
    """Chance of any alarm in a week in which nothing has changed."""
    k: float = 0.5
    """Half the shift that is found soonest [standard deviations of an interval]."""

    @property
    def week(self) -> int:
        """Intervals of a week."""
        return DAYS * self.per_day

    def limit(self, num_charts: int) -> float:
        """What each chart may reach."""
        return simulated_limit(self.k, per_chart(self.false_alarms, num_charts), self.per_day, self.baseline_weeks)


@dataclass(frozen=True)
class Alarm:
    """A chart has passed its limit."""

    chart: Chart
    interval: int
    """Since the week began."""
    upwards: bool
    since: int
    """The chart was last at zero before this interval: when the change seems to have begun."""


@dataclass(frozen=True)
class Verdict:
    """What monitors say of a week."""

    alarms: tuple[Alarm, ...]
    """The first of each chart, in order of time."""
    diagnosis: Diagnosis | None


def judge(charts: Sequence[Chart], baseline: Baseline, week: Series, k: float, limit: float) -> Verdict:
    """Watch one week."""
    sums = cusum(baseline.scores(week), k)
    passed = sums > limit
    alarms = []
    for number in np.flatnonzero(passed.any(axis=(0, 1))).tolist():
        at = int(np.argmax(passed[:, :, number].any(axis=0)))
        side = int(np.argmax(sums[:, at, number]))
        zeros = np.flatnonzero(sums[side, : at + 1, number] == 0.0)
        alarms.append(Alarm(charts[number], at, side == 0, int(zeros[-1]) + 1 if len(zeros) else 0))
    alarms.sort(key=lambda alarm: (alarm.interval, str(alarm.chart)))
    if not alarms:
        return Verdict((), None)
    first = alarms[0].interval
    until = first + CONFIRM + 1
    since = max(alarm.since for alarm in alarms if alarm.interval == first)
    return Verdict(tuple(alarms), diagnose(charts, baseline.standardised(week)[since:until]))


def watch(charts: Sequence[Chart], series: Series, plan: Plan) -> list[tuple[int, Verdict]]:
    """Every whole week after the first baseline, with its verdict."""
    limit = plan.limit(len(charts))
    calm = list(range(plan.baseline_weeks))
    found = []
    for number in range(plan.baseline_weeks, len(series.values) // plan.week):
        weeks = [series.part(n * plan.week, (n + 1) * plan.week) for n in (*calm[-plan.baseline_weeks :], number)]
        baseline = Baseline.fit(joined(weeks[:-1]), plan.per_day)
        verdict = judge(charts, baseline, weeks[-1], plan.k, limit)
        found.append((number, verdict))
        if not verdict.alarms:
            calm.append(number)
    return found


def joined(parts: Sequence[Series]) -> Series:
    """Series one after the other."""
    return Series(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.weights for part in parts]),
        parts[0].least,
    )
