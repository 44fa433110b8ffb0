"""What the second tier of a pool's prefix cache did, as results tell it; definitions: docs/nomenclature.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sim.metrics.statistics import ratio


@dataclass(frozen=True)
class HostTierCounts:
    """Counters of a pool's host tier in the measured time."""

    tokens: Mapping[str, int]
    """By name: prompt_tokens (of the admitted requests), found_tokens, loaded_tokens, slower_tokens, written_tokens,
    evicted_tokens, expired_tokens, refused_tokens."""
    loaded_bytes: float
    link_busy_s: float
    """Summed over the links to its replicas [s]."""
    has_ttl: bool
    write_price_factor: float
    read_price_factor: float


def describe(counts: HostTierCounts, online_s: float) -> dict[str, Any]:
    """Return the block `cache` of a pool whose replicas were on line for `online_s` together [s]."""
    tokens = counts.tokens
    found = {
        "host_hit_tokens": tokens["found_tokens"],
        "host_hit_frac": ratio(tokens["found_tokens"], tokens["prompt_tokens"]),
        "loaded_tokens": tokens["loaded_tokens"],
        "loaded_bytes": counts.loaded_bytes,
        "recomputed_tokens": tokens["slower_tokens"],
        "written_tokens": tokens["written_tokens"],
        "evicted_tokens": tokens["evicted_tokens"],
        "expired_tokens": tokens["expired_tokens"],
        "refused_tokens": tokens["refused_tokens"],
        "link_busy_frac": ratio(counts.link_busy_s, online_s),
    }
    if not counts.has_ttl:
        return found
    uncached = max(0, tokens["prompt_tokens"] - tokens["found_tokens"] - tokens["written_tokens"])
    billed = (
        uncached
        + counts.write_price_factor * tokens["written_tokens"]
        + counts.read_price_factor * tokens["found_tokens"]
    )
    return found | {"uncached_tokens": uncached, "input_bill_frac": ratio(billed, tokens["prompt_tokens"])}
