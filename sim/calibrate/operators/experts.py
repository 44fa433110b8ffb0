"""Experts: the fit of routed experts, for shapes in general and for those that were timed themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.operators.forms import Chosen, fit_form
from sim.calibrate.operators.grid import fit_residual
from sim.calibrate.operators.monotone import curve_numbers, monotone_along
from sim.calibrate.operators.products import SOURCE, ceiling_frac
from sim.calibrate.operators.scores import Score, error_of
from sim.cost.moe import expert_form_s, residual_coordinates
from sim.cost.residual import Residual
from sim.cost.step_times import Floats
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import ExpertFit

if TYPE_CHECKING:
    import pandas as pd

DISTRIBUTIONS: Final = ("balanced", "power_law_1.01", "power_law_1.2")
DEFAULT: Final = "power_law_1.01"
"""Routing that the simulator takes: the milder of the two skewed ones that were timed. Routers are trained towards
balance but do not reach it: a layer's busiest expert commonly gets several times its share, and small batches visit
fewer experts than even routing would, which `balanced` (as many as can be) misses most."""
BYTES: Final[dict[str, tuple[str, float]]] = {
    "bf16": ("bfloat16", 2.0),
    "fp8": ("fp8", 1.0),
    "fp8_block": ("fp8_block", 1.0),
    "int4": ("int4_wo", 0.53),
    "mxfp4": ("w4a16_mxfp4", 0.53125),  # 4 bits and one 8-bit scale for 32 values: OCP Microscaling Formats 1.0
}
BOUNDS: Final = {
    "launch_s": (1e-6, 5e-4),
    "expert_s": (1e-12, 2e-6),
    "compute_frac": (0.02, 1.0),
    "bandwidth_frac": (0.05, 1.0),
    "permute_passes": (0.5, 60.0),
}
AXES: Final = (np.arange(-9.0, 12.1), np.arange(17.0, 28.1, 1.0), np.arange(0.0, 9.1))
"""Nodes in log2 of tokens an expert, weights an expert on a GPU, experts on a GPU."""
SMOOTHNESS: Final = (0.1, 2.0, 2.0)
SPLITS: Final = (np.arange(0.0, 4.0), np.arange(0.0, 7.0))
"""Nodes in log2 of tensor- and expert-parallel size for shapes that were timed themselves: 8 and 64 at most."""
SHAPE_SMOOTHNESS: Final = (0.01, 0.05, 0.05)
SHAPE: Final = ("hidden_size", "inter_size", "topk", "num_experts")
KEYS: Final = ("num_tokens", *SHAPE, "moe_tp_size", "moe_ep_size")


@dataclass(frozen=True)
class ExpertResult:
    """Fit, tables and scores of the experts of one precision."""

    fit: ExpertFit
    residual: Residual
    by_shape: Residual
    """First axis: index into `shapes`."""
    shapes: NDArray[np.float64]
    """Hidden size, expert width, experts a token visits, experts; one row each."""
    scores: tuple[Score, ...]


@dataclass(frozen=True)
class _Rows:
    """Timings as arrays."""

    tokens: Floats
    hidden: Floats
    width: Floats
    per_token: Floats
    experts: Floats
    tp: Floats
    ep: Floats
    time_s: Floats

    @property
    def size(self) -> Floats:
        """Weights of one expert on a GPU, gate, up and down."""
        return 3.0 * self.hidden * self.width / self.tp

    def form_s(self, fit: ExpertFit, gpu: GpuSpec, chosen: Chosen) -> Floats:
        shape = (self.hidden[chosen], self.per_token[chosen], self.experts[chosen])
        return expert_form_s(self.tokens[chosen], shape, self.size[chosen], self.ep[chosen], fit, gpu)

    def coordinates(self, chosen: Chosen) -> list[Floats]:
        found = residual_coordinates(self.tokens, self.per_token, self.experts, self.size, self.ep)
        return [np.asarray(at)[chosen] for at in found]


def fit_experts(rows: pd.DataFrame, gpu: GpuSpec, precision: str, names: tuple[str, str]) -> ExpertResult | None:
    """Fit the routed experts of one precision under the default routing; score them under all.

    Where a shape was timed with two kernels, that with more rows counts.
    """
    dtype, weight_bytes = BYTES[precision]
    rows = rows[rows["moe_dtype"] == dtype]
    distribution = DEFAULT if (rows["distribution"] == DEFAULT).any() else DISTRIBUTIONS[0]
    if rows.empty:
        return None
    common = rows["kernel"].value_counts()
    rows = rows.assign(common=-rows["kernel"].map(common))
    rows = rows.sort_values(["common", "time_s"]).drop_duplicates([*KEYS, "distribution"])
    peak: Literal["bf16", "fp8"] = "fp8" if precision.startswith("fp8") and gpu.fp8_flops_per_s else "bf16"
    start = ExpertFit(
        weight_bytes=weight_bytes,
        peak=peak,
        launch_s=4e-5,
        expert_s=1e-8,
        compute_frac=0.4,
        bandwidth_frac=0.8,
        sharpness=2.0,
        permute_passes=5.0,
        ceiling_frac=ceiling_frac(peak, gpu),
        range=f"{rows.groupby(list(SHAPE)).ngroups} shapes, {int(rows['num_tokens'].max())} tokens, tensor-parallel "
        f"size up to {int(rows['moe_tp_size'].max())}, expert-parallel size up to {int(rows['moe_ep_size'].max())}",
        source=f"{SOURCE}, {names[0]} {names[1]}, routing {distribution}",
    )
    scores = []
    result = None
    for one in DISTRIBUTIONS:
        part = rows[rows["distribution"] == one]
        if part.empty:
            continue
        fit, residual, by_shape, shapes, score = _fit_one(part, start, gpu, precision, (*names, one))
        scores.append(score)
        if one == distribution:
            fit = fit.model_copy(update={"error": score.fitted, "held_out": score.held_out, "monotone": score.monotone})
            result = fit, residual, by_shape, shapes
    if result is None:
        return None
    return ExpertResult(*result, tuple(scores))


def _fit_one(
    frame: pd.DataFrame, start: ExpertFit, gpu: GpuSpec, precision: str, names: tuple[str, str, str]
) -> tuple[ExpertFit, Residual, Residual, NDArray[np.float64], Score]:
    """Fit and score under one routing; each shape is held out in turn."""
    rows = _Rows(*(frame[name].to_numpy(dtype=np.float64) for name in (*KEYS, "time_s")))
    shapes = curve_numbers(rows.hidden, rows.width, rows.per_token, rows.experts)
    smooth_s = monotone_along(rows.tokens, curve_numbers(shapes, rows.tp, rows.ep), rows.time_s)

    def general(chosen: Chosen) -> tuple[ExpertFit, Residual]:
        index = np.flatnonzero(chosen)
        fit = fit_form(start, BOUNDS, lambda f, i: rows.form_s(f, gpu, index[i]), smooth_s[index])
        ratio = np.log(smooth_s[index] / rows.form_s(fit, gpu, index))
        return fit, fit_residual(AXES, rows.coordinates(index), ratio, SMOOTHNESS)

    fit, residual = general(np.ones(len(shapes), dtype=bool))
    predicted_s = rows.form_s(fit, gpu, np.arange(len(shapes)))
    distinct = np.unique(shapes)
    if len(distinct) > 1:
        for shape in distinct:
            held = shapes == shape
            without, without_table = general(~held)
            predicted_s[held] = rows.form_s(without, gpu, held) * without_table.factor(*rows.coordinates(held))
    tables, keys = [], []
    fitted_s = np.zeros_like(predicted_s)
    token_nodes = np.log2(np.unique(rows.tokens))
    for shape in distinct:
        index = np.flatnonzero(shapes == shape)
        form_s = rows.form_s(fit, gpu, index)
        at = [np.log2(rows.tokens[index]), np.log2(rows.tp[index]), np.log2(rows.ep[index])]
        own = (at[1] <= SPLITS[0][-1]) & (at[2] <= SPLITS[1][-1])
        ratio = np.log(smooth_s[index] / form_s)
        table = fit_residual((token_nodes, *SPLITS), [x[own] for x in at], ratio[own], SHAPE_SMOOTHNESS)
        fitted_s[index] = form_s * table.factor(*at)
        tables.append(table.values)
        first = index[0]
        keys.append([rows.hidden[first], rows.width[first], rows.per_token[first], rows.experts[first]])
    own_rows = (rows.tp <= 8) & (rows.ep <= 64)
    by_shape = Residual((np.arange(float(len(keys))), token_nodes, *SPLITS), np.stack(tables))
    alone = "" if len(distinct) > 1 else "; one shape alone, so the form without a table"
    score = Score(
        gpu=gpu.name,
        family=names[0],
        version=names[1],
        operator=f"experts, {names[2]}",
        precision=precision,
        held_out=error_of(predicted_s, rows.time_s, f"each of {len(distinct)} shapes in turn{alone}"),
        fitted=error_of(fitted_s[own_rows], rows.time_s[own_rows], "by the table of the shape itself"),
        monotone=error_of(smooth_s, rows.time_s),
    )
    return fit, residual, by_shape, np.array(keys), score
