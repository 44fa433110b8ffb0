"""Entries: all fits of a family on a GPU, what is borrowed where nothing was timed, and the files they make."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from sim import catalog
from sim.calibrate.operators.attention import fit_decode, fit_prefill
from sim.calibrate.operators.collectives import CUSTOM_BYTES, fit_collective
from sim.calibrate.operators.experts import BYTES, fit_experts
from sim.calibrate.operators.products import PRECISIONS, SOURCE, fit_gemm
from sim.calibrate.operators.reading import Tables
from sim.calibrate.operators.scores import Score
from sim.cost.residual import Residual, pack
from sim.cost.step_times import Floats
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import (
    CollectiveFit,
    DecodeAttentionFit,
    ExpertFit,
    Fitted,
    GemmFit,
    KernelSpec,
    PrefillAttentionFit,
)
from sim.spec.text import write_text

NCCL: Final = {"all_to_all": "alltoall", "all_gather": "all_gather"}
"""Collectives of a board, and NCCL's names of them."""
WEIGHT_ONLY: Final = (
    "assumed: bf16's form and table on fewer bytes, which is what vLLM's Marlin and Machete kernels are made for; "
    "Qwen3-32B in int4 then decodes 2.4 times as fast as in bf16 at batch 1, 2.7 times measured (vLLM, "
    "https://aimultiple.com/llm-quantization, 2026-03)"
)
LENDERS: Final = {
    # Kernel, and family that the GPU's other families take it from where they were not timed with it.
    "int8": "trtllm",
    "int4": "trtllm",
    "experts.int4": "sglang",
}
DEEPGEMM: Final = (
    "vLLM's own table holds the host's launches of 60 to 90 us, which CUDA graphs hide; its kernel is DeepGEMM, as "
    "SGLang's, whose timings are taken"
)
F = TypeVar("F", bound=Fitted)
FP8_CACHE_RATIO: Final = 0.77
"""Share of the bandwidth on an fp8 cache over that on a bf16 one where none was timed: 0.703 / 0.916, vLLM on H100."""


@dataclass(frozen=True)
class Entry:
    """The kernels of a family on a GPU, ready to be written, and their scores."""

    spec: KernelSpec
    tables: bytes
    scores: tuple[Score, ...]


def fit_entry(tables: Tables, gpu_name: str, family: str) -> Entry:
    """Fit all operators of a family on a GPU.

    Parameters
    ----------
    tables : where the timings are
    gpu_name, family : GPU of the catalogue; vllm, sglang or trtllm
    """
    gpu = catalog.load_gpu(gpu_name)
    work = _Work(tables, gpu, family)
    gemm = work.gemm()
    experts = work.experts()
    decode, prefill = work.attention()
    rows, names = work.rows("custom_allreduce")
    all_reduce, found, score = fit_collective(
        rows, gpu, "all-reduce", names, switch_bytes=CUSTOM_BYTES.get(family, 0.0)
    )
    work.residuals |= found
    work.scores += [score] if score else []
    name = f"{family}-{gpu_name}"
    version = work.rows("gemm")[1][1]
    spec = KernelSpec(
        name=name,
        family=family,
        version=version,
        gpu=gpu_name,
        status="calibrated",
        tables=f"{name}.npz",
        gemm=gemm,
        experts=experts,
        decode_attention=decode,
        prefill_attention=prefill,
        all_reduce=all_reduce,
        source=f"{SOURCE}, systems/data of {gpu_name}",
        notes=tuple(work.notes),
    )
    return Entry(spec, pack(work.residuals, work.arrays), tuple(work.scores))


class _Work:
    """The fit of an entry while it is made: tables, scores and notes gather here."""

    def __init__(self, tables: Tables, gpu: GpuSpec, family: str) -> None:
        self.tables, self.gpu, self.family = tables, gpu, family
        self.residuals: dict[str, Residual] = {}
        self.arrays: dict[str, Floats] = {}
        self.scores: list[Score] = []
        self.notes: list[str] = []

    def rows(self, operator: str, family: str | None = None) -> tuple[Any, tuple[str, str]]:
        """Return the timings of an operator, and family and version that they are of."""
        family = family or self.family
        rows = self.tables.rows(operator, self.gpu.name, family)
        return rows, (family, "" if rows.empty else str(rows["version"].iloc[0]))

    def gemm(self) -> dict[str, GemmFit]:
        """Fit the products; borrow what was not timed."""
        fits: dict[str, GemmFit] = {}
        rows, names = self.rows("gemm")
        for precision in PRECISIONS:
            result = fit_gemm(rows, self.gpu, precision, names)
            if result is None:
                continue
            if result.score is not None:
                self.scores.append(result.score)
            if (self.family, precision) == ("vllm", "fp8_block"):
                self.notes.append(f"fp8_block products: {DEEPGEMM}.")
                result = fit_gemm(*self._rows_of("gemm", "sglang", precision)) or result
            fits[precision] = result.fit.model_copy(update={"table": f"gemm_{precision}"})
            self.residuals[f"gemm_{precision}"] = result.residual
        for precision in ("int8", "int4"):
            if precision not in fits:
                fits[precision] = self._weight_only(precision, fits["bf16"])
        if "fp8" not in fits:
            source = "assumed: no fp8 products on this GPU, fp8 weights are multiplied in bf16, as fast as int8 weights"
            fits["fp8"] = _assumed(fits["int8"], source)
        return fits

    def _rows_of(self, operator: str, family: str, precision: str) -> tuple[Any, GpuSpec, str, tuple[str, str]]:
        rows, names = self.rows(operator, family)
        return rows, self.gpu, precision, names

    def _weight_only(self, precision: str, plain: GemmFit) -> GemmFit:
        """Return weight-only products as another family was timed with, or as bf16's on fewer bytes."""
        borrowed = fit_gemm(*self._rows_of("gemm", LENDERS[precision], precision))
        if borrowed is None:
            changes = {"weight_bytes": PRECISIONS[precision].weight_bytes}
            return _assumed(plain, WEIGHT_ONLY).model_copy(update=changes)
        self.residuals[f"gemm_{precision}"] = borrowed.residual
        fit = borrowed.fit.model_copy(update={"table": f"gemm_{precision}"})
        return fit.model_copy(update={"source": f"assumed: as {LENDERS[precision]}'s. {fit.source}"})

    def experts(self) -> dict[str, ExpertFit]:
        """Fit the experts; borrow four-bit ones."""
        fits: dict[str, ExpertFit] = {}
        for precision in BYTES:
            result = fit_experts(*self._rows_of("moe", self.family, precision))
            lender = LENDERS.get(f"experts.{precision}")
            lent = False
            if result is None and lender is not None:
                for family in (lender, "vllm"):
                    result = result or fit_experts(*self._rows_of("moe", family, precision))
                lent = True
            if result is None:
                continue
            self.scores += [] if lent else result.scores
            name = f"experts_{precision}"
            source = f"assumed: another family's. {result.fit.source}" if lent else result.fit.source
            several = len(result.shapes) > 1
            fits[precision] = result.fit.model_copy(update={"table": name, "source": source})
            self.residuals[name] = result.residual if several else _none(result.residual)
            self.residuals[f"{name}.by_shape"] = result.by_shape
            self.arrays[f"{name}.shapes"] = result.shapes
        if "mxfp4" not in fits and "int4" in fits:
            source = "assumed: as int4 experts, the same Marlin kernels"
            fits["mxfp4"] = _assumed(fits["int4"], source).model_copy(update={"weight_bytes": BYTES["mxfp4"][1]})
        return fits

    def attention(self) -> tuple[dict[str, DecodeAttentionFit], dict[str, PrefillAttentionFit]]:
        """Fit decode and prefill attention; an fp8 cache that was not timed is assumed."""
        decode: dict[str, DecodeAttentionFit] = {}
        prefill: dict[str, PrefillAttentionFit] = {}
        for precision in ("bf16", "fp8"):
            read = fit_decode(*self._rows_of("generation_attention", self.family, precision))
            if read is not None:
                decode[precision] = read.fit.model_copy(update={"table": f"decode_{precision}"})
                self.residuals[f"decode_{precision}"] = read.residual
                self.scores += [read.score] if read.score else []
            pairs = fit_prefill(*self._rows_of("context_attention", self.family, precision))
            if pairs is not None:
                prefill[precision] = pairs.fit.model_copy(update={"table": f"prefill_{precision}"})
                self.residuals[f"prefill_{precision}"] = pairs.residual
                self.scores += [pairs.score] if pairs.score else []
        if "fp8" not in decode:
            plain = decode["bf16"]
            source = (
                "assumed: bf16's form and table on half the bytes, at the lower share of the bandwidth of H100's fp8"
            )
            share = round(FP8_CACHE_RATIO * plain.bandwidth_frac, 4)
            decode["fp8"] = _assumed(plain, source).model_copy(update={"value_bytes": 1.0, "bandwidth_frac": share})
        if "fp8" not in prefill:
            prefill["fp8"] = _assumed(prefill["bf16"], "assumed: as on a bf16 cache")
        return decode, prefill


def _assumed(fit: F, source: str) -> F:
    """Return a fit taken over from something else: without errors of its own."""
    return fit.model_copy(update={"source": source, "error": None, "held_out": None, "monotone": None})


def _none(table: Residual) -> Residual:
    """Return a table that leaves the form as it is."""
    return Residual(tuple(nodes[:1] for nodes in table.axes), np.zeros((1,) * len(table.axes)))


@dataclass(frozen=True)
class BoardEntry:
    """NCCL's collectives on a GPU, ready to be written into its board's file, and their scores."""

    name: str
    fits: dict[str, dict[int, CollectiveFit]]
    tables: bytes
    scores: tuple[Score, ...]


def fit_board(tables: Tables, gpu_name: str) -> BoardEntry:
    """Fit NCCL's collectives on a GPU."""
    gpu = catalog.load_gpu(gpu_name)
    rows = tables.rows("nccl", gpu_name)
    names = ("nccl", str(rows["version"].iloc[0]))
    fits: dict[str, dict[int, CollectiveFit]] = {}
    residuals: dict[str, Residual] = {}
    scores: list[Score] = []
    for operator, op_name in NCCL.items():
        fits[operator], found, score = fit_collective(rows, gpu, operator, names, op_name)
        residuals |= found
        scores += [score] if score else []
    return BoardEntry(gpu_name, fits, pack(residuals), tuple(scores))


def write_entry(entry: Entry, folder: Path) -> list[Path]:
    """Write an entry into `folder`/kernels; return the files."""
    kernels = folder / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    data = entry.spec.model_dump(mode="json", exclude_defaults=True)
    data["all_reduce"] = {int(size): fit for size, fit in data["all_reduce"].items()}
    head = (
        f"# Kernels of {entry.spec.family} {entry.spec.version} on {entry.spec.gpu}, written by `tokenfleet calibrate "
        "operators`.\n# sim/spec/kernels.py says what each field means, docs/equations.md gives the forms.\n"
    )
    files = kernels / f"{entry.spec.name}.yaml", kernels / str(entry.spec.tables)
    files[0].write_text(head + write_text(data))
    files[1].write_bytes(entry.tables)
    return list(files)


def write_board(entry: BoardEntry, folder: Path) -> list[Path]:
    """Write NCCL's fits into the board's file in `folder`/boards, whose other keys stay as they are."""
    boards = folder / "boards"
    boards.mkdir(parents=True, exist_ok=True)
    files = boards / f"{entry.name}.yaml", boards / f"{entry.name}.npz"
    text = files[0].read_text() if files[0].is_file() else catalog.read("boards", entry.name)[0]
    for key in ("tables", *NCCL):
        text = re.sub(rf"^{key}:.*\n(?:[ \t].*\n)*", "", text, flags=re.MULTILINE)
    fits = {
        operator: {size: fit.model_dump(mode="json", exclude_defaults=True) for size, fit in by_size.items()}
        for operator, by_size in entry.fits.items()
    }
    files[0].write_text(text.rstrip("\n") + "\n" + write_text({"tables": files[1].name, **fits}))
    files[1].write_bytes(entry.tables)
    return list(files)
