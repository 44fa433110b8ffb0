"""What a source expects of itself, in the same words for every source: `Source.describe()`.

::

    requests, conversations     expected in [0, horizon); every turn of a conversation is a request
    prompt_tokens               of those requests in full, cached or not: system prompt, history and new tokens
    output_tokens
    mean_turns, mean_user_tokens, mean_output_tokens
    hourly_curve                24 means of the rate of requests relative to the day's, or None
    tier_share                  {tier: share of the requests}
    by_class                    {class: the numbers above but the curve, and tier}
    inputs                      what else went in, source by source
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SUMS = ("requests", "conversations", "prompt_tokens", "output_tokens")


@dataclass(frozen=True)
class Volume:
    """What one class is expected to send in [0, horizon)."""

    name: str
    tier: str
    conversations: float
    requests: float
    prompt_tokens: float
    output_tokens: float
    user_tokens: float


def described(kind: str, volumes: Sequence[Volume], curve: NDArray[np.float64] | None, **inputs: Any) -> dict[str, Any]:
    """The description of a source that has one kind of traffic."""
    by_class = {
        volume.name: {"tier": volume.tier}
        | {name: getattr(volume, name) for name in _SUMS}
        | _means(volume.requests, volume.conversations, volume.user_tokens, volume.output_tokens)
        for volume in volumes
    }
    return _totals(by_class, None if curve is None else [float(value) for value in curve], {kind: inputs})


def added(descriptions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The description of several sources together; curves are averaged by requests."""
    by_class = {name: entry for description in descriptions for name, entry in description["by_class"].items()}
    inputs = {kind: entry for description in descriptions for kind, entry in description["inputs"].items()}
    curves = [description["hourly_curve"] for description in descriptions]
    weights = [description["requests"] for description in descriptions]
    curve = None
    if None not in curves and sum(weights) > 0:
        curve = [float(value) for value in np.average(curves, axis=0, weights=weights)]
    return _totals(by_class, curve, inputs)


def _totals(by_class: dict[str, Any], curve: list[float] | None, inputs: dict[str, Any]) -> dict[str, Any]:
    entries = list(by_class.values())
    total = {name: sum(entry[name] for entry in entries) for name in _SUMS}
    user_tokens = sum(entry["mean_user_tokens"] * entry["requests"] for entry in entries)
    share: dict[str, float] = {}
    for entry in entries:
        share[entry["tier"]] = share.get(entry["tier"], 0.0) + entry["requests"] / max(total["requests"], 1e-300)
    return {
        **total,
        **_means(total["requests"], total["conversations"], user_tokens, total["output_tokens"]),
        "hourly_curve": curve,
        "tier_share": share,
        "by_class": by_class,
        "inputs": inputs,
    }


def _means(requests: float, conversations: float, user_tokens: float, output_tokens: float) -> dict[str, float]:
    return {
        "mean_turns": requests / conversations if conversations else 0.0,
        "mean_user_tokens": user_tokens / requests if requests else 0.0,
        "mean_output_tokens": output_tokens / requests if requests else 0.0,
    }
