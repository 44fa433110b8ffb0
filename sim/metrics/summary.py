"""The result of a run: vLLM's `bench serve` keys at the top, our own under `sim`.

It is a pure function of scenario, code and seed: no date, no host, no wall time. Definitions: docs/nomenclature.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics import blocks, money, saturation
from sim.metrics.attribution import Bill
from sim.metrics.collector import METRICS, Collector
from sim.metrics.energy import JOULES_PER_KWH
from sim.metrics.flags import flags
from sim.metrics.host_tier import HostTierCounts, describe
from sim.metrics.money import Books
from sim.metrics.records import COMPLETED, IN_FLIGHT
from sim.metrics.safety import safety
from sim.metrics.statistics import finite, ratio, statistics
from sim.spec.tier import Slo

MONTH_S = 730.0 * 3600.0
"""365/12 days, the month of 730 hours that cloud price lists count in."""
_HOUR_S = 3600.0
_VLLM_METRICS = ("ttft", "tpot", "itl", "e2el")


@dataclass(frozen=True)
class RunFacts:
    """What the summary must know of a run and cannot see in its records."""

    label: str
    """The scenario's name."""
    model_id: str
    version: str
    digest: str
    seed: int
    horizon_s: float
    warmup_s: float
    """Simulated before t = 0 and not measured [s]."""
    duration_s: float
    """Measured time: from 0 to the end of the run, drain included [s]."""
    request_rate_per_s: float | None = None
    """Offered rate [requests/s], None where requests come as fast as they are answered."""
    burstiness: float | None = None
    max_concurrency: int | None = None
    ideal_hit_frac: float | None = None
    """Share of prompt tokens that one cache which forgets nothing would have, None where traffic does not say."""
    num_fallbacks: int = 0
    """Times a replica went over from extents of cached blocks to single blocks."""
    calibration: Mapping[str, Any] = field(default_factory=dict)
    """Engine calibration of each pool: name, version, status, residuals."""
    host_tiers: Mapping[str, HostTierCounts] = field(default_factory=dict)
    """What the host tiers did, by pool; pools without one are not there."""


def summarise(
    facts: RunFacts,
    collector: Collector,
    itl: NDArray[np.int64],
    timeline: NDArray[np.void],
    itl_per_token: NDArray[np.int64] | None = None,
    spent_s: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return the result dictionary of a run, fit for JSON (None for what does not exist).

    Parameters
    ----------
    facts
        The run's identity and extent.
    collector
        Fed with every finished request.
    itl
        Histogram of the gaps between tokens [s], shape [row, NUM_BINS]; `ClassFacts.itl_row` tells whose they are.
    timeline
        `INTERVAL` rows of all pools.
    itl_per_token
        The histogram of gaps with those before several tokens spread over them. None: there are none such.
    spent_s
        Replica-seconds by class and account of `Groups.accounts`. None: they were not booked.
    """
    itl_per_token = itl if itl_per_token is None else itl_per_token
    groups = collector.groups
    timeline = timeline[timeline["t_s"] >= 0.0]
    books = money.open_books(collector, timeline, spent_s, facts.horizon_s / MONTH_S)
    bill = books.bill
    return {
        **_vllm(facts, collector, itl, timeline),
        "sim": {
            "version": facts.version,
            "digest": facts.digest,
            "seed": facts.seed,
            "horizon_s": facts.horizon_s,
            "warmup_s": facts.warmup_s,
            "saturation": saturation.verdict(timeline, tuple(pool.name for pool in groups.pools)),
            "slo": blocks.attainment(collector, _all(collector)),
            "endings": blocks.endings(collector, _all(collector)),
            "cost": money.totals(books),
            "energy": _energy(timeline, collector) | money.emissions(books),
            "cache": _cache(collector, facts),
            "by_tier": {
                tier.name: _tier(collector, index, itl, itl_per_token, books, facts)
                for index, tier in enumerate(groups.tiers)
            },
            "by_pool": {
                pool.name: _pool(timeline, index, bill, collector, facts) | money.of_pool(books, index)
                for index, pool in enumerate(groups.pools)
            },
            **_by_class(collector, bill),
            **flags(collector),
            **safety(collector, timeline, books, spent_s),
            "by_language": {name: _language(collector, index, books) for index, name in enumerate(groups.languages)},
            "itl_per_token": statistics("itl_per_token_ms", itl_per_token.sum(axis=0), scale=1000.0),
            "calibration": dict(facts.calibration),
        },
    }


def tier_histograms(collector: Collector, itl: NDArray[np.int64]) -> dict[str, dict[str, NDArray[np.int64]]]:
    """Return the histogram of every metric, and itl, by tier: tier -> metric -> int64 [NUM_BINS]."""
    result = {}
    for index, tier in enumerate(collector.groups.tiers):
        classes = collector.groups.tier_of_class == index
        cells = blocks.cells_of_classes(collector, classes)
        counts = collector.histograms[cells].sum(axis=0)
        result[tier.name] = {
            **dict(zip(METRICS, counts, strict=True)),
            "itl": itl[collector.groups.itl_rows(index)].sum(axis=0),
        }
    return result


def _all(collector: Collector) -> blocks.Cells:
    return np.ones(len(collector.num_requests), dtype=np.bool_)


def _vllm(facts: RunFacts, collector: Collector, itl: NDArray[np.int64], timeline: NDArray[np.void]) -> dict[str, Any]:
    """Return the keys of vLLM's `bench serve`, in its order (vllm/benchmarks/serve.py)."""
    everyone = _all(collector)
    by_ending = collector.num_requests.sum(axis=0)
    num, completed = int(by_ending.sum()), int(by_ending[COMPLETED])
    totals = blocks.tokens(collector, everyone)
    num_input, num_output = totals["total_input_tokens"], totals["total_output_tokens"]
    num_met = blocks.attainment(collector, everyone)["num_slo_met"]
    rate = facts.request_rate_per_s
    peak_output, peak_concurrent = _peaks(timeline)
    result = {
        "endpoint_type": "simulated",
        "backend": "tokenfleet",
        "label": facts.label,
        "model_id": facts.model_id,
        "tokenizer_id": facts.model_id,
        "num_prompts": num,
        "request_rate": "inf" if rate is None else rate,
        "burstiness": facts.burstiness,
        "max_concurrency": facts.max_concurrency,
        "duration": facts.duration_s,
        "completed": completed,
        "failed": num - completed - int(by_ending[IN_FLIGHT]),
        "total_input_tokens": num_input,
        "total_output_tokens": num_output,
        "request_throughput": ratio(completed, facts.duration_s),
        "request_goodput": None if num_met is None else ratio(num_met, facts.duration_s),
        "output_throughput": ratio(num_output, facts.duration_s),
        "total_token_throughput": ratio(num_input + num_output, facts.duration_s),
        "max_output_tokens_per_s": peak_output,
        "max_concurrent_requests": peak_concurrent,
        "rtfx": 0.0,  # vLLM's real-time factor of audio; there is none here
    }
    latencies = blocks.latencies(collector, everyone) | statistics("itl_ms", itl.sum(axis=0), scale=1000.0)
    for name in _VLLM_METRICS:
        result |= {key: value for key, value in latencies.items() if key.endswith(f"_{name}_ms")}
    return result


def _peaks(timeline: NDArray[np.void]) -> tuple[float | None, float | None]:
    """Return the highest interval's output tokens/s and mean number in the fleet, over all pools."""
    if len(timeline) == 0:
        return None, None
    times, at = np.unique(timeline["t_s"], return_inverse=True)
    output, inside = np.zeros(len(times)), np.zeros(len(times))
    width_s = np.maximum(timeline["width_s"], np.finfo(float).tiny)
    np.add.at(output, at, timeline["output_tokens"] / width_s)
    np.add.at(inside, at, timeline["running_mean"] + timeline["waiting_mean"])
    return finite(output.max()), finite(inside.max())


def _energy(timeline: NDArray[np.void], collector: Collector) -> dict[str, Any]:
    total_j = float(timeline["energy_j"].sum())
    num_output = int(collector.output_tokens[:, COMPLETED].sum())
    return {
        "total_kwh": total_j / JOULES_PER_KWH,
        "joules_per_output_token": ratio(total_j, num_output),
        "gpu_hours": float(timeline["gpu_s"].sum()) / _HOUR_S,
    }


def _cache(collector: Collector, facts: RunFacts) -> dict[str, Any]:
    totals = blocks.tokens(collector, _all(collector))
    return {
        "hit_tokens": totals["prefix_cache_hit_tokens"],
        "query_tokens": totals["total_input_tokens"],
        "hit_frac": totals["prefix_cache_hit_frac"],
        "ideal_hit_frac": facts.ideal_hit_frac,
        "num_fallbacks": facts.num_fallbacks,
    }


def _tier(
    collector: Collector,
    index: int,
    itl: NDArray[np.int64],
    itl_per_token: NDArray[np.int64],
    books: Books,
    facts: RunFacts,
) -> dict[str, Any]:
    tier = collector.groups.tiers[index]
    classes = collector.groups.tier_of_class == index
    cells = blocks.cells_of_classes(collector, classes)
    rows = collector.groups.itl_rows(index)
    cost = blocks.costs(collector, cells, books.bill.cost_usd)
    turns = collector.turns[classes].sum(axis=0)
    per_user = ratio(cost["cost_usd"] * MONTH_S, (tier.num_users or 0.0) * facts.horizon_s)
    return {
        **blocks.endings(collector, cells),
        **blocks.messages(collector, cells),
        "num_conversations": int(turns[0]),
        "mean_turns": ratio(turns.sum(), turns[0]),
        **blocks.tokens(collector, cells),
        **blocks.latencies(collector, cells),
        **statistics("itl_ms", itl[rows].sum(axis=0), scale=1000.0),
        **statistics("itl_per_token_ms", itl_per_token[rows].sum(axis=0), scale=1000.0),
        "slo": _limits(tier.slo),
        **blocks.attainment(collector, cells),
        **cost,
        **money.of_tier(books, index, cells),
        **blocks.energy(collector, cells, books.bill.energy_j),
        **money.emissions(books, cells),
        "num_users": tier.num_users,
        "cost_usd_per_user_month": per_user,
        "hourly_arrivals": collector.hourly_arrivals[classes].sum(axis=0).tolist(),
    }


def _limits(slo: Slo | None) -> dict[str, Any] | None:
    if slo is None:
        return None
    return {"ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s, "e2el_s": slo.e2el_s}


def _language(collector: Collector, index: int, books: Books) -> dict[str, Any]:
    cells = blocks.cells_of_language(collector, index)
    spent = money.spent_on(books, cells) | money.emissions(books, cells)
    english = blocks.english(collector, cells, books.bill.cost_usd)
    return _group(collector, cells, books.bill) | spent | english


def _by_class(collector: Collector, bill: Bill) -> dict[str, Any]:
    """Return the classes one by one, where some tier has several."""
    classes = collector.groups.classes
    if len(classes) <= len({kind.tier for kind in classes}):
        return {}
    chosen = np.eye(len(classes), dtype=np.bool_)
    cells = [blocks.cells_of_classes(collector, row) for row in chosen]
    return {
        "by_class": {kind.name: _group(collector, of, bill) for kind, of in zip(classes, cells, strict=True)},
    }


def _group(collector: Collector, cells: blocks.Cells, bill: Bill) -> dict[str, Any]:
    return {
        **blocks.endings(collector, cells),
        **blocks.messages(collector, cells),
        **blocks.tokens(collector, cells),
        **blocks.latencies(collector, cells),
        **blocks.attainment(collector, cells),
        **blocks.costs(collector, cells, bill.cost_usd),
        **blocks.energy(collector, cells, bill.energy_j),
    }


def _drafts(rows: NDArray[np.void]) -> dict[str, Any]:
    """Return what was drafted and accepted; a sequence's step gives a token more than are accepted."""
    counts = {name: int(rows[name].sum()) for name in ("num_drafts", "draft_tokens", "accepted_tokens")}
    accepted = ratio(counts["accepted_tokens"], counts["num_drafts"])
    return counts | {"mean_tokens_per_step": None if accepted is None else 1.0 + accepted}


def _pool(timeline: NDArray[np.void], index: int, bill: Bill, collector: Collector, run: RunFacts) -> dict[str, Any]:
    facts = collector.groups.pools[index]
    rows = timeline[timeline["pool"] == index]
    time_s = float(rows["width_s"].sum())
    gpu_s, energy_j = float(rows["gpu_s"].sum()), float(rows["energy_j"].sum())

    def time_mean(name: str) -> float | None:
        return ratio(float(rows[name] @ rows["width_s"]), time_s)

    host_tier = run.host_tiers.get(facts.name)
    cache = {} if host_tier is None else {"cache": describe(host_tier, gpu_s / facts.num_gpus)}
    return {
        "model": facts.model,
        "hardware": facts.hardware,
        "num_gpus_per_replica": facts.num_gpus,
        "usd_per_gpu_hour": facts.usd_per_gpu_hour,
        "num_replicas_mean": time_mean("num_replicas"),
        "num_replicas_max": finite(rows["num_replicas"].max(initial=-np.inf)),
        "gpu_hours": gpu_s / _HOUR_S,
        "busy_frac": ratio(float(rows["busy_frac"] @ rows["gpu_s"]), gpu_s),
        "running_mean": time_mean("running_mean"),
        "waiting_mean": time_mean("waiting_mean"),
        "waiting_end_max": int(rows["waiting_end"].max(initial=0)),
        "kv_cache_usage_mean_frac": time_mean("kv_used_mean_frac"),
        "kv_cache_usage_max_frac": finite(rows["kv_used_mean_frac"].max(initial=-np.inf)),
        "num_arrived": int(rows["num_arrived"].sum()),
        "num_completed": int(rows["num_completed"].sum()),
        "num_preempted": int(rows["num_preempted"].sum()),
        "prompt_tokens": int(rows["prompt_tokens"].sum()),
        "cached_tokens": int(rows["cached_tokens"].sum()),
        "output_tokens": int(rows["output_tokens"].sum()),
        **cache,
        **_drafts(rows),
        "energy_kwh": energy_j / JOULES_PER_KWH,
        "power_mean_w": ratio(energy_j, time_s),
        "joules_per_output_token": ratio(energy_j, rows["output_tokens"].sum()),
        "total_usd": float(bill.total_usd[index]),
        "busy_usd": float(bill.busy_usd[index]),
        "idle_usd": money.idle_usd(float(bill.total_usd[index]), float(bill.busy_usd[index])),
        "num_saturated_intervals": int(np.count_nonzero(rows["saturated"])),
    }
