"""Scenario: a model, hardware, traffic and a fleet; everything that a run depends on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from sim import units
from sim.errors import did_you_mean
from sim.spec.base import Key, Name, NonNegativeInt, PositiveSeconds, Seconds, Spec, Text
from sim.spec.companions import before_check
from sim.spec.drift import Drift
from sim.spec.fleet import Fleet, Pool, WithoutNulls
from sim.spec.gateway import promise_problems
from sim.spec.ladder import Rung
from sim.spec.money import ON_DEMAND, Contract, Money
from sim.spec.monitoring import Monitoring
from sim.spec.ranges import Range, range_problems, without_ranges
from sim.spec.regions import EVERYWHERE, place_problems
from sim.spec.routing import reserved_problems
from sim.spec.text import Path
from sim.spec.tier import Slo, Tier
from sim.spec.traffic import ClosedLoopTraffic, PopulationTraffic, TraceTraffic, Traffic

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
MAX_INTERVALS = 100_000
"""Intervals of a timeline: each is a row for each pool, and a point of every figure."""


def _one_tier() -> dict[str, Tier]:
    return {"default": Tier()}


def drift_problems(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Yield drifts of what is not there or cannot change, and monitors that have nothing to compare."""
    for index, drift in enumerate(scenario.drifts):
        at = f"drifts.{index}"
        for number, name in enumerate(drift.tiers or ()):
            if name not in scenario.tiers:
                yield f"{at}.tiers.{number}", f"no tier of that name: {name}. {did_you_mean(name, scenario.tiers)}"
        if drift.pool is not None and drift.pool not in scenario.fleet.pools:
            yield f"{at}.pool", f"no pool of that name: {drift.pool}. {did_you_mean(drift.pool, scenario.fleet.pools)}"
        elif drift.pool is not None and not any(
            visit.pool == drift.pool and visit.kind == "classify"
            for visits in scenario.fleet.paths.values()
            for visit in before_check(visits)
        ):
            yield f"{at}.pool", f"no path has a visit of kind classify to {drift.pool} before its answer"
        if drift.factor is not None and isinstance(scenario.traffic, TraceTraffic):
            yield f"{at}.kind", f"{drift.kind} cannot befall a trace: its lengths are recorded"
    monitoring = scenario.monitoring
    if monitoring is not None:
        least_s = (monitoring.baseline_weeks + 1) * WEEK_S
        if scenario.horizon_s < least_s:
            yield (
                "monitoring",
                f"needs a horizon of at least {least_s / DAY_S:g} days, the last week to be judged",
            )
        if not (DAY_S / scenario.report_interval_s).is_integer():
            yield "report_interval", "must go into a day a whole number of times where there is monitoring"


class Scenario(Spec):
    """Everything that a run depends on, but the catalogue entries it names."""

    NOT_IN_DIGEST: ClassVar[frozenset[str]] = frozenset({"name", "description", "overrides", "ladder", "ranges"})

    name: Name
    """Short name; a run's folder is called after it. Default: the name of the file."""
    description: Text = ""
    """What the scenario is for."""
    model: Text | None = None
    """Model of every pool that names none: an entry in models/."""
    hardware: Text | None = None
    """GPU of every pool that names none: an entry in hardware_profiles/gpus/."""
    seed: Annotated[NonNegativeInt, Field(lt=2**63)] = 1
    """Seed of all random draws. Default 1."""
    horizon_s: PositiveSeconds = Field(default=86400.0, alias="horizon")
    """Time during which requests arrive and are measured [s]. Default 24 h."""
    run_in_s: Seconds = Field(default=0.0, alias="run_in")
    """Time simulated before the measured time, to fill queues and caches [s]. Default 0."""
    drain: bool | None = None
    """Run on until every request has ended. Default: false for a population, true for traces and load generators."""
    report_interval_s: PositiveSeconds = Field(default=900.0, alias="report_interval")
    """Width of an interval of the timeline [s]. Default 15 min."""
    traffic: Traffic
    """Who sends requests."""
    tiers: Annotated[dict[Key, Tier], WithoutNulls, Field(min_length=1, default_factory=_one_tier)]
    """Tiers by name. Default: one, named default."""
    fleet: Fleet
    """What serves the requests."""
    drifts: tuple[Drift, ...] = ()
    """What changes during the run without anybody saying so. Default: nothing."""
    monitoring: Monitoring | None = None
    """Monitors that look for such changes. Default: none."""
    slo: Slo = Slo()
    """Latency targets of the tiers that give none. Default: no targets."""
    prices: Text = "2026"
    """Price book: a name in hardware_profiles/prices.yaml."""
    money: Money = Money()
    """How the bill is drawn up: idle time, sites, yardsticks."""
    overrides: dict[Key, dict[str, Any]] = Field(default_factory=dict)
    """Named variants: {name: {dotted path: value}}. A value takes the place of what stands there; null removes a
    pool, path or tier. Default: none."""
    ranges: dict[Text, Range] = Field(default_factory=dict)
    """How far numbers of this scenario may be off: {dotted path: {low, high, source}}, for sensitivity studies. A value
    that is changed (by an override or --set) loses its range. Default: none."""
    ladder: tuple[Rung, ...] = ()
    """Overrides to be run one after the other and compared (`tokenfleet run`), each from the scenario as it stands.
    With an override applied there is no ladder. Default: none."""

    @property
    def drains(self) -> bool:
        """True if the run goes on after the horizon until every request has ended."""
        return not isinstance(self.traffic, PopulationTraffic) if self.drain is None else self.drain

    def pool(self, name: str) -> Pool:
        """Return a pool with the fields that it takes from the scenario filled in."""
        pool = self.fleet.pools[name]
        filled = {
            "model": pool.model or self.model,
            "hardware": pool.hardware or self.hardware,
            "max_replicas": pool.max_replicas or self.fleet.peak_replicas(name),
            "site": pool.site or self.money.site,
        }
        return pool.model_copy(update=filled)

    def contracts(self, name: str) -> tuple[Contract, ...]:
        """Return the contracts of a pool: the last is on demand where those given do not cover all that may run."""
        given, most = self.pool(name).contracts, self.pool(name).max_replicas or 0
        covered = sum(most if terms.replicas is None else terms.replicas for terms in given)
        return given if covered >= most else (*given, ON_DEMAND)

    def slo_of(self, tier: str) -> Slo:
        """Return the latency targets that hold for a tier."""
        return self.tiers[tier].slo or self.slo

    @classmethod
    def _changed(cls, data: Any, path: Path) -> None:
        """Take the range of a changed value away."""
        without_ranges(data, path)

    def problems(self) -> Iterator[tuple[str | Path, str]]:
        """Yield names that do not exist and numbers that do not fit together."""
        yield from self._ladder_problems()
        if self.ranges:
            yield from range_problems(self.ranges, self.to_dict())
        if (intervals := self.horizon_s / self.report_interval_s) > MAX_INTERVALS:
            advice = f"give at least {units.show(self.horizon_s / MAX_INTERVALS, 's')}, or a shorter horizon"
            yield (
                "report_interval",
                f"cuts the horizon into {intervals:.3g} intervals, of at most {MAX_INTERVALS}; {advice}",
            )
        for name, tier in self.tiers.items():
            if tier.path not in self.fleet.paths:
                help_ = did_you_mean(tier.path, self.fleet.paths)
                yield f"tiers.{name}.path", f"no path of that name in fleet.paths: {tier.path}. {help_}"
            small = None if tier.user_limit is None else tier.user_limit.fall_back
            if small is not None and small not in self.fleet.paths:
                help_ = did_you_mean(small, self.fleet.paths)
                yield f"tiers.{name}.user_limit.fall_back", f"no path of that name in fleet.paths: {small}. {help_}"
        yield from promise_problems(self.fleet.pools, self.tiers)
        yield from drift_problems(self)
        for path, tier_name in self._tiers_named():
            if tier_name not in self.tiers:
                yield path, f"no tier of that name: {tier_name}. {did_you_mean(tier_name, self.tiers)}"
        if isinstance(self.traffic, PopulationTraffic):
            total = math.fsum(tier.user_frac for tier in self.tiers.values())
            if not math.isclose(total, 1.0, abs_tol=1e-9):
                yield "tiers", f"user_frac must sum to 1 over the tiers, got {total:.12g}"
        if isinstance(self.traffic, ClosedLoopTraffic) and self.traffic.reissue_delay_s == 0.0:
            tier = self.tiers.get(self.traffic.tier, Tier())
            shed = tier.max_queue is not None or any(
                pool.gateway is not None and pool.gateway.max_queue is not None for pool in self.fleet.pools.values()
            )
            limits = {"rate_limit": tier.rate_limit, "user_limit": tier.user_limit, "max_queue": shed or None}
            for what in (name for name, limit in limits.items() if limit is not None):
                advice = f"give it a time, or remove the {what}"
                yield "traffic.reissue_delay_s", f"0 with a {what}: who is refused asks again at once; {advice}"
        yield from place_problems(self.fleet, self._places())
        yield from reserved_problems(self.fleet.pools, self.fleet.paths, self.tiers)
        for name, pool in self.fleet.pools.items():
            for field in ("model", "hardware"):
                if getattr(pool, field) is None and getattr(self, field) is None:
                    yield f"fleet.pools.{name}", f"no {field}: give it here or as the scenario's `{field}`"

    def _ladder_problems(self) -> Iterator[tuple[str, str]]:
        """Yield rungs that are no override, that stand twice, or that are compared with none before them."""
        before: list[str] = []
        for index, rung in enumerate(self.ladder):
            name, against = rung.override, rung.against
            if name not in self.overrides:
                yield (
                    f"ladder.{index}.override",
                    f"no override of that name: {name}. {did_you_mean(name, self.overrides)}",
                )
            if name in before:
                yield f"ladder.{index}.override", f"stands in the ladder twice: {name}"
            if against is not None and against not in before:
                help_ = did_you_mean(against, before, what="Before it")
                yield f"ladder.{index}.against", f"no rung of that name before this one: {against}. {help_}"
            before.append(name)

    def _places(self) -> tuple[str, ...]:
        """Return where people are."""
        population = self.traffic if isinstance(self.traffic, PopulationTraffic) else None
        return tuple(population.regions) if population and population.regions else (EVERYWHERE,)

    def _tiers_named(self) -> Iterator[tuple[str, str]]:
        """Yield (path, tier) for each place where the traffic names a tier."""
        if not isinstance(self.traffic, PopulationTraffic):
            yield "traffic.tier", self.traffic.tier
            return
        for name, programs in self.traffic.programs.items():
            yield f"traffic.{name}.tier", programs.tier
