"""Calibrations by name: fitted kernels of a GPU, fitted overheads of an engine on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sim import catalog
from sim.errors import CatalogError
from sim.spec.engine import EngineSpec, KernelSpec, Status
from sim.spec.evidence import Evidence, FitError, Grade
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


def load_kernels(gpu: str) -> KernelSpec:
    """Return the fitted kernels of a GPU by its name in the catalogue.

    Raises
    ------
    CatalogError
        There is no calibration of this GPU.
    """
    return KernelSpec.from_document(_document("kernels", gpu, ()))


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
    return EngineSpec.from_document(_document("engines", name, ()))


def _document(kind: catalog.Kind, name: str, seen: tuple[str, ...]) -> Document:
    """Return an entry's document laid over the one that it is `like`, if any, key by key."""
    document = read_text(*catalog.read(kind, name))
    like = document.data.get("like") if isinstance(document.data, dict) else None
    if like is None:
        return document
    if like in (*seen, name):
        circle = " -> ".join((*seen, name, like))
        raise CatalogError(document.problem(("like",), f"an entry cannot be made from itself: {circle}"))
    whole = _document(kind, like, (*seen, name))
    for key in document.data:
        whole = whole.patched((key,), document.at((key,)))
    return whole
