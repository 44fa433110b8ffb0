"""The tables of what tiers are promised: limits of use, meters, and lanes at the gateways."""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.plane.curves import Curves
from sim.plane.limits import count_meters, move_meters
from sim.plane.promises import CHARGES, FAIR, ORDERS, PRIORITY, Bucket, UserLimit
from sim.plane.tables import FAR
from sim.plane.world import Pool, World

if TYPE_CHECKING:
    from sim.plane.owner import Plane

Table = NDArray[np.void]
FIRST_METERS = 1 << 12
"""Rows of users' meters at the start; half of them may be taken."""


# ------------------------------------------------------------------ checks


def user_limits(world: World) -> list[UserLimit]:
    """The limits of users, in order of tiers."""
    limits = [world.promise(tier).user_limit for tier in world.tiers]
    return [limit for limit in limits if limit is not None]


def has_charges(world: World) -> bool:
    """Whether any limit counts tokens."""
    buckets = [*world.buckets, *(limit.bucket for limit in user_limits(world))]
    return any(bucket.counts_tokens for bucket in buckets)


def check_promises(world: World) -> None:
    """Raise ValueError where a gateway, a promise or a limit is out of range, or lacks what it needs."""
    gated = [pool for pool in world.pools if pool.gateway is not None]
    for pool in gated:
        check_gateway(pool, world)
    promises = [world.promise(tier) for tier in world.tiers]
    for tier, promise in zip(world.tiers, promises, strict=True):
        if not promise.weight > 0.0 or not 0.0 <= promise.reserved_frac <= 1.0:
            raise ValueError(f"tier {tier!r}: its weight or reserved part is out of range")
        if promise.max_queue < 0 or not promise.queue_time_limit_s > 0.0:
            raise ValueError(f"tier {tier!r}: its queue's limits are out of range")
        limit = promise.user_limit
        if limit is not None and (limit.messages < 0 or not limit.window_s > 0.0):
            raise ValueError(f"tier {tier!r}: its window of messages is out of range")
        if limit is not None and limit.fall_back is not None and limit.fall_back not in world.paths:
            raise ValueError(f"tier {tier!r} falls back on no path of the world: {limit.fall_back!r}")
    if sum(promise.reserved_frac for promise in promises) > 1.0:
        raise ValueError("the tiers reserve more than there is")
    for bucket in [*world.buckets, *(limit.bucket for limit in user_limits(world))]:
        if bucket.charges not in CHARGES or min(bucket.rate_per_s, bucket.input_per_s, bucket.output_per_s) < 0.0:
            raise ValueError("a token bucket has a negative rate, or knows no such charge")
    timed = any(isfinite(promise.queue_time_limit_s) for promise in promises)
    if gated and timed and not world.has_deadlines:
        raise ValueError("a limit of a queue's time needs rows of deadlines")
    if (gated or world.falls_back) and not world.has_extras:
        raise ValueError("gateways and limits that fall back need rows of extras")
    if needs_expectation(world) and len(world.expected_output_tokens) != len(world.classes):
        raise ValueError("the output expected of each class is needed, and not told")


def check_gateway(pool: Pool, world: World) -> None:
    """Raise ValueError where a gateway's order, places or length is out of range."""
    gateway = pool.gateway
    if gateway is not None and (pool.reserved or pool.regions or world.regions is not None):
        raise ValueError(f"pool {pool.name!r}: a gateway serves a pool as a whole, without parts and regions")
    if gateway is not None and (
        gateway.order not in ORDERS or gateway.max_outstanding < 1 or gateway.max_queue < 0 or not world.classes
    ):
        raise ValueError(f"pool {pool.name!r}: its gateway's order, places or length is out of range")


def needs_expectation(world: World) -> bool:
    """Whether anything hangs on the output that is expected of a class."""
    fair = any(pool.gateway is not None and pool.gateway.order == ORDERS[FAIR] for pool in world.pools)
    return fair or has_charges(world)


# ------------------------------------------------------------------ classes


def tell_classes(plane: Plane, world: World, curves: Curves) -> None:
    """Write what the classes' rows know of their tiers."""
    tiers, number = world.tiers, 0
    for row, kind in zip(plane["classes"], world.classes, strict=False):
        row["lane"], row["max_output"] = tiers.index(kind.tier), kind.max_output_tokens
        row["user_limit"] = row["expected"] = -1
    for tier in tiers:
        if world.promise(tier).user_limit is None:
            continue
        for row, kind in zip(plane["classes"], world.classes, strict=False):
            if kind.tier == tier:
                row["user_limit"] = number
        number += 1
    for row, expected in zip(plane["classes"], world.expected_output_tokens, strict=False):
        row["expected"], row["last_expected"] = curves.add(np.asarray(expected, dtype=np.float64)), len(expected) - 1


# ------------------------------------------------------------------ limits


def build_limits(plane: Plane, world: World, begin: dict[str, int], num_requests: int) -> None:
    """Fill the limits, users' first and in order of tiers, and the meters of tiers and clients."""
    of_users = user_limits(world)
    kinds = list(dict.fromkeys(world.buckets))
    limits = plane.own("limits", len(of_users) + len(kinds))
    for row, limit in zip(limits, of_users, strict=False):
        fill_limit(row, limit.bucket)
        row["messages"], row["window_s"] = limit.messages, min(limit.window_s, FAR)
        row["fall_back"] = -1 if limit.fall_back is None else begin[limit.fall_back]
    for row, bucket in zip(limits[len(of_users) :], kinds, strict=False):
        fill_limit(row, bucket)
        row["fall_back"] = -1
    number = {bucket: len(of_users) + n for n, bucket in enumerate(kinds)}
    meters = plane.own("buckets", len(world.buckets))
    meters["at_s"] = world.start_s
    for row, bucket in zip(meters, world.buckets, strict=False):
        row["limit"] = number[bucket]
        for level, capacity in LEVELS.items():
            row[level] = limits[capacity][number[bucket]]
    plane.own("charges", num_requests * has_charges(world))
    plane.record["has_charges"] = has_charges(world)
    plane.record["num_user_limits"] = len(of_users)
    own_meters(plane, FIRST_METERS if of_users else 0)


LEVELS = {"level": "capacity", "input_level": "input_capacity", "output_level": "output_capacity"}
"""A meter's levels, and their limits."""


def fill_limit(row: np.void, bucket: Bucket) -> None:
    """Write the rates and capacities of a limit; what is infinite never runs out."""
    for rate, capacity in (
        ("rate_per_s", "capacity"),
        ("input_per_s", "input_capacity"),
        ("output_per_s", "output_capacity"),
    ):
        limited = getattr(bucket, rate) < inf
        row[rate], row[capacity] = (getattr(bucket, rate), getattr(bucket, capacity)) if limited else (0.0, FAR)
    row["charges"], row["counts_cached"] = CHARGES.index(bucket.charges), bucket.counts_cached


def own_meters(plane: Plane, num_rows: int) -> None:
    """Make the users' meters anew, empty; an event may take as many as requests can end in it, and one more."""
    plane.own("meters", num_rows)
    slack = 2 * int(plane["pools"]["max_seqs"].max()) + 2
    plane.record["meter_size"], plane.record["num_meters"] = num_rows, 0
    plane.record["meter_room"] = max(0, num_rows // 2 - slack)


def grow_meters(plane: Plane) -> None:
    """Throw away the users' meters that are at rest; double the rows where few are."""
    old, size = plane["meters"], plane.scalar("meter_size")
    awake = count_meters(plane.address)
    own_meters(plane, size)
    while 2 * awake > plane.scalar("meter_room"):
        size *= 2
        own_meters(plane, size)
    move_meters(plane.address, old.ctypes.data, len(old))


# ------------------------------------------------------------------ gateways


def build_gateways(plane: Plane, world: World, num_requests: int) -> None:
    """Fill the lanes of each pool that has a gateway, and what its row knows of it."""
    tiers, base = world.tiers, 0
    gates = [pool.gateway for pool in world.pools]
    lanes = plane.own("lanes", len(tiers) * sum(gate is not None for gate in gates))
    ranks = shed_ranks(world)
    for row, gate in zip(plane["pools"], gates, strict=False):
        if gate is None:
            continue
        order = ORDERS.index(gate.order)
        row["gated"], row["order"], row["num_lanes"], row["lane_base"] = 1, order, len(tiers), base
        row["max_outstanding"], row["max_queue"] = gate.max_outstanding, gate.max_queue
        row["room"], row["queued_at_s"] = row["num_active"] * gate.max_outstanding, world.start_s
        for lane, tier, rank in zip(lanes[base : base + len(tiers)], tiers, ranks, strict=True):
            promise = world.promise(tier)
            lane["weight"], lane["reserved_frac"] = promise.weight, promise.reserved_frac
            lane["reserved"] = int(promise.reserved_frac * int(row["room"]))
            lane["max_waiting"], lane["limit_s"] = promise.max_queue, min(promise.queue_time_limit_s, FAR)
            lane["priority"] = priority_of(world, tier) if order == PRIORITY else 0
            lane["shed_rank"] = rank
        base += len(tiers)
    plane.own("gates", num_requests * (base > 0))
    plane.record["has_gates"] = base > 0


def priority_of(world: World, tier: str) -> int:
    """The priority number of a tier: the least of its classes."""
    return min(kind.priority for kind in world.classes if kind.tier == tier)


def shed_ranks(world: World) -> list[int]:
    """How dear each tier's promise is: equal ones have one rank, the cheapest has the least."""
    promises = [(-priority_of(world, tier), world.promise(tier).weight) for tier in world.tiers]
    return [sorted(set(promises)).index(promise) for promise in promises]
