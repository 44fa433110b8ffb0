"""The bill of capacity, line by line: GPU-hours under each contract times their price, and the power of owned GPUs.

Contracts are filled in their order, interval by interval of the timeline, by the mean number of replicas provisioned in
it. A commitment is paid in full, whether its replicas ran or not; only GPUs that run take power.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.metrics.energy import facility_kwh
from sim.metrics.groups import PoolFacts

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Line:
    """What one contract of one pool comes to."""

    pool: int
    contract: str
    gpu_s: float
    """GPU time provisioned under it, busy or idle [s]."""
    paid_gpu_s: float
    """The same, or the whole commitment where that is more [s]."""
    usd_per_gpu_hour: float
    kwh: float
    """Energy of the facility that is paid apart; 0 where the price of the GPU has it."""
    usd_per_kwh: float

    @property
    def gpu_hours(self) -> float:
        """GPU time provisioned under it [h]."""
        return self.gpu_s / _HOUR_S

    @property
    def paid_gpu_hours(self) -> float:
        """GPU time paid [h]."""
        return self.paid_gpu_s / _HOUR_S

    @property
    def unused_usd(self) -> float:
        """Paid for commitments that did not run [USD]."""
        return (self.paid_gpu_s - self.gpu_s) * (self.usd_per_gpu_hour / _HOUR_S)

    @property
    def power_usd(self) -> float:
        """Paid for energy [USD]."""
        return self.kwh * self.usd_per_kwh

    @property
    def usd(self) -> float:
        """The line's sum [USD]."""
        return self.paid_gpu_s * (self.usd_per_gpu_hour / _HOUR_S) + self.power_usd


def ledger(timeline: NDArray[np.void], pools: Sequence[PoolFacts]) -> list[Line]:
    """Return the lines of a bill; contracts that come to nothing are left out.

    Parameters
    ----------
    timeline
        `INTERVAL` rows of the measured time.
    pools
        Facts of each pool index.
    """
    lines = [line for n, pool in enumerate(pools) for line in _lines(timeline[timeline["pool"] == n], n, pool)]
    return [line for line in lines if line.paid_gpu_s > 0.0]


def _lines(rows: NDArray[np.void], number: int, pool: PoolFacts) -> Iterator[Line]:
    rest_gpu_s = rows["gpu_s"].astype(np.float64)
    energy_j = np.divide(rows["energy_j"], rest_gpu_s, out=np.zeros_like(rest_gpu_s), where=rest_gpu_s > 0.0)
    for contract in pool.terms:
        most_gpu_s = np.full(len(rows), np.inf)
        if contract.replicas is not None:
            most_gpu_s = contract.replicas * pool.num_gpus * rows["width_s"]
        used_gpu_s = np.minimum(rest_gpu_s, most_gpu_s)
        rest_gpu_s = rest_gpu_s - used_gpu_s
        is_committed = contract.is_committed and contract.replicas is not None
        gpu_s = _in_order(used_gpu_s)
        kwh = 0.0
        if contract.pays_power and pool.site is not None:
            kwh = facility_kwh(pool.site, float(energy_j @ used_gpu_s), gpu_s / _HOUR_S)
        yield Line(
            pool=number,
            contract=contract.kind,
            gpu_s=gpu_s,
            paid_gpu_s=_in_order(most_gpu_s) if is_committed else gpu_s,
            usd_per_gpu_hour=contract.usd_per_gpu_hour,
            kwh=kwh,
            usd_per_kwh=0.0 if pool.site is None else pool.site.usd_per_kwh,
        )


def _in_order(values: NDArray[np.float64]) -> float:
    """Return the sum of values, one after the other."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0


def totals_usd(lines: Sequence[Line], num_pools: int) -> NDArray[np.float64]:
    """Return the sum of each pool's lines [USD], shape [pool]."""
    total = np.zeros(num_pools)
    for line in lines:
        total[line.pool] += line.usd
    return total
