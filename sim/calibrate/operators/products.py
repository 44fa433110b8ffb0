"""Products: the fit of matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from sim.calibrate.operators.forms import Chosen, fit_form
from sim.calibrate.operators.grid import fit_residual, log2_nodes
from sim.calibrate.operators.monotone import curve_numbers, monotone_along
from sim.calibrate.operators.reading import medians
from sim.calibrate.operators.scores import Score, error_of, held_out_curves
from sim.cost.gemm import gemm_floor_s, gemm_form_s
from sim.cost.residual import Residual
from sim.cost.step_times import Floats
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import GemmFit

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Precision:
    """A precision of the weights: its name in the tables, its bytes, and what multiplies."""

    dtype: str
    weight_bytes: float
    activation_bytes: float
    peak: Literal["bf16", "fp8"]


PRECISIONS: Final = {
    "bf16": Precision("bfloat16", 2, 2, "bf16"),
    "fp8": Precision("fp8", 1, 1, "fp8"),
    "fp8_block": Precision("fp8_block", 1, 1, "fp8"),
    "int8": Precision("int8_wo", 1, 2, "bf16"),
    # 4 bits, and for each group of 128 a 16-bit scale and a 4-bit zero: 4.16 bits; rounded up
    "int4": Precision("int4_wo", 0.53, 2, "bf16"),
}
CEILINGS: Final = {
    # Largest throughput measured on ordinary data (MAMF) over the peak, github:stas00/ml-engineering@744d01e:
    # compute/accelerator/README.md: 794.5 of 989 and 1402.6 of 1979 TFLOP/s (H100), 271.2 of 312 (A100); H200 as H100.
    ("bf16", 90): 0.8033,
    ("fp8", 90): 0.7087,
    ("bf16", 80): 0.8692,
}
ROWS: Final = tuple(
    int(rows)
    for rows in [
        "1",
        "2",
        "4",
        "8",
        "16",
        "17",
        "32",
        "33",
        "48",
        "49",
        "64",
        "65",
        "80",
        "81",
        "96",
        "97",
        "112",
        "113",
        "128",
        "129",
        "160",
        "161",
        "192",
        "193",
        "224",
        "225",
        "256",
        "257",
        "384",
        "512",
        "513",
        "768",
        "769",
        "1024",
        "1025",
        "1280",
        "1281",
        "1536",
        "1537",
        "2048",
        "2049",
        "2560",
        "3072",
        "3073",
        "4096",
        "4097",
        "8192",
        "16384",
        "32768",
    ]
)
"""Numbers of rows that the tables keep: the neighbours at which another kernel takes over, and fewer far from them."""
BOUNDS: Final = {
    "launch_s": (0.5e-6, 2e-4),
    "compute_frac": (0.05, 1.0),
    "bandwidth_frac": (0.02, 1.0),
    "sharpness": (1.0, 6.0),
    "depth_s": (1e-13, 1e-8),
}
SMOOTHNESS: Final = (0.0, 0.01, 0.02)
"""For rows, width, depth: what a shape that was not timed takes from its neighbours, most from other depths."""
SOURCE: Final = "operator timings of aiconfigurator-core (Apache-2.0)"


@dataclass(frozen=True)
class GemmResult:
    """Fit, table and score of one precision."""

    fit: GemmFit
    residual: Residual
    score: Score | None


def ceiling_frac(peak: str, gpu: GpuSpec) -> float:
    """Largest share of the peak that was ever measured with ordinary data [1]."""
    return CEILINGS[peak, int(gpu.sm_version)]


def fit_gemm(rows: pd.DataFrame, gpu: GpuSpec, precision: str, names: tuple[str, str]) -> GemmResult | None:
    """Fit the products of one precision; None where there are no rows.

    Parameters
    ----------
    rows : `Tables.rows("gemm", ...)`
    gpu : ceilings
    precision : one of `PRECISIONS`
    names : family and version, for the score
    """
    kind = PRECISIONS[precision]
    rows = rows[rows["gemm_dtype"] == kind.dtype]
    if rows.empty:
        return None
    rows = medians(rows, ["m", "n", "k"])
    m, n, k, time_s = (rows[name].to_numpy(dtype=np.float64) for name in ("m", "n", "k", "time_s"))
    shapes = curve_numbers(n, k)
    smooth_s = monotone_along(m, shapes, time_s)
    start = GemmFit(
        weight_bytes=kind.weight_bytes,
        activation_bytes=kind.activation_bytes,
        peak=kind.peak,
        launch_s=4e-6,
        compute_frac=0.7,
        bandwidth_frac=0.8,
        sharpness=2.0,
        depth_s=2e-10,
        ceiling_frac=ceiling_frac(kind.peak, gpu),
        range=f"{int(m.min())} to {int(m.max())} rows, widths and depths of {int(n.min())} to {int(n.max())}",
        source=f"{SOURCE}, {names[0]} {names[1]}",
    )
    everything = np.ones(len(m), dtype=bool)
    held = held_out_curves(shapes)

    def fit_to(chosen: Chosen) -> tuple[GemmFit, Residual]:
        a, b, c, t = m[chosen], n[chosen], k[chosen], smooth_s[chosen]
        fit = fit_form(start, BOUNDS, lambda f, i: gemm_form_s(a[i], b[i], c[i], f, gpu), t)
        kept = np.isin(a, ROWS)
        a, b, c, t = a[kept], b[kept], c[kept], t[kept]
        axes = [log2_nodes(a), log2_nodes(n), log2_nodes(k)]
        ratio = np.log(t / gemm_form_s(a, b, c, fit, gpu))
        return fit, fit_residual(axes, [np.log2(a), np.log2(b), np.log2(c)], ratio, SMOOTHNESS)

    def predict(fit: GemmFit, residual: Residual, chosen: Chosen) -> Floats:
        a, b, c = m[chosen], n[chosen], k[chosen]
        return gemm_form_s(a, b, c, fit, gpu) * residual.factor(np.log2(a), np.log2(b), np.log2(c))

    without, without_table = fit_to(~held)
    fit, residual = fit_to(everything)
    predicted_s = predict(without, without_table, held)
    capped_s = np.maximum(predicted_s, gemm_floor_s(m[held], n[held], k[held], without, gpu))
    score = Score(
        gpu=gpu.name,
        family=names[0],
        version=names[1],
        operator="gemm",
        precision=precision,
        held_out=error_of(
            predicted_s, time_s[held], f"{len(np.unique(shapes[held]))} of {shapes_count(shapes)} (n, k)"
        ),
        fitted=error_of(predict(fit, residual, everything), time_s),
        capped=error_of(capped_s, time_s[held]),
        monotone=error_of(smooth_s, time_s),
    )
    fit = fit.model_copy(update={"error": score.fitted, "held_out": score.held_out, "monotone": score.monotone})
    return GemmResult(fit, residual, score)


def shapes_count(curves: Chosen) -> int:
    """Return the number of distinct shapes."""
    return len(np.unique(curves))
