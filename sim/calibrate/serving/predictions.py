"""What a benchmark client would have read off a played point: every metric by the name it has in the tables."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.scenarios import Plan
from sim.calibrate.serving.setup import Setup
from sim.cost import Profile
from sim.errors import SpecError
from sim.fleet.run import Records
from sim.metrics import histogram
from sim.metrics.records import COMPLETED

FULL_FRAC = 0.95
"""Share of the KV cache that users may fill before the point counts as saturated."""
MANY_USERS = 256
"""So many users, or requests at once, count as saturated."""


def one_step(setup: Setup, profile: Profile) -> dict[str, float]:
    """A decode step of a batch at its mean context."""
    batch = max(1, round(setup.load))
    step_s = profile.step_times.step_s(batch, batch, batch * setup.isl, batch)
    rate = batch / step_s
    return {
        "itl_mean": 1e3 * step_s,
        "tpot_mean": 1e3 * step_s,
        "itl_p50": 1e3 * step_s,
        "output_throughput": rate,
        "output_throughput_per_gpu": rate / profile.num_gpus,
    }


def fills_cache(setup: Setup, profile: Profile) -> bool:
    """Return whether the users of a closed loop fill so much of the KV cache that they queue for it."""
    room = (profile.num_gpu_blocks - 1) * profile.block_size
    return setup.load * (setup.isl + setup.osl) >= FULL_FRAC * room


def is_saturated(setup: Setup, profile: Profile, records: Records) -> bool:
    """Return whether latencies say how long a point ran: a queue that grows, or a cache that its users fill."""
    if setup.kind == "open_loop":
        begins_s = np.unique(records.timeline["t_s"])
        second = records.timeline["t_s"] == begins_s[min(1, len(begins_s) - 1)]
        return bool(records.timeline["saturated"][second].any())
    if setup.kind in ("closed_loop", "all_at_once"):
        return setup.load >= MANY_USERS or fills_cache(setup, profile)
    return setup.kind in ("saturated", "offline")


def metrics(setup: Setup, profile: Profile, plan: Plan, records: Records) -> dict[str, float]:
    """Every metric that the measured requests define."""
    rows = measured_rows(plan, records)
    ttft_ms = 1e3 * (rows["first_token_s"] - rows["arrived_s"])
    tokens = rows["output_tokens"].astype(np.float64)
    several = tokens > 1
    tpot_ms = 1e3 * (rows["end_s"] - rows["first_token_s"])[several] / (tokens[several] - 1.0)
    e2e_ms = 1e3 * (rows["end_s"] - rows["arrived_s"])
    found = _statistics("ttft", ttft_ms) | _statistics("e2e", e2e_ms)
    if len(tpot_ms):
        found |= _statistics("tpot", tpot_ms) | _statistics("itl", tpot_ms)
        found |= _gap_percentiles(setup, records)
    found |= _rates(setup, plan, records, rows)
    found |= _machine(setup, profile, records, found)
    return found


def measured_rows(plan: Plan, records: Records) -> NDArray[np.void]:
    """Return the requests that the source measured (dtype DONE); raises SpecError where there is none."""
    rows = records.rows[plan.counts(records.rows)]
    if len(rows) == 0:
        raise SpecError("no request of the load could be served")
    return np.asarray(rows)


def _statistics(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean and percentiles, in the words of the tables."""
    levels = np.percentile(values, [50, 90, 95, 99])
    named = zip(("p50", "p90", "p95", "p99"), levels, strict=True)
    return {f"{name}_mean": float(values.mean())} | {f"{name}_{level}": float(value) for level, value in named}


def _gap_percentiles(setup: Setup, records: Records) -> dict[str, float]:
    """Percentiles of all gaps between tokens; genai-perf's are of the requests' means, which `itl` holds already."""
    if setup.bed == "nim":
        return {}
    counts = records.gaps.reshape(-1, histogram.NUM_BINS).sum(axis=0)
    if counts.sum() == 0:
        return {}
    levels = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
    return {f"itl_{name}": 1e3 * histogram.quantile(counts, level) for name, level in levels.items()}


def _rates(setup: Setup, plan: Plan, records: Records, rows: NDArray[np.void]) -> dict[str, float]:
    """Requests and tokens per second of the whole system."""
    isl, osl = float(rows["prompt_tokens"].mean()), float(rows["output_tokens"].mean())
    if plan.steady:
        interval = records.timeline[records.timeline["t_s"] >= 0.0]
        out = float(interval["output_tokens"].sum() / interval["width_s"].sum()) * setup.num_replicas
        per_s = out / osl
    elif setup.kind == "closed_loop":
        per_s = setup.load / float((rows["end_s"] - rows["arrived_s"]).mean())
    else:
        whole = records.rows[records.rows["ending"] == COMPLETED]
        duration_s = float(whole["end_s"].max() - whole["arrived_s"].min())
        per_s = len(whole) / duration_s
    return {
        "request_throughput": per_s,
        "output_throughput": per_s * osl,
        "total_throughput": per_s * (isl + osl),
    }


def _machine(setup: Setup, profile: Profile, records: Records, found: Mapping[str, float]) -> dict[str, float]:
    """What is told per GPU: rates, power, energy, memory."""
    gpus, num_gpus = profile.num_gpus * (setup.num_replicas + setup.num_prefill_replicas), profile.num_gpus
    interval = records.timeline[records.timeline["t_s"] >= 0.0]
    watts = float(interval["energy_j"].sum() / interval["width_s"].sum())
    seconds = found["ttft_mean"] / 1e3
    live = setup.load * (setup.isl + setup.osl) * profile.kv_bytes_per_token / num_gpus
    spent = profile.weights_bytes_per_gpu + profile.activation_bytes_per_gpu + profile.reserve_bytes_per_gpu
    told = {
        "output_throughput_per_gpu": found["output_throughput"] / gpus,
        "prefill_throughput_per_gpu": setup.isl * (setup.load if setup.kind == "static" else 1.0) / seconds / num_gpus,
        "ttft_batch": found["ttft_mean"],
        "avg_power_all_gpus": watts,
        "energy_per_output_token": watts / (found["output_throughput"] / setup.num_replicas),
        "peak_power_all_gpus": float(profile.step_times.power_w.max()),
        "gpu_peak_memory": (spent + live) / 1e9,
    }
    if "tpot_mean" in found:
        told["achieved_weight_bandwidth_per_gpu"] = profile.weights_bytes_per_gpu / 1e6 / found["tpot_mean"]
    return {name: value for name, value in told.items() if math.isfinite(value)}
