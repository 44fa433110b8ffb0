"""The autoscaler of a pool: a process that looks, proposes, and has as many replicas as the largest proposal says."""

from __future__ import annotations

from sim.fleet.scaling.capacity import Capacity, Process
from sim.fleet.scaling.looks import Looks
from sim.fleet.scaling.pace import Pace, replicas_for
from sim.fleet.scaling.past import Past
from sim.spec.autoscaler import Autoscaler, Schedule


class Scaler:
    """One pool's autoscaler."""

    def __init__(self, capacity: Capacity, spec: Autoscaler, most: int) -> None:
        self._capacity, self._spec = capacity, spec
        self._pace = Pace(spec, spec.min_replicas, most)
        self._looks = Looks(capacity.clock, capacity.pool)
        self._start_s = capacity.clock.env.now
        self._past = Past(spec.forecast, self._start_s) if spec.forecast else None
        self._ahead_s = (spec.forecast.lead_s if spec.forecast else None) or capacity.starts.mean_s + spec.sync_period_s

    def run(self) -> Process:
        """Decide every sync period, the first time one period after the start."""
        capacity, k = self._capacity, 0
        seen_s = self._start_s
        while True:
            k += 1
            yield capacity.clock.at(self._start_s + k * self._spec.sync_period_s)
            if capacity.over():
                return
            now, current = capacity.clock.env.now, capacity.wanted
            proposals = self._proposals(seen_s, now, current)
            # The first of the largest is named; an earlier kind of scaling before a later one.
            wanted, why = max(proposals, key=lambda proposal: proposal[0])
            chosen = self._pace.settle(now, current, wanted)
            if chosen != current:
                is_asked_for = wanted != current and (chosen > current) == (wanted > current)
                capacity.ledger.decide(now, current, chosen, why if is_asked_for else "limits")
            capacity.want(chosen)
            seen_s = now

    def _proposals(self, seen_s: float, now: float, current: int) -> list[tuple[int, str]]:
        """Numbers of replicas, each with who proposes it."""
        spec, found = self._spec, self._looks.look()
        proposals: list[tuple[int, str]] = [
            (replicas_for(self._looks.mean(one, found[one.metric]), one.target, current, spec.tolerance), one.metric)
            for one in spec.metrics
        ]
        if spec.schedule is not None:
            proposals.append((scheduled(spec.schedule, now), "schedule"))
        if self._past is not None and spec.forecast is not None:
            self._past.add(seen_s, now, found[spec.forecast.metric])
            proposals.append((self._past.replicas(now, self._ahead_s), "forecast"))
        return proposals


def scheduled(schedule: Schedule, t_s: float) -> int:
    """How many replicas a schedule asks for at a time."""
    into_s = t_s % schedule.every_s
    begun = [step for step in schedule.steps if step.at_s <= into_s]
    return (begun or schedule.steps)[-1].replicas
