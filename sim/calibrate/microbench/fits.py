"""Kernels fitted to a measurement folder: the same forms and tables as those of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sim.calibrate.microbench.ceilings import largest_rates
from sim.calibrate.microbench.folder import Measurements
from sim.calibrate.microbench.points import VALUE_BYTES
from sim.calibrate.microbench.tables import FRAMEWORK, Record, tables
from sim.cost.residual import Residual
from sim.errors import SpecError
from sim.spec.hardware import PRECISIONS, GpuSpec
from sim.spec.kernels import CollectiveFit, DecodeAttentionFit, GemmFit, PrefillAttentionFit

if TYPE_CHECKING:
    import pandas as pd

    from sim.calibrate.operators.scores import Score

CACHE: Final = "bf16"
"""Precision of the keys and values that microbenchmarks measure: PyTorch's attention reads no other."""
FEWEST: Final = 30
"""Points of an operator below which it is not fitted: a form of five numbers and a table need more."""


@dataclass(frozen=True)
class Fits:
    """What was fitted, by precision or number of GPUs; tables by name, as the fits name them."""

    gemm: dict[str, GemmFit]
    decode_attention: dict[str, DecodeAttentionFit]
    prefill_attention: dict[str, PrefillAttentionFit]
    all_reduce: dict[int, CollectiveFit]
    tables: dict[str, Residual]
    scores: tuple[Score, ...]


def fit(measurements: Measurements, gpu: GpuSpec) -> Fits:
    """Fit the kernels that were measured.

    Parameters
    ----------
    measurements : of a GPU
    gpu : its ceilings, to which efficiencies are relative

    Raises
    ------
    SpecError
        No operator has points enough.
    """
    from sim.calibrate.operators.attention import fit_decode, fit_prefill
    from sim.calibrate.operators.collectives import fit_collective
    from sim.calibrate.operators.products import fit_gemm

    frames = _frames(measurements)
    names = (FRAMEWORK, str(measurements.provenance.get("torch")))
    found = Fits({}, {}, {}, {}, {}, ())
    scores: list[Score] = []
    source = {"source": measurements.source}
    reached = {field: rate for field, rate, _ in largest_rates(measurements)}
    capped = _capped(gpu)
    for precision in VALUE_BYTES:
        rows = frames.get("gemm")
        if rows is None or (gpu.fp8_flops_per_s is None and precision == "fp8"):
            continue
        if (product := fit_gemm(rows, capped, precision, names)) is not None:
            peak = PRECISIONS[precision]
            ceiling = {"ceiling_frac": min(reached[peak] / getattr(gpu, peak), 1.0)}
            named = _named(f"gemm_{precision}", product.residual, found.tables)
            found.gemm[precision] = product.fit.model_copy(update=source | ceiling | named)
            scores += [product.score] if product.score else []
    if (rows := frames.get("generation_attention")) is not None and (decode := fit_decode(rows, capped, CACHE, names)):
        named = _named(f"decode_{CACHE}", decode.residual, found.tables)
        found.decode_attention[CACHE] = decode.fit.model_copy(update=source | named)
        scores += [decode.score] if decode.score else []
    if (rows := frames.get("context_attention")) is not None and (prefill := fit_prefill(rows, gpu, CACHE, names)):
        named = _named(f"prefill_{CACHE}", prefill.residual, found.tables)
        found.prefill_attention[CACHE] = prefill.fit.model_copy(update=source | named)
        scores += [prefill.score] if prefill.score else []
    if (rows := frames.get("custom_allreduce")) is not None:
        fits, residuals, score = fit_collective(rows, gpu, "all-reduce", names)
        found.all_reduce.update(fits)
        found.tables.update(residuals)
        scores += [score] if score else []
    if not scores:
        raise SpecError(f"{measurements.folder}: no operator has {FEWEST} measured points, which a fit needs at least")
    return Fits(
        found.gemm,
        found.decode_attention,
        found.prefill_attention,
        found.all_reduce,
        found.tables,
        tuple(scores),
    )


def _capped(gpu: GpuSpec) -> GpuSpec:
    """Return a GPU of a generation whose caps the fits know; that of products is then set to what was reached."""
    from sim.calibrate.operators.products import CEILINGS

    generations = {generation for _, generation in CEILINGS}
    if int(gpu.sm_version) in generations:
        return gpu
    return gpu.replace("sm_version", gpu.sm_version.to_dict() | {"value": max(generations)})


def _frames(measurements: Measurements) -> dict[str, pd.DataFrame]:
    """Return the tables with points enough, in the form that fits take: times in seconds."""
    import pandas as pd

    found = {
        name: pd.DataFrame(records) for name, records in tables(measurements, "").items() if _enough(name, records)
    }
    for frame in found.values():
        frame["time_s"] = frame["latency_ms"] * 1e-3
        frame["kernel"] = frame["kernel_source"]
    return found


def _enough(name: str, records: list[Record]) -> bool:
    return len(records) >= (FEWEST if name != "custom_allreduce" else 5)


def _named(name: str, residual: Residual, among: dict[str, Residual]) -> dict[str, str]:
    """Keep a table under a name of its own: fits of what was not measured may still refer to the one it had before."""
    among[f"own_{name}"] = residual
    return {"table": f"own_{name}"}
