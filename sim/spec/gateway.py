"""A pool's gateway: where tiers queue for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from sim.spec.base import NonNegativeInt, PositiveInt, Spec
from sim.spec.tier import Tier

OUTSTANDING_PER_SEQ = 1.1
"""*Assumed*: a tenth more than run, so that a replica has the next at hand when one ends."""


class Gateway(Spec):
    """Where tiers queue for a pool, so that no replica has more requests than it can soon begin.

    A request is let in as long as some replica has a place for it; the order within an engine stays the engine's.
    docs/gateway.md has the rules.
    """

    max_outstanding: PositiveInt | None = None
    """Most requests of a replica, running and waiting. Default: 1.1 x the pool's max_num_seqs (*assumed*)."""
    order: Literal["fair", "priority", "fifo"] = "fair"
    """Whose turn it is when a place comes free. fair: tiers share work, prompt plus expected answer, by their `weight`
    (start-time fair queueing). priority: the tier with the lowest `priority`. fifo: who waits longest. Default
    fair."""
    max_queue: NonNegativeInt | None = None
    """Most requests that wait; beyond it the cheapest promise is shed: of the tiers that wait the one with the highest
    `priority` number, then the least `weight`, and of that its latest request. Default: no limit."""

    def places(self, max_num_seqs: int) -> int:
        """Return how many requests a replica of so many sequences may have."""
        return self.max_outstanding or int(OUTSTANDING_PER_SEQ * max_num_seqs)


def promise_problems(pools: Mapping[str, Any], tiers: Mapping[str, Tier]) -> Iterator[tuple[str, str]]:
    """Yield places that are promised twice, and gateways whose pool is parted."""
    total = sum(tier.reserved_frac for tier in tiers.values())
    if total > 1.0:
        yield "tiers", f"reserved_frac must not sum to more than 1 over the tiers, got {total:.12g}"
    for name, tier in tiers.items():
        if total - tier.reserved_frac >= 1.0 and any(pool.gateway is not None for pool in pools.values()):
            why = "the other tiers reserve all places of gateways, and this one would never get in"
            yield f"tiers.{name}.reserved_frac", f"{why}; let them sum to less than 1, got {total:.12g}"
    for name, pool in pools.items():
        if pool.gateway is not None and (pool.reserved or getattr(pool, "regions", None)):
            why = "the pool's replicas are parted among tiers or regions: not simulated together"
            yield f"fleet.pools.{name}.gateway", f"must be null where {why}"
