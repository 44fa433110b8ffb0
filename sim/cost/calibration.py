"""Calibrations by name: fitted kernels of a GPU, fitted overheads of an engine on it."""

from __future__ import annotations

from dataclasses import dataclass

from sim import catalog
from sim.errors import CatalogError
from sim.spec.engine import EngineSpec, FitError, KernelSpec, Status
from sim.spec.text import Document, read_text


@dataclass(frozen=True)
class Calibration:
    """What a profile's times rest on, and how far they may be off."""

    engine: str
    version: str
    gpu: str
    status: Status
    """Calibrated on this GPU and within the measured models, sizes and precisions, or extrapolated."""
    errors: dict[str, FitError]
    """Cross-validated error by metric: itl, tpot, ttft, throughput."""
    source: str
    notes: tuple[str, ...]
    """What is assumed, held or outside the measured range, one sentence each."""


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
