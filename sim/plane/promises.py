"""What a provider promises its tiers, as the plane is told: limits of use, and a place at each pool's gateway.

Plain frozen records of numbers, part of a `sim.plane.world.World`. `sim.plane.limits` and `sim.plane.gateway` carry
them out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from sim.traffic.arrivals import NO_LIMIT

CHARGES = ("expected", "max_output_tokens")
CHARGE_EXPECTED, CHARGE_MOST = range(2)
"""Output tokens that a request is charged when it is let in: what its class is expected to be answered, or the longest
answer that it may have."""
ORDERS = ("fifo", "priority", "fair")
FIFO, PRIORITY, FAIR = range(3)
"""Who goes next at a gateway: `sim.plane.gateway`."""


@dataclass(frozen=True)
class Bucket:
    """Token buckets of one sender or one group: of requests, of input and of output tokens, all full at the start.

    Each is refilled at its rate up to its capacity; infinite rates and capacities limit nothing.
    """

    rate_per_s: float = inf
    capacity: float = inf
    input_per_s: float = inf
    input_capacity: float = inf
    output_per_s: float = inf
    output_capacity: float = inf
    charges: str = "expected"
    """Output tokens charged when a request is let in, one of `CHARGES`; corrected when it ends."""
    counts_cached: bool = True
    """Whether input tokens read from the cache count; if not, they are given back when the request ends."""

    @property
    def counts_tokens(self) -> bool:
        """Whether anything but requests is limited."""
        return min(self.input_per_s, self.output_per_s) < inf


@dataclass(frozen=True)
class UserLimit:
    """What each single user of a tier may ask for."""

    bucket: Bucket = Bucket()
    messages: int = 0
    """Requests let in during a window, which begins with the first of them; 0: no such limit."""
    window_s: float = inf
    fall_back: str | None = None
    """Path of what is asked beyond that; None: it ends as rate_limited."""


@dataclass(frozen=True)
class Promise:
    """A tier's place at every gateway, and what each of its users may ask for."""

    weight: float = 1.0
    """Share of the work under the order `fair`, in proportion to the weights of those who wait."""
    reserved_frac: float = 0.0
    """Part of a pool's places that no other tier may take."""
    max_queue: int = NO_LIMIT
    """Most requests of the tier that wait at a gateway."""
    queue_time_limit_s: float = inf
    """Longest time in a gateway's queue."""
    user_limit: UserLimit | None = None


@dataclass(frozen=True)
class Gateway:
    """Who waits for a pool, and how."""

    max_outstanding: int
    """Requests that a replica may have at once."""
    order: str = "fair"
    max_queue: int = NO_LIMIT
    """Most requests that wait; beyond it the cheapest promise is shed."""
