"""How long replicas take to start, to wake and to be taken back: draws by (pool, replica, occurrence)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim import catalog, cost
from sim.cost.loading import load_time
from sim.spec import Scenario
from sim.spec.distribution import TimeDistribution
from sim.spec.fleet import Pool
from sim.spec.scaling import startup_of
from sim.traffic import draws
from sim.traffic.arrivals import whole_ns
from sim.traffic.lengths import lookup, quantile_table, table_mean

ALL = 1 << 40
"""Stands for the whole pool where a draw is no single replica's."""


class Times:
    """A distribution of times, and its draws."""

    def __init__(self, distribution: TimeDistribution, seed: int, stream: int, pool: int) -> None:
        self._table = quantile_table(distribution)
        self._draw = Draws(seed, stream, pool)
        self.mean_s = table_mean(self._table, whole=False)

    def draw(self, replica: int, occurrence: int) -> float:
        """The time of that occurrence [s], in whole nanoseconds."""
        return float(whole_ns(float(lookup(self._table, np.array([self._draw.uniform(replica, occurrence)]))[0])))


@dataclass(frozen=True)
class Draws:
    """Uniform draws of one pool's events at control pace."""

    seed: int
    stream: int
    pool: int

    def uniform(self, replica: int, occurrence: int) -> float:
        """A variate in (0, 1)."""
        words = np.array([self.pool, replica, occurrence], dtype=np.uint64)
        return float(draws.uniform(draws.bits(draws.key(self.seed, self.stream), *words)))

    def gap(self, per_s: float, replica: int, occurrence: int) -> float:
        """An exponential time of that rate [s], in whole nanoseconds."""
        return float(whole_ns(-np.log(self.uniform(replica, occurrence)) / per_s))


@dataclass(frozen=True)
class Starts:
    """What it takes until a replica of a pool serves."""

    wait: Times | None
    """Of spot capacity: until the order is accepted."""
    provisioning: Times
    load: Times
    wake: Times | None
    """Of a warm replica."""

    @property
    def mean_s(self) -> float:
        """Mean time from the order to the first request [s]."""
        return self.provisioning.mean_s + self.load.mean_s + (self.wait.mean_s if self.wait else 0.0)


def starts_of(pool: Pool, profile: cost.Profile, seed: int, number: int) -> Starts:
    """The times of a pool whose replicas take time to start; `number` is its index."""
    startup, spot, warm = startup_of(pool), pool.spot, pool.warm_pool
    if startup is None:
        raise ValueError("replicas of this pool start at once")
    load = startup.load or load_time(profile, pool.engine)
    return Starts(
        wait=Times(spot.wait, seed, draws.SPOT_WAIT, number) if spot else None,
        provisioning=Times(startup.provisioning, seed, draws.PROVISIONING, number),
        load=Times(load, seed, draws.LOADING, number),
        wake=Times(warm.wake, seed, draws.WAKING, number) if warm else None,
    )


def start_inputs(scenario: Scenario, profiles: Mapping[str, cost.Profile]) -> Iterator[dict[str, Any]]:
    """What is taken for the time that models take to load where a scenario does not say it, with its source."""
    for name, profile in profiles.items():
        pool = scenario.pool(name)
        startup = startup_of(pool)
        if startup is None or startup.load is not None:
            continue
        given = load_time(profile, pool.engine)
        yield {
            "name": f"{name}: time to load the model", "unit": "s",
            "value": f"lognormal, mean {given.mean:.0f}, standard deviation {given.standard_deviation:.0f}",
            "source": f"fitted to {catalog.load_model_load().source}",
        }  # fmt: skip
