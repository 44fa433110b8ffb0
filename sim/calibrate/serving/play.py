"""Playing a point: what the simulator says to each of its metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim import catalog, cost
from sim.calibrate.serving.rows import Point
from sim.calibrate.serving.scenarios import Plan, plan_of, pool_of
from sim.calibrate.serving.setup import NotCoveredError, Setup, make_setup
from sim.cost import Profile
from sim.cost.kernels import Kernels
from sim.errors import CapacityError, SpecError
from sim.fleet.build import Pools, build
from sim.fleet.run import Records, play_records
from sim.metrics import histogram
from sim.metrics.records import COMPLETED
from sim.plane.owner import Table
from sim.spec import Scenario
from sim.spec.bed import Setting
from sim.spec.engine import EngineSpec
from sim.spec.hardware import Sourced

FULL_FRAC = 0.95
"""Share of the KV cache that the users of a closed loop may fill before the point counts as saturated."""
MANY_USERS = 256
"""A closed loop of so many users counts as saturated."""


@dataclass(frozen=True)
class Outcome:
    """What was predicted of a point."""

    predicted: dict[str, float] = field(default_factory=dict)
    """Value by metric, times in ms; empty where the point is not covered."""
    covered: bool = False
    reason: str = ""
    """Why it is not covered; or what stands in for what."""
    saturated: bool = False
    bed: str = ""
    engine: str = ""
    """Name of the calibration's entry."""
    held_out: dict[str, float] = field(default_factory=dict)
    """Value by metric under coefficients that were fitted without the point's curve, where the engine has them."""


def play(
    point: Point,
    engine: EngineSpec | None = None,
    kernels: Kernels | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> Outcome:
    """Predict a point.

    Parameters
    ----------
    point
        What was measured.
    engine, kernels
        Calibrations in place of the catalogue's.
    settings
        Settings of the engine in place of the bed's.
    """
    try:
        setup = make_setup(point, settings)
    except NotCoveredError as error:
        bed = ""
        return Outcome(reason=str(error), bed=bed)
    return play_setup(setup, engine, kernels)


def play_setup(setup: Setup, engine: EngineSpec | None = None, kernels: Kernels | None = None) -> Outcome:
    """Predict a point by its setup."""
    try:
        profile = compile_setup(setup, engine, kernels)
        predicted, saturated = predict(setup, profile)
    except CapacityError:
        return Outcome(reason="the simulator finds no room in memory for it", bed=setup.bed)
    except SpecError as error:
        return Outcome(reason=str(error.problems[0].message), bed=setup.bed)
    return Outcome(predicted, True, setup.note, saturated, setup.bed, f"{setup.pool.engine}-{setup.gpu}")


def scenario_of(point: Point) -> Scenario:
    """Return the scenario that a point is played as; raises NotCoveredError, SpecError."""
    setup = make_setup(point)
    return plan_of(setup, compile_setup(setup)).scenario


def compile_setup(setup: Setup, engine: EngineSpec | None = None, kernels: Kernels | None = None) -> Profile:
    """Return the profile of a replica; raises as `sim.cost.compile` does."""
    pool = pool_of(setup)
    model = catalog.load_model(str(pool.model))
    # What was measured did run: a longer text than the model was trained on is no mistake here.
    longest = max(model.max_position_embeddings, 1 << 18)
    model = model.model_copy(update={"max_position_embeddings": longest})
    return cost.compile_pool(pool, model, catalog.load_gpu(setup.gpu), engine, kernels)


def predict(setup: Setup, profile: Profile) -> tuple[dict[str, float], bool]:
    """Return the metrics of a setup on a profile, and whether the fleet is saturated."""
    if setup.kind == "decode_step":
        return one_step(setup, profile), False
    plan = plan_of(setup, profile)
    records = records_of(setup, profile, plan)
    return metrics(setup, profile, plan, records), _is_saturated(setup, profile, records)


def records_of(setup: Setup, profile: Profile, plan: Plan, log: Callable[[Table], None] | None = None) -> Records:
    """Return what a plan leaves when it is played; `log` takes its log of steps, where it is wanted."""
    price = Sourced(1.0, "not asked for", "assumed")
    pools = Pools({"main": profile}, {"main": catalog.load_gpu(setup.gpu)}, {"main": price})
    return play_records(build(plan.scenario, pools), log)


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


def _is_saturated(setup: Setup, profile: Profile, records: Records) -> bool:
    if setup.kind == "open_loop":
        return bool(records.timeline["saturated"].any())
    if setup.kind == "closed_loop":
        room = (profile.num_gpu_blocks - 1) * profile.block_size
        return setup.load >= MANY_USERS or setup.load * (setup.isl + setup.osl) >= FULL_FRAC * room
    return setup.kind in ("all_at_once", "saturated", "offline")


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
    """Return the requests that the source measured; raises SpecError where there is none."""
    rows: NDArray[np.void] = records.rows[records.rows["ending"] == COMPLETED]
    if plan.warm_requests:
        rows = rows[rows["user"] >= plan.warm_requests]
    rows = rows[(rows["turn"] >= plan.first_turn) & (rows["turn"] < plan.end_turn)]
    if plan.steady:
        rows = rows[(rows["end_s"] >= 0.0) & (rows["arrived_s"] >= -plan.scenario.run_in_s)]
    if len(rows) == 0:
        raise SpecError("no request of the load could be served")
    return rows


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
    gpus, num_gpus = profile.num_gpus * setup.num_replicas, profile.num_gpus
    interval = records.timeline[records.timeline["t_s"] >= 0.0]
    watts = float(interval["energy_j"].sum() / interval["width_s"].sum())
    tdp_w = float(catalog.load_gpu(setup.gpu).tdp_w) * num_gpus
    seconds = found["ttft_mean"] / 1e3
    live = setup.load * (setup.isl + setup.osl) * profile.kv_bytes_per_token / num_gpus
    spent = profile.weights_bytes_per_gpu + profile.activation_bytes_per_gpu + profile.reserve_bytes_per_gpu
    told = {
        "output_throughput_per_gpu": found["output_throughput"] / gpus,
        "prefill_throughput_per_gpu": setup.isl * (setup.load if setup.kind == "static" else 1.0) / seconds / num_gpus,
        "ttft_batch": found["ttft_mean"],
        "avg_power_all_gpus": watts,
        "energy_per_output_token": watts / (found["output_throughput"] / setup.num_replicas),
        "avg_power_frac_tdp": watts / tdp_w,
        "peak_power_frac_tdp": float(profile.step_times.power_w.max()) / tdp_w,
        "gpu_peak_memory": (spent + live) / 1e9,
    }
    if "tpot_mean" in found:
        told["achieved_weight_bandwidth_per_gpu"] = profile.weights_bytes_per_gpu / 1e6 / found["tpot_mean"]
    return {name: value for name, value in told.items() if math.isfinite(value)}
