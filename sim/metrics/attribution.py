"""What a pool's whole bill is, and who carries it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.groups import Groups, PoolFacts
from sim.metrics.ledger import ledger, totals_usd

SHARES = "A request carries its share of every step it took part in, at the pool's price. The rest of a pool's bill "
REST = "(idle time, work for requests that are not measured, and what contracts cost beyond that price) "
RULES = {
    "use": SHARES + REST + "is spread over the measured requests in proportion to the shares they carry in that pool.",
    "peak": SHARES + REST + "is spread over the measured requests in proportion to the shares they carry in that "
    "pool, times the part of their class's requests that arrived in the pool's busiest hour.",
    "none": SHARES + REST + "is nobody's.",
}
"""How costs are attributed, by `sim.spec.money.Money.idle`."""
Floats = NDArray[np.float64]
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Bill:
    """Money of the measured time; total = carried by cells + not attributed, over all pools."""

    total_usd: Floats
    """What the contracts come to, shape [pool]."""
    busy_usd: Floats
    """Busy time x price, shape [pool]."""
    carried_usd: Floats
    """Shares of steps, shape [cell]."""
    spread_usd: Floats
    """Part of the rest that falls to each cell by the rule, shape [cell]."""
    not_attributed_usd: float
    """The bill of pools that served no measured request; under the rule `none` the rest of all."""
    part_frac: Floats
    """Part of each pool's use that is a cell's, shape [cell, pool]; energy and what it emits follow it."""
    by_pool_usd: Floats
    """What each cell costs in the end in each pool, shape [cell, pool]."""
    energy_j: Floats
    """Energy that falls to each cell, by its part of each pool's use [J], shape [cell]."""

    @property
    def cost_usd(self) -> Floats:
        """What each cell costs in the end, shape [cell]."""
        return self.carried_usd + self.spread_usd


def attribute(
    timeline: NDArray[np.void],
    pools: tuple[PoolFacts, ...],
    carried_usd: Floats,
    busy_s: Floats,
    guard_s: Floats,
    *,
    guard_pool_s: Floats | None = None,
    weights: Callable[[Floats], Floats] = lambda part_frac: part_frac,
) -> Bill:
    """Return the bill of the measured time and who carries it.

    Parameters
    ----------
    timeline
        `INTERVAL` rows of the measured time.
    pools
        Facts of each pool index.
    carried_usd
        Shares of steps in all pools [USD], shape [cell].
    busy_s
        Replica-seconds of the shares in the answering pool, shape [cell, pool].
    guard_s
        Replica-seconds of the shares in all other pools of the path (classifiers), shape [cell].
    guard_pool_s
        The same by pool, as far as it is known, shape [cell, pool]: only its proportions in a row count. Where it is
        not, what a pool was busy beyond its answers is its guard work, and a cell's part in any pool's guard
        work is its part in all of it.
    weights
        Gives the part of each pool's rest that falls to each cell, shape [cell, pool], from the part of its use. A
        pool whose column is 0 keeps its rest.
    """
    price_usd_per_gpu_s = np.array([pool.usd_per_gpu_hour / _HOUR_S for pool in pools])
    price_usd_per_s = price_usd_per_gpu_s * np.array([pool.num_gpus for pool in pools])
    busy_gpu_s, pool_j = np.zeros(len(pools)), np.zeros(len(pools))
    np.add.at(busy_gpu_s, timeline["pool"], timeline["gpu_s"] * timeline["busy_frac"])
    np.add.at(pool_j, timeline["pool"], timeline["energy_j"])
    total_usd, busy_usd = totals_usd(ledger(timeline, pools), len(pools)), busy_gpu_s * price_usd_per_gpu_s

    answers_usd = busy_s * price_usd_per_s  # [cell, pool]
    answered_usd = answers_usd.sum(axis=0)
    guard_usd = np.maximum(carried_usd - answers_usd.sum(axis=1), 0.0) * (guard_s > 0.0)  # [cell]
    beyond_usd = np.maximum(busy_usd - answered_usd, 0.0)
    if not beyond_usd.any():  # rounding hides a trace of guard work: put it where there is room on the bill
        beyond_usd = np.maximum(total_usd - answered_usd, 0.0)
    where_frac = np.tile(_shares(beyond_usd), (len(guard_usd), 1))  # [cell, pool]
    if guard_pool_s is not None:
        known_usd = guard_pool_s * price_usd_per_s
        sums = known_usd.sum(axis=1, keepdims=True)
        where_frac = np.divide(known_usd, sums, out=where_frac, where=sums > 0.0)
    mine_usd = answers_usd + guard_usd[:, None] * where_frac  # [cell, pool]
    used_usd = mine_usd.sum(axis=0)
    rest_usd = total_usd - used_usd

    part_frac = np.divide(mine_usd, used_usd, out=np.zeros_like(mine_usd), where=used_usd > 0.0)
    falls_frac = weights(part_frac)
    kept = ~(falls_frac.sum(axis=0) > 0.0)
    return Bill(
        total_usd=total_usd,
        busy_usd=busy_usd,
        carried_usd=carried_usd,
        spread_usd=falls_frac @ rest_usd,
        not_attributed_usd=float(rest_usd[kept].sum()),
        part_frac=part_frac,
        by_pool_usd=mine_usd + falls_frac * rest_usd,
        energy_j=part_frac @ pool_j,
    )


def guard_seconds(groups: Groups, spent_s: Floats, busy_s: Floats, guard_s: Floats) -> Floats:
    """Return the replica-seconds in other than the answering pool, by pool, shape [cell, pool].

    They are booked by class; within a class a cell's part in any pool's is its part in all of it.

    Parameters
    ----------
    groups
        Whose `accounts` the columns of `spent_s` are.
    spent_s
        Replica-seconds by what they were booked as, shape [class, account].
    busy_s, guard_s
        As in `attribute`.
    """
    num_classes, num_pools = len(groups.classes), len(groups.pools)
    by_pool_s = np.zeros((num_classes, num_pools))
    for account, (pool, _) in enumerate(groups.accounts):
        by_pool_s[:, pool] += spent_s[:, account]
    cells = busy_s.reshape(num_classes, -1, num_pools)
    others_s = by_pool_s - cells.sum(axis=1)
    others_s[others_s < _ROUNDING * by_pool_s] = 0.0
    within = guard_s.reshape(num_classes, -1)
    found: Floats = (within[:, :, None] * others_s[:, None, :]).reshape(busy_s.shape)
    return found


_ROUNDING = 1e-9
"""Differences below this part of a sum are rounding."""


def idle_weights(
    groups: Groups, timeline: NDArray[np.void], hourly_arrivals: NDArray[np.int64]
) -> Callable[[Floats], Floats]:
    """Return who carries the rest of a pool's bill, by the rule of `groups.idle`: see `attribute`.

    `hourly_arrivals` are of each class, shape [class, hour].
    """
    if groups.idle == "none":
        return np.zeros_like
    if groups.idle == "use":
        return lambda part_frac: part_frac
    num_hours = hourly_arrivals.shape[1]
    hour = np.clip(timeline["t_s"] // _HOUR_S, 0, num_hours - 1).astype(np.int64)
    busy_gpu_s = np.zeros((len(groups.pools), num_hours))
    np.add.at(busy_gpu_s, (timeline["pool"], hour), timeline["gpu_s"] * timeline["busy_frac"])
    busiest = busy_gpu_s.argmax(axis=1)
    then_frac = hourly_arrivals[:, busiest] / np.maximum(hourly_arrivals.sum(axis=1, keepdims=True), 1)  # [class, pool]

    def weigh(part_frac: Floats) -> Floats:
        weight = part_frac * np.repeat(then_frac, len(groups.languages), axis=0)
        sums = weight.sum(axis=0)
        weighed: Floats = np.divide(weight, sums, out=part_frac.copy(), where=sums > 0.0)
        return weighed

    return weigh


def by_account_usd(groups: Groups, spent_s: Floats, bill: Bill) -> Floats:
    """Return what each cell costs by what it was booked as, shape [cell, account]; rows sum to its cost.

    A cell's cost in a pool is divided as its class's replica time there is.
    """
    pools = np.array([pool for pool, _ in groups.accounts], dtype=np.int64)
    same_pool = pools[:, None] == pools[None, :]
    everyone_s = spent_s.sum(axis=0)
    sums_s = spent_s @ same_pool
    in_pool_s = everyone_s @ same_pool
    overall = np.divide(everyone_s, in_pool_s, out=1.0 / same_pool.sum(axis=0), where=in_pool_s > 0.0)
    frac = np.divide(spent_s, sums_s, out=np.tile(overall, (len(spent_s), 1)), where=sums_s > 0.0)
    found: Floats = bill.by_pool_usd[:, pools] * np.repeat(frac, len(groups.languages), axis=0)
    return found


def _shares(values: Floats) -> Floats:
    total = values.sum()
    return values / total if total > 0.0 else np.zeros(len(values))
