"""What the catalogue holds, each entry read once."""

from __future__ import annotations

from functools import cached_property

from sim import catalog
from sim.cost.calibration import load_engine
from sim.spec.bed import Beds, read_beds
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec

BEDS = "hardware_profiles/beds.yaml"


class Library:
    """Entries of the catalogue as they were when they were first asked for."""

    def __init__(self, beds: Beds | None = None) -> None:
        self._beds = beds
        self._models: dict[str, ModelSpec] = {}
        self._gpus: dict[str, GpuSpec] = {}
        self._engines: dict[tuple[str, str], EngineSpec] = {}

    @cached_property
    def beds(self) -> Beds:
        """How rows are played; a user's file comes in place of the package's."""
        return self._beds or read_beds(*next(iter(catalog.read_all(BEDS))))

    @cached_property
    def model_names(self) -> frozenset[str]:
        """Models there are."""
        return frozenset(catalog.list_entries("models"))

    @cached_property
    def gpu_names(self) -> frozenset[str]:
        """GPUs there are."""
        return frozenset(catalog.list_entries("hardware"))

    @cached_property
    def engine_names(self) -> tuple[str, ...]:
        """Calibrations of engines there are, ENGINE[-VERSION]-GPU."""
        return tuple(catalog.list_entries("engines"))

    def model(self, name: str) -> ModelSpec:
        """Return a model."""
        if name not in self._models:
            self._models[name] = catalog.load_model(name)
        return self._models[name]

    def gpu(self, name: str) -> GpuSpec:
        """Return a GPU."""
        if name not in self._gpus:
            self._gpus[name] = catalog.load_gpu(name)
        return self._gpus[name]

    def engine(self, name: str, gpu: str) -> EngineSpec:
        """Return the calibration of an engine on a GPU."""
        if (name, gpu) not in self._engines:
            self._engines[name, gpu] = load_engine(name, gpu)
        return self._engines[name, gpu]
