"""Stage 7 of an audit: what a simulated day of serving came to, and what watches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sim.fleet.run import Run
from sim.lifecycle.figures import COMPUTED, Figure
from sim.spec import Scenario

LATENCIES: Final = ("p50_ttft_ms", "p95_ttft_ms", "p99_ttft_ms", "p50_itl_ms", "p99_itl_ms")
DELAYS_H: Final[Mapping[str, tuple[float, float]]] = {
    "new prompts of the chat 1.3 times as long": (11.0, 19.0),
    "a system prompt that is never the same": (4.0, 4.0),
    "a classifier that blocks 3 % instead of 1 %": (5.0, 6.0),
    "answers 1.15 times as long": (8.0, 11.0),
    "one replica of four that is 1.2 times as slow": (4.0, 5.0),
}
"""Hours until five drifts were found, median and 95 %: docs/monitoring.md, 250 seeds of a thinned meridian-1."""
DRILLED: Final = "docs/monitoring.md: 250 simulated services of 20,000 requests a day; range to the 95 % quantile"


def serving_figures(day: Run, scenario: Scenario, scale: float) -> Iterator[Figure]:
    """The day's figures, at full size: fleet, batches, contexts, latency, money.

    Parameters
    ----------
    day
        Played at `scale` of full size.
    scenario
        At full size.
    scale
        Part that was played.
    """
    result = day.result["sim"]
    part = "all of it" if scale == 1.0 else f"at {scale:g} of full size, and divided by that"
    counted, source = f"{COMPUTED}: a simulated day, {part}", f"{COMPUTED}: a simulated day"
    yield Figure("requests", day.result["num_prompts"] / scale, "requests/day", counted)
    for name, pool in result["by_pool"].items():
        gpus = pool["num_gpus_per_replica"] / scale
        yield Figure(
            f"{name}: GPUs", pool["num_replicas_mean"] * gpus, "GPUs, mean of the day", counted,
            high=pool["num_replicas_max"] * gpus, low=pool["num_replicas_mean"] * gpus, note="up to the most at once",
        )  # fmt: skip
        given = scenario.pool(name)
        yield Figure(f"{name}: sequences in a batch, at most", float(given.max_num_seqs), "sequences", _of(scenario))
        mean = pool["running_mean"] / max(pool["num_replicas_mean"], 1e-9)
        yield Figure(f"{name}: sequences in a batch", mean, "sequences, mean of the day", source)
        yield Figure(f"{name}: KV cache in use", pool["kv_cache_usage_mean_frac"], "of its blocks, mean", source)
    for name, tier in result["by_tier"].items():
        limit = scenario.tiers[name].max_context_tokens
        if limit is not None:
            yield Figure(f"{name}: context, at most", float(limit), "tokens", _of(scenario))
        yield from _tier(name, tier, source)
    yield from _whole(result, day.result, scale, counted, source)


def _tier(name: str, tier: Mapping[str, Any], source: str) -> Iterator[Figure]:
    """One tier's day."""
    for key in LATENCIES:
        yield Figure(f"{name}: {key.removesuffix('_ms').replace('_', ' ')}", tier[key], "ms", source)
    found = {
        "SLO kept": ("slo_attainment_frac", "of the requests that are judged"),
        "cost of a user": ("cost_usd_per_user_month", "USD/user-month"),
        "cost of output": ("cost_usd_per_1m_output_tokens", "USD/1M output tokens"),
    }
    for title, (key, unit) in found.items():
        if tier.get(key) is not None:
            yield Figure(f"{name}: {title}", tier[key], unit, source)


def _whole(
    result: Mapping[str, Any], top: Mapping[str, Any], scale: float, counted: str, source: str
) -> Iterator[Figure]:
    """The whole fleet's day."""
    prompts, cached = (sum(tier[key] for tier in result["by_tier"].values()) for key in TOKENS)
    yield Figure("prompt tokens found in the cache", cached / prompts, "of the prompt tokens", source)
    yield Figure("output tokens", top["total_output_tokens"] / scale, "tokens/day", counted)
    yield Figure("bill", result["cost"]["total_usd"] / scale, "USD/day", counted)
    yield Figure("cost of output", result["cost"]["usd_per_1m_output_tokens"], "USD/1M output tokens", source)
    yield Figure("energy", result["energy"]["total_kwh"] / scale, "kWh/day", counted)
    safety = result.get("safety")
    if safety:
        yield Figure("safety: part of the bill", safety["cost_frac"], "of the bill", source)
        yield Figure("safety: added before the first token", safety["mean_added_ttft_ms"], "ms, mean", source)
    for name, entry in result.get("faults", {}).get("by_pool", {}).items():
        if entry["availability_frac"] is not None:
            yield Figure(f"{name}: availability", entry["availability_frac"], "of replica time", source)


TOKENS: Final = ("total_input_tokens", "prefix_cache_hit_tokens")


def watching_figures(scenario: Scenario) -> Iterator[Figure]:
    """What monitors promise, and how soon they found five drifts."""
    monitoring = scenario.monitoring
    stated = 0.05 if monitoring is None else monitoring.false_alarms_per_week
    yield Figure("false alarms", stated, "a week, all series together", "assumed: the default of `monitoring`")
    for drift, (median, late) in DELAYS_H.items():
        yield Figure(f"found after: {drift}", median, "hours", DRILLED, low=median, high=late)


def _of(scenario: Scenario) -> str:
    """Where the scenario says so."""
    return f"scenario {scenario.name}, where its source stands, or the word assumed"
