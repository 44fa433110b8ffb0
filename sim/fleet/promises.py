"""What tiers are promised: from a scenario to the plane, and from the plane's counters to results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import cost, traffic
from sim.fleet.mishaps import may_fail
from sim.metrics.statistics import ratio
from sim.plane.owner import Plane
from sim.plane.promise_rows import LANE_COUNTERS
from sim.plane.promises import CHARGES, Bucket, Gateway, Promise, UserLimit
from sim.spec import Scenario, Tier
from sim.spec.fleet import Pool
from sim.traffic.arrivals import NO_LIMIT, TrafficClass
from sim.traffic.classes import buckets_of
from sim.traffic.lengths import table_mean
from sim.traffic.replay import Replay


def gateway_of(pool: Pool, profile: cost.Profile) -> Gateway | None:
    """The plane's gateway of a pool, if it has one."""
    given = pool.gateway
    if given is None:
        return None
    max_queue = NO_LIMIT if given.max_queue is None else given.max_queue
    return Gateway(max(1, given.places(profile.max_num_seqs)), given.order, max_queue)


def promise_of(tier: Tier) -> Promise:
    """What a tier is promised."""
    return Promise(
        weight=tier.weight,
        reserved_frac=tier.reserved_frac,
        max_queue=NO_LIMIT if tier.max_queue is None else tier.max_queue,
        queue_time_limit_s=tier.queue_time_limit or inf,
        user_limit=user_limit_of(tier),
    )


def user_limit_of(tier: Tier) -> UserLimit | None:
    """What each user of a tier may send."""
    given = tier.user_limit
    if given is None:
        return None
    own = plane_buckets(buckets_of(given.rate_limit, 1))
    return UserLimit(own[0] if own else Bucket(), given.messages or 0, given.window or inf, given.fall_back)


def plane_buckets(rows: NDArray[np.void]) -> list[Bucket]:
    """Token buckets of a source (dtype BUCKET) as the plane takes them."""
    numbers = ("rate_per_s", "capacity", "input_per_s", "input_capacity", "output_per_s", "output_capacity")
    return [
        Bucket(
            **{name: float(row[name]) for name in numbers},
            charges=CHARGES[int(row["charges_most"])],
            counts_cached=bool(row["counts_cached"]),
        )
        for row in rows
    ]


def told(scenario: Scenario, source: traffic.Source) -> dict[str, Any]:
    """What a World is told of promises, and of the rows that they and regions need, by its fields."""
    promises = {name: promise_of(tier) for name, tier in scenario.tiers.items()}
    gated = any(pool.gateway is not None for pool in scenario.fleet.pools.values())
    travels = bool(scenario.fleet.regions)
    limits = [promise.user_limit for promise in promises.values() if promise.user_limit is not None]
    return {
        "promises": promises,
        "buckets": plane_buckets(source.buckets),
        "expected_output_tokens": [expected_tokens(kind, source) for kind in source.classes],
        "has_deadlines": travels or (gated and any(promise.queue_time_limit_s < inf for promise in promises.values())),
        "has_extras": travels or gated or may_fail(scenario) or any(limit.fall_back is not None for limit in limits),
    }


def expected_tokens(kind: TrafficClass, source: traffic.Source) -> Sequence[int]:
    """Output tokens that requests of a class have on average, by language where it tells them apart; at least one."""
    if isinstance(source, Replay):
        means = [float(source.describe()["by_class"][kind.name]["mean_output_tokens"])]
    else:
        factors = [1.0] if kind.length_factor is None else kind.length_factor.tolist()
        means = [table_mean(np.minimum(factor * kind.output_tokens, kind.max_output_tokens)) for factor in factors]
    return [max(1, round(min(mean, kind.max_output_tokens))) for mean in means]


def gateway_figures(plane: Plane) -> dict[int, dict[str, Any]]:
    """What the gateways did from t = 0 on, by number of their pool, tier by tier."""
    found, tiers = dict[int, dict[str, Any]](), plane.world.tiers
    for number, row in enumerate(plane["pools"][: len(plane.world.pools)]):
        if not row["gated"]:
            continue
        lanes = plane["lanes"][row["lane_base"] : row["lane_base"] + row["num_lanes"]]
        work = int(lanes["work_tokens"].sum())
        found[number] = {
            "max_outstanding": int(row["max_outstanding"]),
            "by_tier": {tier: lane_figures(lane, work) for tier, lane in zip(tiers, lanes, strict=True)},
        }
    return found


def lane_figures(lane: np.void, all_work_tokens: int) -> Mapping[str, Any]:
    """What one tier's queue did."""
    counts = {name: lane[name].item() for name in LANE_COUNTERS}
    waited_s = counts.pop("waited_s")
    return counts | {
        "work_frac": ratio(counts["work_tokens"], all_work_tokens),
        "mean_queued_s": ratio(waited_s, counts["num_queued"]),
    }
