"""The keys of one group of requests: a tier, a language, or all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.collector import COST_BIN_USD, METRICS, MISSES, SLO_PARTS, Collector
from sim.metrics.energy import JOULES_PER_KWH
from sim.metrics.records import COMPLETED, ENDINGS, IN_FLIGHT
from sim.metrics.statistics import finite, ratio, statistics

ENGLISH_WORDS_PER_TOKEN = 0.75
"""OpenAI help centre, "What are tokens and how to count them?": 100 tokens are about 75 words of English."""
Cells = NDArray[np.bool_]
"""Which cells (class and language) of a collector a block is about, shape [cell]."""


def cells_of_classes(collector: Collector, chosen: NDArray[np.bool_]) -> Cells:
    """Return the cells of the chosen classes (shape [class]), all languages."""
    return np.repeat(chosen, len(collector.groups.languages))


def cells_of_language(collector: Collector, language: int) -> Cells:
    """Return the cells of one language, all classes."""
    chosen = np.arange(len(collector.groups.languages)) == language
    return np.tile(chosen, len(collector.groups.classes))


def endings(collector: Collector, cells: Cells) -> dict[str, int]:
    """Return `num_requests` and one `num_...` per ending; the first is the sum of the others."""
    by_ending = collector.num_requests[cells].sum(axis=0)
    counts = {f"num_{name}": int(n) for name, n in zip(ENDINGS, by_ending, strict=True)}
    return {"num_requests": int(by_ending.sum()), **counts}


def messages(collector: Collector, cells: Cells) -> dict[str, Any]:
    """Return how many messages were sent, which part of those with a known fate was answered, and what senders did.

    A message is a turn's first attempt; at most one of its attempts is answered, or in flight.
    """
    by_ending = collector.num_requests[cells].sum(axis=0)
    num_retries = int(collector.num_retries[cells].sum())
    num = int(by_ending.sum()) - num_retries
    return {
        "num_user_messages": num,
        "user_message_success_frac": ratio(by_ending[COMPLETED], num - by_ending[IN_FLIGHT]),
        "num_retries": num_retries,
        "retries_per_user_message": ratio(num_retries, num),
        "num_left": int(collector.num_left[cells].sum()),
    }


def tokens(collector: Collector, cells: Cells) -> dict[str, Any]:
    """Return tokens of completed requests, the cached part of their prompts, and wasted output."""
    prompt, cached, output = (
        array[cells].sum(axis=0)
        for array in (collector.prompt_tokens, collector.cached_tokens, collector.output_tokens)
    )
    num = int(collector.num_requests[cells, COMPLETED].sum())
    return {
        "total_input_tokens": int(prompt[COMPLETED]),
        "total_output_tokens": int(output[COMPLETED]),
        "mean_input_tokens": ratio(prompt[COMPLETED], num),
        "mean_output_tokens": ratio(output[COMPLETED], num),
        "prefix_cache_hit_tokens": int(cached[COMPLETED]),
        "prefix_cache_hit_frac": ratio(cached[COMPLETED], prompt[COMPLETED]),
        "wasted_output_tokens": int(output.sum() - output[COMPLETED] - output[IN_FLIGHT]),
        "num_preemptions": int(collector.num_preemptions[cells].sum()),
    }


def latencies(collector: Collector, cells: Cells) -> dict[str, Any]:
    """Return the statistics of every latency over completed requests [ms]."""
    result: dict[str, Any] = {}
    for i, name in enumerate(METRICS):
        if name == "cost" or (name == "transfer" and not collector.groups.has_transfers):
            continue
        counts = collector.histograms[cells, i].sum(axis=0)
        sums = (float(collector.sums[cells, i].sum()), float(collector.square_sums[cells, i].sum()))
        result |= statistics(f"{name}_ms", counts, *sums, scale=1000.0)
    return result


def attainment(collector: Collector, cells: Cells) -> dict[str, Any]:
    """Return the part of requests that kept their SLO, all of it and part by part; None without SLO.

    Over completed requests and misses (shed, timed out, abandoned, failed), and over completed ones alone.
    """
    groups = collector.groups
    given = np.array([tier.has_slo for tier in groups.tiers], dtype=np.bool_)[groups.tier_of_class]
    cells = cells & cells_of_classes(collector, given)
    met = collector.num_met[cells].sum(axis=0)
    num_completed = int(met.sum())
    num_met = int(met[-1])
    num_judged = num_completed + int(collector.num_requests[cells][:, MISSES].sum())
    result: dict[str, Any] = {
        "num_slo_met": num_met if cells.any() else None,
        "slo_attainment_frac": ratio(num_met, num_judged),
        "slo_attainment_completed_frac": ratio(num_met, num_completed),
    }
    for bit, part in enumerate(SLO_PARTS):
        kept = int(met[(np.arange(len(met)) >> bit) & 1 == 1].sum())
        result[f"{part}_attainment_completed_frac"] = ratio(kept, num_completed)
    return result


def energy(collector: Collector, cells: Cells, energy_j: NDArray[np.float64]) -> dict[str, Any]:
    """Return the energy of the requests, idle time included, and per output token."""
    joules = float(energy_j[cells].sum())
    return {
        "energy_kwh": joules / JOULES_PER_KWH,
        "joules_per_output_token": ratio(joules, collector.output_tokens[cells, COMPLETED].sum()),
    }


def costs(collector: Collector, cells: Cells, cost_usd: NDArray[np.float64]) -> dict[str, Any]:
    """Return what the requests cost, idle time included, and per output token and request.

    The distribution is of each request's own shares of steps, before idle time is spread.
    """
    i = METRICS.index("cost")
    usd = float(cost_usd[cells].sum())
    num = int(collector.num_requests[cells, COMPLETED].sum())
    output_tokens = int(collector.output_tokens[cells, COMPLETED].sum())
    sent = int(collector.num_requests[cells].sum() - collector.num_retries[cells].sum())
    per_token, per_request, per_message = ratio(usd, output_tokens), ratio(usd, num), ratio(usd, sent)
    own = statistics(
        "busy_cost_usd",
        collector.histograms[cells, i].sum(axis=0),
        float(collector.sums[cells, i].sum()),
        float(collector.square_sums[cells, i].sum()),
        bin_unit=COST_BIN_USD,
    )
    return {
        "cost_usd": usd,
        "cost_usd_per_1m_output_tokens": None if per_token is None else per_token * 1e6,
        "cost_usd_per_1k_requests": None if per_request is None else per_request * 1e3,
        "cost_usd_per_1k_user_messages": None if per_message is None else per_message * 1e3,
        **own,
    }


def english(collector: Collector, cells: Cells, cost_usd: NDArray[np.float64]) -> dict[str, Any]:
    """Return how many tokens one of English takes, and the cost of what is 1,000 words in English.

    Both are about the answers; None where a class does not know its factors.
    """
    factors = collector.groups.length_factors[cells]
    output_tokens = collector.output_tokens[cells, COMPLETED]
    in_english = float((output_tokens[output_tokens > 0] / factors[output_tokens > 0]).sum())
    per_word = ratio(float(cost_usd[cells].sum()), in_english * ENGLISH_WORDS_PER_TOKEN)
    return {
        "length_factor": None if not in_english else finite(float(output_tokens.sum()) / in_english),
        "cost_usd_per_1k_english_words": None if per_word is None else finite(per_word * 1e3),
    }
