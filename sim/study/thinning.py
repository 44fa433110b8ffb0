"""A scenario with a fraction of its people and of its replicas: the same shape, played in a fraction of the time."""

from __future__ import annotations

import math
from typing import Any

from sim.spec import Scenario
from sim.study.sizing import FEWEST_CLIENTS, people_of


def thinned(scenario: Scenario, scale: float) -> Scenario:
    """Return a scenario with so many times the users, API clients and replicas; of replicas at least one a pool.

    Small pools even out chance worse than large ones, so waits are a little longer than in the whole.

    Raises
    ------
    SpecError
        No population.
    """
    traffic = people_of(scenario)

    def some(number: float) -> int:
        return max(1, math.ceil(number * scale))

    changes: dict[str, Any] = {"traffic.monthly_users": round(traffic.monthly_users * scale)}
    if traffic.api is not None:
        changes["traffic.api.num_clients"] = max(FEWEST_CLIENTS, round(traffic.api.num_clients * scale))
    for name, pool in scenario.fleet.pools.items():
        path = f"fleet.pools.{name}"
        changes[f"{path}.replicas"] = some(pool.replicas)
        if pool.max_replicas is not None:
            changes[f"{path}.max_replicas"] = some(pool.max_replicas)
        if pool.autoscaler is not None:
            changes[f"{path}.autoscaler.min_replicas"] = some(pool.autoscaler.min_replicas)
            if pool.autoscaler.max_replicas is not None:
                changes[f"{path}.autoscaler.max_replicas"] = some(pool.autoscaler.max_replicas)
    operations = [
        one.model_copy(update={"replicas": some(one.replicas)}) if one.replicas else one
        for one in scenario.fleet.operations
    ]
    if operations:
        changes["fleet.operations"] = [one.model_dump(by_alias=True, exclude_none=True) for one in operations]
    return scenario.replace_all(changes)
