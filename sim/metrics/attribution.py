"""What a pool's whole bill is, and who carries it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.groups import PoolFacts

RULE = (
    "A request carries its share of every step it took part in, at the pool's price. The rest of a pool's bill "
    "(idle time, and work for requests that are not measured) is spread over the measured requests in proportion "
    "to the shares they carry in that pool."
)
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Bill:
    """Money of the measured time; total = carried by cells + not attributed, over all pools."""

    total_usd: NDArray[np.float64]
    """Provisioned time x price, shape [pool]."""
    busy_usd: NDArray[np.float64]
    """Busy time x price, shape [pool]."""
    carried_usd: NDArray[np.float64]
    """Shares of steps, shape [cell]."""
    spread_usd: NDArray[np.float64]
    """Part of the rest that falls to each cell by `RULE`, shape [cell]."""
    not_attributed_usd: float
    """The bill of pools that served no measured request."""
    energy_j: NDArray[np.float64]
    """Energy that falls to each cell, by its part of each pool's bill [J], shape [cell]."""

    @property
    def cost_usd(self) -> NDArray[np.float64]:
        """What each cell costs in the end, shape [cell]."""
        return self.carried_usd + self.spread_usd


def attribute(
    timeline: NDArray[np.void],
    pools: tuple[PoolFacts, ...],
    carried_usd: NDArray[np.float64],
    busy_s: NDArray[np.float64],
    guard_s: NDArray[np.float64],
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
        Replica-seconds of the shares in all other pools of the path (classifiers), shape [cell]. They are not kept
        pool by pool: what a pool was busy beyond its answers is its guard work, and a cell's part in any
        pool's guard work is its part in all of it.
    """
    price_usd_per_gpu_s = np.array([pool.usd_per_gpu_hour / _HOUR_S for pool in pools])
    price_usd_per_s = price_usd_per_gpu_s * np.array([pool.num_gpus for pool in pools])
    gpu_s = np.zeros(len(pools))
    busy_gpu_s = np.zeros(len(pools))
    np.add.at(gpu_s, timeline["pool"], timeline["gpu_s"])
    np.add.at(busy_gpu_s, timeline["pool"], timeline["gpu_s"] * timeline["busy_frac"])
    total_usd, busy_usd = gpu_s * price_usd_per_gpu_s, busy_gpu_s * price_usd_per_gpu_s

    answers_usd = busy_s * price_usd_per_s  # [cell, pool]
    answered_usd = answers_usd.sum(axis=0)
    guard_usd = np.maximum(carried_usd - answers_usd.sum(axis=1), 0.0) * (guard_s > 0.0)  # [cell]
    beyond_usd = np.maximum(busy_usd - answered_usd, 0.0)
    if not beyond_usd.any():  # rounding hides a trace of guard work: put it where there is room on the bill
        beyond_usd = np.maximum(total_usd - answered_usd, 0.0)
    guarded_usd = guard_usd.sum() * _shares(beyond_usd)  # [pool]
    used_usd = answered_usd + guarded_usd
    rest_usd = total_usd - used_usd

    used = used_usd > 0.0
    answers_frac = np.divide(answers_usd, used_usd, out=np.zeros_like(answers_usd), where=used)
    guarded_frac = np.divide(guarded_usd, used_usd, out=np.zeros_like(used_usd), where=used)
    part_frac = answers_frac + np.outer(_shares(guard_usd), guarded_frac)  # [cell, pool]
    energy_j = np.zeros(len(pools))
    np.add.at(energy_j, timeline["pool"], timeline["energy_j"])
    return Bill(
        total_usd=total_usd,
        busy_usd=busy_usd,
        carried_usd=carried_usd,
        spread_usd=part_frac @ rest_usd,
        not_attributed_usd=float(rest_usd[~used].sum()),
        energy_j=part_frac @ energy_j,
    )


def _shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    total = values.sum()
    return values / total if total > 0.0 else np.zeros(len(values))
