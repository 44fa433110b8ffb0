"""What the safety of a fleet takes: compute, GPU time, money, waiting, false refusals; and what passes all the same.

What counts as safety are features (`sim.spec.visit.Visit.feature`): those of classifiers that may block. docs/safety.md
has the rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics.collector import Collector
from sim.metrics.flags import counts
from sim.metrics.money import Books
from sim.metrics.records import COMPLETED
from sim.metrics.statistics import ratio

_MS = 1000.0


def safety(
    collector: Collector, timeline: NDArray[np.void], books: Books, spent_s: NDArray[np.float64] | None
) -> dict[str, Any]:
    """Return the block `safety` of a result; nothing where no feature is safety's.

    Parameters
    ----------
    collector
        Fed with every finished request.
    timeline
        The measured rows of the timeline.
    books
        The run's accounts.
    spent_s
        Replica-seconds by class and account of `Groups.accounts`.
    """
    groups = collector.groups
    if not groups.safety or spent_s is None or books.by_account_usd is None:
        return {}
    is_safety = np.array([feature in groups.safety for _, feature in groups.accounts])
    pools = np.array([pool for pool, _ in groups.accounts], dtype=np.int64)
    num_gpus = np.array([pool.num_gpus for pool in groups.pools])
    gpu_s = spent_s.sum(axis=0) * num_gpus[pools]
    flops = _flops(timeline, collector, gpu_s, pools)
    usd = books.by_account_usd.sum(axis=0)
    num_completed = int(collector.num_requests[:, COMPLETED].sum())
    added_s, verdict_s = collector.withheld_s.sum(axis=1)
    safety_flops, safety_usd = float(flops[is_safety].sum()), float(usd[is_safety].sum())
    return {
        "safety": {
            "features": list(groups.safety),
            "compute_frac": ratio(safety_flops, flops.sum()),
            "compute_overhead": ratio(safety_flops, flops[~is_safety].sum()),
            "gpu_time_frac": ratio(gpu_s[is_safety].sum(), gpu_s.sum()),
            "cost_frac": ratio(safety_usd, usd.sum()),
            "cost_usd": safety_usd,
            "usd_per_1k_requests": ratio(safety_usd * 1e3, num_completed),
            "mean_added_ttft_ms": ratio(added_s * _MS, num_completed),
            "mean_verdict_ms": ratio(verdict_s * _MS, num_completed),
            **_errors(collector),
        }
    }


def _flops(
    timeline: NDArray[np.void], collector: Collector, gpu_s: NDArray[np.float64], pools: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the arithmetic of each account [FLOP]: 2 x active parameters x tokens that its pool computed.

    What a pool computed for several features is divided as its GPU time.
    """
    tokens = np.zeros(len(collector.groups.pools))
    np.add.at(tokens, timeline["pool"], timeline["prompt_tokens"] - timeline["cached_tokens"])
    np.add.at(tokens, timeline["pool"], timeline["output_tokens"])
    active = np.array([float(pool.num_active_parameters) for pool in collector.groups.pools])
    in_pool_s = np.bincount(pools, weights=gpu_s, minlength=len(tokens))[pools]
    frac = np.divide(gpu_s, in_pool_s, out=np.zeros_like(gpu_s), where=in_pool_s > 0.0)
    found: NDArray[np.float64] = 2.0 * (active * tokens)[pools] * frac
    return found


def _errors(collector: Collector) -> dict[str, Any]:
    """Return how wrong classifiers were; nothing where records do not tell."""
    if not collector.groups.has_flags:
        return {}
    told = counts(collector, np.ones(len(collector.flagged), dtype=np.bool_))
    names = ("num_false_refusals", "false_refusal_frac", "num_unsafe_passed", "unsafe_caught_frac")
    return {name: told[name] for name in names}
