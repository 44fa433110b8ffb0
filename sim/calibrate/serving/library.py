"""What the catalogue holds, each entry read once."""

from __future__ import annotations

from functools import cached_property

from sim import catalog
from sim.cost.calibration import load_engine
from sim.errors import CatalogError
from sim.spec.bed import Beds, read_beds
from sim.spec.engine import EngineSpec
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec
from sim.spec.spelling import Resolved

BEDS = "hardware_profiles/beds.yaml"
NO_FORM = "is not covered: "
"""In the message about a model whose layers the catalogue has no form for."""


class NotCoveredError(Exception):
    """A point that cannot be played; the text says why.

    Parameters
    ----------
    reason
        Why.
    known
        Whether the simulator has a form for the model: false where its layers are of a kind that it does not know.
    """

    def __init__(self, reason: str, *, known: bool = True) -> None:
        super().__init__(reason)
        self.known = known


class Library:
    """Entries of the catalogue as they were when they were first asked for."""

    def __init__(self, beds: Beds | None = None) -> None:
        self._beds = beds
        self._spelt_models: dict[str, Resolved | NotCoveredError] = {}
        self._spelt_gpus: dict[str, Resolved | NotCoveredError] = {}
        self._models: dict[str, ModelSpec] = {}
        self._gpus: dict[str, GpuSpec] = {}
        self._versions: dict[str, dict[str, str]] = {}
        self._engines: dict[tuple[str, str], EngineSpec] = {}

    @cached_property
    def beds(self) -> Beds:
        """How rows are played; a user's file comes in place of the package's."""
        return self._beds or read_beds(*next(iter(catalog.read_all(BEDS))))

    @cached_property
    def engine_names(self) -> tuple[str, ...]:
        """Calibrations of engines there are, ENGINE[-VERSION]-GPU."""
        return tuple(catalog.list_entries("engines"))

    def versions(self, gpu: str) -> dict[str, str]:
        """Return the version of each calibration on a GPU, by name without the GPU."""
        if gpu not in self._versions:
            ending = f"-{gpu}"
            names = [entry.removesuffix(ending) for entry in self.engine_names if entry.endswith(ending)]
            self._versions[gpu] = {name: self.engine(name, gpu).version for name in names}
        return self._versions[gpu]

    def model_named(self, text: str) -> Resolved:
        """Return the model that a publication's name means; raises NotCoveredError."""
        if text not in self._spelt_models:
            try:
                self._spelt_models[text] = catalog.resolve_model(text)
            except CatalogError as error:
                self._spelt_models[text] = NotCoveredError(_why(error), known=NO_FORM not in str(error))
        found = self._spelt_models[text]
        if isinstance(found, NotCoveredError):
            raise found
        return found

    def gpu_named(self, text: str) -> Resolved:
        """Return the GPU that a publication's name means; raises NotCoveredError."""
        if text not in self._spelt_gpus:
            try:
                self._spelt_gpus[text] = catalog.resolve_gpu(text)
            except CatalogError as error:
                self._spelt_gpus[text] = NotCoveredError(_why(error))
        found = self._spelt_gpus[text]
        if isinstance(found, NotCoveredError):
            raise found
        return found

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


def _why(error: CatalogError) -> str:
    """Return the message of an error without the advice that follows it."""
    return error.problems[0].message.split(". ", maxsplit=1)[0]
