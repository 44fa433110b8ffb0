"""The tables of a report: tiers, pools, languages, and what the run was made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sim.metrics.rundata import RunData
from sim.report import text
from sim.report.panel import Table

Show = Callable[[Any], str]

_REQUESTS: dict[str, tuple[str, Show]] = {
    "num_requests": ("requests", text.number),
    "user_message_success_frac": ("answered", text.percent),
    "slo_attainment_frac": ("SLO attainment", text.percent),
    "slo_attainment_completed_frac": ("SLO attainment, completed", text.percent),
    "median_ttft_ms": ("TTFT, median", text.millis),
    "p99_ttft_ms": ("TTFT, p99", text.millis),
    "median_tpot_ms": ("TPOT, median", text.millis),
    "p99_tpot_ms": ("TPOT, p99", text.millis),
    "median_itl_ms": ("ITL, median", text.millis),
    "p99_itl_ms": ("ITL, p99", text.millis),
    "median_e2el_ms": ("E2EL, median", text.millis),
    "p99_e2el_ms": ("E2EL, p99", text.millis),
    "mean_input_tokens": ("prompt tokens, mean", text.number),
    "mean_output_tokens": ("output tokens, mean", text.number),
    "prefix_cache_hit_frac": ("prompt tokens from cache", text.percent),
    "cost_usd": ("cost", text.usd),
    "cost_usd_per_1k_requests": ("cost per 1,000 requests", text.usd),
    "cost_usd_per_1m_output_tokens": ("cost per 1M output tokens", text.usd),
    "cost_usd_per_1k_english_words": ("cost of what is 1,000 words in English", text.usd),
    "cost_usd_per_user_month": ("cost per user and month", text.usd),
}
_POOLS: dict[str, tuple[str, Show]] = {
    "model": ("model", str),
    "hardware": ("hardware", str),
    "num_gpus_per_replica": ("GPUs per replica", text.number),
    "num_replicas_mean": ("replicas, mean", text.number),
    "busy_frac": ("busy", text.percent),
    "running_mean": ("running, mean", text.number),
    "waiting_mean": ("waiting, mean", text.number),
    "kv_cache_usage_mean_frac": ("KV blocks used, mean", text.percent),
    "kv_cache_usage_max_frac": ("KV blocks used, highest interval", text.percent),
    "num_preempted": ("preemptions", text.number),
    "gpu_hours": ("GPU hours", text.number),
    "energy_kwh": ("energy [kWh]", text.number),
    "total_usd": ("cost", text.usd),
    "idle_usd": ("of which idle", text.usd),
    "num_saturated_intervals": ("saturated intervals", text.number),
}


def by_tier(result: Mapping[str, Any]) -> Table:
    """Return the table of tiers, a column each."""
    return _columns(result["sim"]["by_tier"], _REQUESTS)


def by_language(result: Mapping[str, Any]) -> Table:
    """Return the table of languages, a column each."""
    return _columns(result["sim"]["by_language"], _REQUESTS)


_LANGUAGES: dict[str, tuple[str, Show]] = {
    "num_requests": ("requests", text.number),
    "mean_output_tokens": ("output tokens, mean", text.number),
    "median_e2el_ms": ("E2EL, median", text.millis),
    "cost_usd_per_1k_requests": ("cost per 1,000 requests", text.usd),
    "cost_usd_per_1k_english_words": ("cost of 1,000 English words", text.usd),
}


def by_language_in_short(result: Mapping[str, Any]) -> Table | None:
    """Return the table of languages, a row each, with what tells them apart; None where there is only one."""
    groups = result["sim"]["by_language"]
    if len(groups) < 2:
        return None
    rows = tuple(
        (who, *(show(found.get(key)) for key, (_, show) in _LANGUAGES.items())) for who, found in groups.items()
    )
    return Table(("", *(name for name, _ in _LANGUAGES.values())), rows)


def by_pool(result: Mapping[str, Any]) -> Table:
    """Return the table of pools, a column each."""
    return _columns(result["sim"]["by_pool"], _POOLS)


def headline(result: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the few numbers that matter, each with its name."""
    sim = result["sim"]
    num_judged = result["num_prompts"] - sim["endings"]["num_in_flight"]
    return (
        ("requests", text.number(result["num_prompts"])),
        ("completed", text.percent(result["completed"] / num_judged if num_judged else None)),
        ("SLO attainment", text.percent(sim["slo"]["slo_attainment_frac"])),
        ("TTFT p99", text.millis(result["p99_ttft_ms"])),
        ("ITL p99", text.millis(result["p99_itl_ms"])),
        ("GPU hours", text.number(sim["energy"]["gpu_hours"])),
        ("cost", text.usd(sim["cost"]["total_usd"])),
        ("per 1M output tokens", text.usd(sim["cost"]["usd_per_1m_output_tokens"])),
    )


def verdict(result: Mapping[str, Any]) -> str:
    """Return the saturation verdict as a sentence."""
    sim = result["sim"]
    found = sim["saturation"]
    worst, margin = found["worst_interval"], found["margin_frac"]
    if worst is None:
        return "No interval was measured."
    spare = "" if margin is None else f" Estimated margin there: {text.percent(margin)}."
    where = f"pool {worst['pool']} from {text.time(worst['t_s'])}"
    if found["verdict"] == "saturated":
        num = sum(found["num_saturated_intervals"].values())
        return (
            f"SATURATED: the fleet could not keep up in {num} interval(s), worst in {where}.{spare} "
            "Latencies then depend on how long the overload lasted."
        )
    if margin is not None and margin < 0.0:
        endings = sim["endings"]
        lost = sum(endings[f"num_{ending}"] for ending in ("abandoned", "shed", "timed_out")) / result["num_prompts"]
        return (
            f"BEYOND CAPACITY: queues stayed short only because requests gave up or were turned away "
            f"({text.percent(lost)} of all). The tightest interval was {where}.{spare}"
        )
    return f"Stable: every queue kept up. The tightest interval was {where}.{spare}"


def identity(run: RunData) -> Table:
    """Return what the run was made of, its calibration and its errors, and how it ran."""
    sim = run.result["sim"]
    rows = [(key, str(sim[key])) for key in ("digest", "version", "seed")]
    rows += [(key, text.time(sim[key])) for key in ("horizon_s", "warmup_s")]
    rows += [(f"calibration: {key}", value) for key, value in _flat(sim["calibration"])]
    rows += [(f"this run: {key}", value) for key, value in _flat(run.info)]
    return Table(("what", "value"), tuple(rows))


def assumptions(run: RunData) -> Table:
    """Return the inputs with their sources; the columns are the union of the rows' keys, in order."""
    keys = tuple(dict.fromkeys(key for row in run.assumptions for key in row))
    rows = tuple(tuple(_plain(row.get(key)) for key in keys) for row in run.assumptions)
    return Table(keys or ("name",), rows)


def _columns(groups: Mapping[str, Mapping[str, Any]], shown: dict[str, tuple[str, Show]]) -> Table:
    """Return one column a group and one row a key, leaving out keys that no group has."""
    rows = tuple(
        (name, *(show(group.get(key)) for group in groups.values()))
        for key, (name, show) in shown.items()
        if any(group.get(key) is not None for group in groups.values())
    )
    return Table(("", *groups), rows)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested mappings, each with its dotted path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return text.NONE
    return f"{value:.6g}" if isinstance(value, float) else str(value)
