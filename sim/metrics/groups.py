"""The names and limits behind the integer codes in records: classes, tiers, languages, pools."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.metrics.energy import SiteFacts
from sim.spec.api_prices import ApiPrice
from sim.spec.tier import Slo


@dataclass(frozen=True)
class PriceFacts:
    """What metrics must know of what a tier's users pay."""

    usd_per_user_month: float
    tokens: ApiPrice


@dataclass(frozen=True)
class ContractFacts:
    """What metrics must know of a contract."""

    kind: str
    usd_per_gpu_hour: float
    replicas: int | None = None
    """Replicas that it covers, None: all that those before it leave."""
    is_committed: bool = False
    """Whether those replicas are paid although they do not run."""
    pays_power: bool = False
    """Whether the power is paid apart."""


@dataclass(frozen=True)
class TierFacts:
    """What metrics must know of a tier."""

    name: str
    slo: Slo | None = None
    """Latency targets of a request, None where there are none."""
    num_users: float | None = None
    """Monthly users, None where programs (not people) use the tier."""
    price: PriceFacts | None = None
    """What they pay, None where that is not known."""

    @property
    def has_slo(self) -> bool:
        """True where there is any latency target."""
        slo = self.slo
        return slo is not None and not (slo.ttft_s is slo.tpot_s is slo.e2el_s is None)


@dataclass(frozen=True)
class ClassFacts:
    """What metrics must know of a traffic class."""

    name: str
    tier: str
    is_program: bool = False
    itl_row: int = 0
    """Row of the histogram of gaps between tokens; classes of different tiers have different rows."""
    length_factor: NDArray[np.float64] | None = None
    """Its tokens over those of the same text in English, by language; None where that is not known."""


@dataclass(frozen=True)
class PoolFacts:
    """What metrics must know of a pool."""

    name: str
    model: str
    hardware: str
    num_gpus: int
    """GPUs of one replica."""
    usd_per_gpu_hour: float
    """Price at which requests carry their shares of steps: the mean of the replicas that it starts with."""
    contracts: tuple[ContractFacts, ...] = ()
    """In the order in which replicas fill them; empty: all on demand at that price."""
    site: SiteFacts | None = None
    """Where it stands, None where that is not known."""
    num_active_parameters: int = 0
    """Parameters that a token visits; 0 where that is not known."""

    @property
    def terms(self) -> tuple[ContractFacts, ...]:
        """The contracts, the default one included; the last takes all that the others leave."""
        return self.contracts or (ContractFacts("on_demand", self.usd_per_gpu_hour),)


@dataclass(frozen=True)
class Groups:
    """Everything that records count by; a code in a record is an index into one of these tuples."""

    classes: tuple[ClassFacts, ...]
    tiers: tuple[TierFacts, ...]
    languages: tuple[str, ...]
    pools: tuple[PoolFacts, ...]
    has_transfers: bool = False
    """Whether any answer is split over two pools."""
    accounts: tuple[tuple[int, str], ...] = ()
    """What replica time is booked by: a pool's index and a feature."""
    idle: str = "use"
    """Who carries idle time: `sim.spec.money.Money`."""
    yardsticks: tuple[ApiPrice, ...] = ()
    """Public price lists to compare with."""
    has_flags: bool = False
    """Whether records tell what befell requests (`sim.metrics.records.FLAGS`)."""
    safety: tuple[str, ...] = ()
    """Features that are safety's: `sim.metrics.safety`."""

    @cached_property
    def tier_of_class(self) -> NDArray[np.int64]:
        """Tier index of each class, shape [num_classes]."""
        index = {tier.name: i for i, tier in enumerate(self.tiers)}
        return np.array([index[c.tier] for c in self.classes], dtype=np.int64)

    @cached_property
    def length_factors(self) -> NDArray[np.float64]:
        """Length factor of each cell (class and language), shape [cell]; NaN where it is not known."""
        unknown = np.full(len(self.languages), np.nan)
        factors = [unknown if c.length_factor is None else c.length_factor[: len(unknown)] for c in self.classes]
        return np.concatenate(factors)

    def itl_rows(self, tier: int) -> NDArray[np.int64]:
        """Rows of the histogram of gaps between tokens that a tier's classes have."""
        rows = {kind.itl_row for kind, of in zip(self.classes, self.tier_of_class, strict=True) if of == tier}
        return np.array(sorted(rows), dtype=np.int64)

    def limits(self, target: str) -> NDArray[np.float64]:
        """Limit of each class [s] for "ttft_s", "tpot_s" or "e2el_s"; infinite where none is given."""
        slos = [self.tiers[tier].slo for tier in self.tier_of_class]
        given = [None if slo is None else getattr(slo, target) for slo in slos]
        return np.array([np.inf if limit is None else limit for limit in given])
