"""Calibrations by name: fitted kernels of a GPU, fitted overheads of an engine on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from sim import catalog
from sim.cost.kernels import (
    Collective,
    DecodeKernel,
    ExpertKernel,
    ExpertShape,
    GemmKernel,
    Kernels,
    PrefillKernel,
)
from sim.cost.residual import FLAT, Residual, unpack
from sim.cost.step_times import Floats
from sim.errors import CatalogError
from sim.spec.engine import EngineSpec
from sim.spec.evidence import Evidence, FitError, Grade
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import BoardSpec, CollectiveFit, KernelSpec, Status
from sim.spec.text import Document, read_text


@dataclass(frozen=True)
class Calibration:
    """What a profile's times rest on, and how far they may be off."""

    engine: str
    version: str
    date: str
    """When the engine was measured."""
    driver: str
    """Driver and CUDA it ran under, or "not stated"."""
    gpu: str
    status: Status
    """Calibrated on this GPU and within the measured models, sizes and precisions, or extrapolated."""
    grade: Grade
    """How much the engine's calibration on this GPU can be trusted: good, fair, thin, or extrapolated."""
    num_curves: int
    """Measured curves that it rests on."""
    num_points: int
    """Measured points that it rests on."""
    errors: dict[str, FitError]
    """Error by metric on curves held out: itl, tpot, ttft, throughput."""
    source: str
    notes: tuple[str, ...]
    """What is assumed, held or outside the measured range, one sentence each."""
    evidence: Evidence | None = None
    """Covariance of the coefficients, folds and residuals by regime, where the engine was fitted on this GPU."""

    @property
    def title(self) -> str:
        """One line that says whose times these are and how far they go."""
        measured = f"{self.num_points} points on {self.num_curves} curves" if self.num_points else "not measured there"
        return f"{self.engine} {self.version} ({self.date}) on {self.gpu}: {self.status}, {self.grade}; {measured}"

    def to_dict(self) -> dict[str, Any]:
        """Return what a result says of it, fit for JSON."""
        return {
            "engine": self.engine,
            "version": self.version,
            "date": self.date,
            "driver": self.driver,
            "gpu": self.gpu,
            "status": self.status,
            "grade": self.grade,
            "num_curves": self.num_curves,
            "num_points": self.num_points,
            "errors": {metric: error.to_dict() for metric, error in self.errors.items()},
            "source": self.source,
            "notes": list(self.notes),
        }


def load_kernels(gpu: str, family: str) -> Kernels:
    """Return the fitted kernels of a framework family on a GPU, the entry `FAMILY-GPU`, and what its board adds.

    Raises
    ------
    CatalogError
        These kernels are not calibrated on this GPU; the message lists those there are.
    """
    board = _board_spec(_texts("boards", gpu))
    known = catalog.list_entries("kernels")
    name = f"{family}-{gpu}"
    if name not in known and board.kernels_like is not None:
        name = f"{family}-{board.kernels_like}"
    if name not in known:
        there = ", ".join(known) or "none"
        raise CatalogError(f"no kernels of {family} on {gpu}. Calibrated: {there}.")
    spec = _kernel_spec(_texts("kernels", name))
    tables = (_tables("kernels", spec.tables), _tables("boards", board.tables))
    return _kernels(_on_board(spec, board), board, catalog.load_gpu(spec.gpu), *tables)


def _tables(folder: str, file: str | None) -> bytes:
    """Return the content of a file of tables, if there is one."""
    return catalog.read_binary(f"hardware_profiles/{folder}/{file}") if file else b""


def _on_board(spec: KernelSpec, board: BoardSpec) -> KernelSpec:
    """Return kernels with what a board of another kind puts in their place."""
    if board.name == spec.gpu:
        return spec
    changes = {
        "name": f"{spec.family}-{board.name}",
        "status": "extrapolated",
        "gemm": {**spec.gemm, **board.gemm},
        "all_reduce": board.all_reduce or spec.all_reduce,
        "notes": (*spec.notes, *board.notes),
    }
    return spec.model_copy(update=changes)


def load_engine(engine: str, gpu: str) -> EngineSpec:
    """Return the fitted overheads of an engine on a GPU, the entry `ENGINE-GPU` of the catalogue.

    Raises
    ------
    CatalogError
        There is no calibration of this engine on this GPU; the message lists those there are.
    """
    known = catalog.list_entries("engines")
    name = f"{engine}-{gpu}"
    if name not in known:
        there = ", ".join(known) or "none"
        raise CatalogError(f"no calibration of engine {engine} on {gpu} in engines. Calibrated: {there}.")
    return _engine_spec(_texts("engines", name))


Texts: TypeAlias = tuple[tuple[str, str], ...]
"""Text and shown name of an entry and of those that it is `like`, the nearest first."""


def _texts(kind: catalog.Kind, name: str) -> Texts:
    """Return the text of an entry, and of the entry that it is `like`, and so on."""
    found: list[tuple[str, str]] = []
    seen: tuple[str, ...] = ()
    while True:
        text, shown = catalog.read(kind, name)
        found.append((text, shown))
        like = _like(text, shown)
        if like is None:
            return tuple(found)
        if like in (*seen, name):
            circle = " -> ".join((*seen, name, like))
            document = read_text(text, shown)
            raise CatalogError(document.problem(("like",), f"an entry cannot be made from itself: {circle}"))
        seen, name = (*seen, name), like


@lru_cache(maxsize=256)
def _like(text: str, shown: str) -> str | None:
    """Return the name of the entry that a text says it is like."""
    data = read_text(text, shown).data
    like = data.get("like") if isinstance(data, dict) else None
    return None if like is None else str(like)


def _document(texts: Texts) -> Document:
    """Return an entry's document laid over those that it is `like`, key by key."""
    whole = read_text(*texts[-1])
    for text, shown in reversed(texts[:-1]):
        document = read_text(text, shown)
        for key in document.data:
            whole = whole.patched((key,), document.at((key,)))
    return whole


# An entry is read for every profile, thousands of times in a calibration; the same texts give the same specification.
@lru_cache(maxsize=64)
def _engine_spec(texts: Texts) -> EngineSpec:
    return EngineSpec.from_document(_document(texts))


@lru_cache(maxsize=64)
def _kernel_spec(texts: Texts) -> KernelSpec:
    return KernelSpec.from_document(_document(texts))


@lru_cache(maxsize=64)
def _board_spec(texts: Texts) -> BoardSpec:
    return BoardSpec.from_document(_document(texts))


_unpack = lru_cache(maxsize=32)(unpack)


def _kernels(spec: KernelSpec, board: BoardSpec, timed_on: GpuSpec, tables: bytes, board_tables: bytes) -> Kernels:
    """Return fits and their tables together."""
    residuals, arrays = _unpack(tables) if tables else ({}, {})
    nccl, _ = _unpack(board_tables) if board_tables else ({}, {})

    def table(name: str | None) -> Residual:
        return FLAT if name is None else residuals[name]

    def collectives(fits: dict[int, CollectiveFit], among: dict[str, Residual]) -> dict[int, Collective]:
        return {size: Collective(fit, FLAT if fit.table is None else among[fit.table]) for size, fit in fits.items()}

    return Kernels(
        spec=spec,
        board=board,
        timed_on=timed_on,
        gemm={name: GemmKernel(name, fit, table(fit.table)) for name, fit in spec.gemm.items()},
        experts={
            name: ExpertKernel(name, fit, table(fit.table), _by_shape(fit.table, residuals, arrays))
            for name, fit in spec.experts.items()
        },
        decode_attention={
            name: DecodeKernel(name, fit, table(fit.table)) for name, fit in spec.decode_attention.items()
        },
        prefill_attention={
            name: PrefillKernel(name, fit, table(fit.table)) for name, fit in spec.prefill_attention.items()
        },
        all_reduce=collectives(spec.all_reduce, residuals),
        all_to_all=collectives(board.all_to_all, nccl),
        all_gather=collectives(board.all_gather, nccl),
    )


def _by_shape(name: str | None, tables: dict[str, Residual], arrays: dict[str, Floats]) -> dict[ExpertShape, Residual]:
    """Return the tables of the expert shapes that were timed themselves."""
    if f"{name}.shapes" not in arrays:
        return {}
    all_shapes = tables[f"{name}.by_shape"]
    axes = all_shapes.axes[1:]
    shapes = [tuple(int(size) for size in row) for row in arrays[f"{name}.shapes"]]
    return {(h, w, k, e): Residual(axes, all_shapes.values[i]) for i, (h, w, k, e) in enumerate(shapes)}
