"""Where replicas and senders are, and how long it takes between: a part of the plane's World."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Regions:
    """Regions of a fleet, and the places that its senders are in (`sim.plane.regions`)."""

    names: Sequence[str]
    user_frac: Sequence[float]
    """Share of the senders in each place; the plane draws a sender's as the traffic does."""
    to_users_s: Sequence[Sequence[float]]
    """One way between each place of senders and each region [s]."""
    between_s: Sequence[Sequence[float]]
    """One way from each region to each other [s]."""
    spill_at: float = float("inf")
    """Outstanding requests for each of a region's active replicas at which a pool is full there."""
