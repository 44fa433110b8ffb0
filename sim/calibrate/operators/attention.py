"""Attention: the fits of decode and prefill attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.operators.forms import Chosen, fit_form
from sim.calibrate.operators.grid import fit_residual, log2_nodes
from sim.calibrate.operators.monotone import curve_numbers, monotone_along
from sim.calibrate.operators.products import SOURCE
from sim.calibrate.operators.reading import medians
from sim.calibrate.operators.scores import Score, error_of, held_out_curves
from sim.cost.attention import batch_start_s, decode_form_s, prefill_form_s
from sim.cost.residual import Residual
from sim.cost.step_times import Floats
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import DecodeAttentionFit, PrefillAttentionFit

if TYPE_CHECKING:
    import pandas as pd

VALUE_BYTES: Final = {"bf16": 2.0, "fp8": 1.0}
DTYPES: Final = {"bf16": "bfloat16", "fp8": "fp8"}
GROUPS: Final = np.arange(7.0)
"""Nodes in log2 of query heads a key-value head: 1 to 64."""
SMOOTHNESS: Final = (0.1, 0.1, 0.2, 0.1)
"""For work, context or length, group, width of a head: what a layout that was not timed takes from its neighbours."""
USUAL_GROUP: Final = 16
"""Query heads a key-value head in the models of the catalogue, at most; beyond, other kernels take over."""
READ_CEILINGS: Final = {80: 0.85, 90: 0.95}
"""Largest share of the bandwidth at which vLLM's table has a cache read that is larger than the L2, by architecture.
TensorRT-LLM 1.0's on A100 has up to 1.69 of it (blocks that its benchmark shares, it seems): such rows are left out."""
NODES_FROM: Final = 127
"""Contexts shorter than this have two nodes in all: their times hardly differ."""
DECODE_BOUNDS: Final = {
    "start_s": (1e-6, 1e-4),
    "batch_start_s": (1e-9, 2e-5),
    "sequence_s": (1e-10, 1e-6),
    "bandwidth_frac": (0.05, 0.95),
}
PREFILL_BOUNDS: Final = {"start_s": (1e-6, 1e-4), "compute_frac": (0.05, 1.0), "bandwidth_frac": (0.02, 1.0)}


@dataclass(frozen=True)
class DecodeResult:
    """Fit, table and score of decode attention on a cache of one precision."""

    fit: DecodeAttentionFit
    residual: Residual
    score: Score | None


@dataclass(frozen=True)
class PrefillResult:
    """Fit, table and score of prefill attention on a cache of one precision."""

    fit: PrefillAttentionFit
    residual: Residual
    score: Score | None


def main_rows(rows: pd.DataFrame, precision: str) -> pd.DataFrame:
    """Rows of one precision of the cache, of the framework's main kernel, with full attention.

    The main kernel is that with the most rows: others serve heads of 512, which no model of the catalogue has. Where
    the same cache was timed with products in fp8 and in bf16, fp8 cache goes with fp8 products.
    """
    rows = rows[(rows["kv_cache_dtype"] == DTYPES[precision]) & (rows["window_size"] == 0)]
    if rows.empty:
        return rows
    finest = "fp8" if precision == "fp8" and (rows["attn_dtype"] == "fp8").any() else "bfloat16"
    rows = rows[rows["attn_dtype"] == finest]
    main = str(rows["kernel"].value_counts().index[0])
    return rows.loc[rows["kernel"] == main]


def fit_decode(rows: pd.DataFrame, gpu: GpuSpec, precision: str, names: tuple[str, str]) -> DecodeResult | None:
    """Fit decode attention; None where there are no rows. Context is isl + step - 1 tokens."""
    rows = main_rows(rows, precision)
    if rows.empty:
        return None
    rows = rows.assign(context=rows["isl"] + rows["step"] - 1)
    keys = ["batch_size", "num_heads", "num_key_value_heads", "head_dim", "context"]
    rows = medians(rows, keys)
    b, query, kv, width, context, time_s = (rows[name].to_numpy(dtype=np.float64) for name in (*keys, "time_s"))
    ceiling_frac, value_bytes = READ_CEILINGS[int(gpu.sm_version)], VALUE_BYTES[precision]
    read_bytes = b * context * 2.0 * kv * width * value_bytes
    slowest_s = read_bytes / (gpu.memory_bandwidth_bytes_per_s * ceiling_frac)
    sound = (time_s >= slowest_s) | (read_bytes <= gpu.l2_bytes)
    b, query, kv, width, context, time_s, read_bytes = (
        column[sound] for column in (b, query, kv, width, context, time_s, read_bytes)
    )
    smooth_s = monotone_along(context, curve_numbers(b, query, kv, width), time_s)
    smooth_s = monotone_along(b, curve_numbers(context, query, kv, width), smooth_s)
    coordinates = [np.log2(b * kv), np.log2(context), np.log2(query / kv), np.log2(width)]
    axes = [np.arange(np.ceil(coordinates[0].max()) + 1.0), _length_nodes(context), GROUPS, log2_nodes(width)]
    start = DecodeAttentionFit(
        value_bytes=value_bytes,
        start_s=1e-5,
        batch_start_s=1e-7,
        sequence_s=2e-8,
        bandwidth_frac=0.8,
        ceiling_frac=ceiling_frac,
        range=f"{int(b.max())} sequences, {int(context.max())} tokens, heads of {_sizes(width)}, "
        f"{_sizes(query / kv)} query heads to a key-value head",
        source=f"{SOURCE}, {names[0]} {names[1]}",
    )
    layouts = curve_numbers(query, kv)
    held = held_out_curves(layouts)
    everything = np.ones(len(b), dtype=bool)

    def fit_to(chosen: Chosen) -> tuple[DecodeAttentionFit, Residual]:
        n, h, read, t = b[chosen], kv[chosen], read_bytes[chosen], smooth_s[chosen]

        def whole_s(f: DecodeAttentionFit, i: Chosen) -> Floats:
            return decode_form_s(n[i], h[i], read[i], 0.0, f, gpu) + batch_start_s(n[i], h[i], f)

        fit = fit_form(start, DECODE_BOUNDS, whole_s, t)
        further_s = np.minimum(batch_start_s(n, h, fit), t / 2.0)
        ratio = np.log((t - further_s) / decode_form_s(n, h, read, 0.0, fit, gpu))
        table = fit_residual(axes, [at[chosen] for at in coordinates], ratio, SMOOTHNESS)
        work, tokens, _, dims = (2.0**at for at in np.meshgrid(*axes, indexing="ij"))
        form_s = decode_form_s(work, 1.0, work * tokens * 2.0 * dims * value_bytes, 0.0, fit, gpu)
        return fit, _rising(table, form_s)

    def predict(fit: DecodeAttentionFit, residual: Residual, chosen: Chosen) -> Floats:
        form_s = decode_form_s(b[chosen], kv[chosen], read_bytes[chosen], 0.0, fit, gpu)
        further_s = batch_start_s(b[chosen], kv[chosen], fit)
        return form_s * residual.factor(*(at[chosen] for at in coordinates)) + further_s

    without, without_table = fit_to(~held)
    fit, residual = fit_to(everything)
    predicted_s = predict(without, without_table, held)
    floor_s = read_bytes[held] / (gpu.memory_bandwidth_bytes_per_s * ceiling_frac)
    score = Score(
        gpu=gpu.name,
        family=names[0],
        version=names[1],
        operator="decode attention",
        precision=precision,
        held_out=error_of(predicted_s, time_s[held], f"{_count(layouts[held])} of {_count(layouts)} head layouts"),
        note=_usual_note(predicted_s, time_s[held], (query / kv)[held]) + _left_out_note(sound),
        fitted=error_of(predict(fit, residual, everything), time_s),
        capped=error_of(np.maximum(predicted_s, floor_s), time_s[held]),
        monotone=error_of(smooth_s, time_s),
    )
    fit = fit.model_copy(update={"error": score.fitted, "held_out": score.held_out, "monotone": score.monotone})
    return DecodeResult(fit, residual, score)


def fit_prefill(rows: pd.DataFrame, gpu: GpuSpec, precision: str, names: tuple[str, str]) -> PrefillResult | None:
    """Fit attention over whole prompts; None where there are no rows."""
    rows = main_rows(rows, precision)
    rows = rows[rows["step"] == 0]
    if rows.empty:
        return None
    peak: Literal["bf16", "fp8"] = "fp8" if (rows["attn_dtype"] == "fp8").all() else "bf16"
    keys = ["batch_size", "num_heads", "num_key_value_heads", "head_dim", "isl"]
    rows = medians(rows, keys)
    b, query, kv, width, tokens, time_s = (rows[name].to_numpy(dtype=np.float64) for name in (*keys, "time_s"))
    smooth_s = monotone_along(tokens, curve_numbers(b, query, kv, width), time_s)
    smooth_s = monotone_along(b, curve_numbers(tokens, query, kv, width), smooth_s)
    coordinates = [np.log2(b * query), np.log2(tokens), np.log2(query / kv), np.log2(width)]
    axes = [np.arange(np.ceil(coordinates[0].max()) + 1.0), log2_nodes(tokens), GROUPS, log2_nodes(width)]
    start = PrefillAttentionFit(
        peak=peak,
        start_s=1e-5,
        compute_frac=0.5,
        bandwidth_frac=0.3,
        range=f"{int(b.max())} prompts of {int(tokens.min())} to {int(tokens.max())} tokens, heads of {_sizes(width)}, "
        f"{_sizes(query / kv)} query heads to a key-value head",
        source=f"{SOURCE}, {names[0]} {names[1]}",
    )
    layouts = curve_numbers(query, kv)
    held = held_out_curves(layouts)
    everything = np.ones(len(b), dtype=bool)

    def form_s(fit: PrefillAttentionFit, chosen: Chosen) -> Floats:
        return prefill_form_s(b[chosen], tokens[chosen], (query[chosen], kv[chosen], width[chosen]), fit, gpu)

    def fit_to(chosen: Chosen) -> tuple[PrefillAttentionFit, Residual]:
        index = np.flatnonzero(chosen)
        fit = fit_form(start, PREFILL_BOUNDS, lambda f, i: form_s(f, index[i]), smooth_s[index])
        ratio = np.log(smooth_s[index] / form_s(fit, index))
        return fit, fit_residual(axes, [at[index] for at in coordinates], ratio, SMOOTHNESS)

    def predict(fit: PrefillAttentionFit, residual: Residual, chosen: Chosen) -> Floats:
        return form_s(fit, chosen) * residual.factor(*(at[chosen] for at in coordinates))

    without, without_table = fit_to(~held)
    fit, residual = fit_to(everything)
    score = Score(
        gpu=gpu.name,
        family=names[0],
        version=names[1],
        operator="prefill attention",
        precision=precision,
        held_out=error_of(
            predict(without, without_table, held), time_s[held], f"{_count(layouts[held])} of {_count(layouts)} layouts"
        ),
        fitted=error_of(predict(fit, residual, everything), time_s),
        monotone=error_of(smooth_s, time_s),
    )
    fit = fit.model_copy(update={"error": score.fitted, "held_out": score.held_out, "monotone": score.monotone})
    return PrefillResult(fit, residual, score)


def _rising(table: Residual, form_s: Floats) -> Residual:
    """Return a table with which form x e^table falls neither along work nor along length, from node to node.

    What smoothness filled in, and rows of other layouts with the same work, may fall; each fall is shared by the nodes
    on either side of it, half up from below and half down from above.
    """
    logs = np.log(form_s) + table.values  # noqa: PD011  (no pandas)
    for axis in (0, 1):
        up = np.maximum.accumulate(logs, axis=axis)
        down = np.flip(np.minimum.accumulate(np.flip(logs, axis), axis=axis), axis)
        logs = (up + down) / 2.0
    return Residual(table.axes, logs - np.log(form_s))


def _length_nodes(lengths: Floats) -> Floats:
    """Return nodes in log2 of contexts: the shortest, a quarter of `NODES_FROM`, and all above."""
    return log2_nodes(np.concatenate([[lengths.min(), NODES_FROM // 4], lengths[lengths >= NODES_FROM]]))


def _left_out_note(sound: NDArray[np.bool_]) -> str:
    """Return how many rows were left out because the memory cannot be read so fast, as text."""
    left_out = int(np.sum(~sound))
    return f"; {left_out} of {len(sound)} rows read faster than the memory can and were left out" if left_out else ""


def _usual_note(predicted_s: Floats, measured_s: Floats, group: Floats) -> str:
    """Return the error of layouts with at most `USUAL_GROUP` query heads a key-value head, as text."""
    usual = group <= USUAL_GROUP
    error = error_of(predicted_s[usual], measured_s[usual])
    return f"up to {USUAL_GROUP} query heads a key-value head: {error.median_frac:.1%} / {error.p90_frac:.1%}"


def _sizes(values: Floats) -> str:
    """Return the smallest and largest of values as text."""
    low, high = values.min(), values.max()
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _count(curves: Chosen) -> int:
    """Return the number of distinct values."""
    return len(np.unique(curves))
