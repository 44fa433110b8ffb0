"""Who routes, and what they go by: a part of the plane's World."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Routing:
    """Routers of a world: how many, and what each knows (`sim.plane.views`, `sim.plane.prefix_index`)."""

    num_routers: int = 1
    """Instances, each of which knows only what it sent itself."""
    by_conversation: bool = False
    """All requests of a conversation come by one router; else each by one of its own."""
    state_interval_s: float = 0.05
    """Age at which a router reads the engines' gauges again [s]."""
    counts_own: bool = True
    """least_kv adds to the gauges the prompts that the router sent since it read them."""
    index_blocks: int = 0
    """prefix_affinity goes by an index of so many blocks of 16 tokens a replica; 0: by a hash."""
    min_match_frac: float = 0.3
    """Share of a prompt that a replica must have been sent before, to be chosen for that."""


MOST_ENTRIES = 1 << 28
"""Of all indices together: at 32 bytes each, 8 GiB."""
