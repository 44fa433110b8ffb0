"""The step times of a profile as a sum over the engine's coefficients, so that other values cost next to nothing.

An engine's coefficients enter its step times linearly (`docs/equations.md`) while no kernel meets a ceiling of the GPU
(factors of 0.9 and more), but for the running maximum that keeps larger batches from being faster, which moves an entry
of a table by less than 1e-3. A profile is therefore compiled once for each coefficient, and any other set of values is
a sum of tables. Profiles of one pipeline stage only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost import Profile
from sim.cost.step_times import StepTimes
from sim.spec.engine import EngineSpec

Floats = NDArray[np.float64]
TIMES = ("batch_s", "decode_batch_s", "sample_s", "decode_offset_s", "decode_slope_s", "pair_s", "prefill_step_s")
"""Parts of the step times that an engine's coefficients move."""
STEP_LENGTH = 0.5
"""Relative change of a coefficient by which its tables are found; any will do, for they are linear in it."""


@dataclass(frozen=True)
class Basis:
    """A profile at an engine's own coefficients, and what one unit of each adds."""

    profile: Profile
    values: Mapping[str, float]
    """The coefficients there, by path."""
    parts: Mapping[str, Mapping[str, Floats | float]]
    """By path: what a unit of the coefficient adds to each of TIMES."""

    def at(self, values: Mapping[str, float]) -> Profile:
        """Return the profile with other values of the coefficients, by path."""
        changes: dict[str, Floats | float] = {name: getattr(self.profile.step_times, name) for name in TIMES}
        for path, part in self.parts.items():
            delta = values[path] - self.values[path]
            if delta:
                changes = {name: changes[name] + delta * part[name] for name in TIMES}
        times = dataclasses.replace(self.profile.step_times, **changes)  # type: ignore[arg-type]
        frontend_s = values.get("first_token_s", self.profile.frontend_s)
        return dataclasses.replace(self.profile, step_times=times, stage_times=times, frontend_s=frontend_s)

    def unit(self, path: str) -> StepTimes:
        """Return what one unit of a coefficient adds, in the form of step times: their evaluation is linear too."""
        return _bare(self.profile.step_times, self.parts[path])


def _bare(like: StepTimes, part: Mapping[str, Floats | float]) -> StepTimes:
    """Return tables without the checks that whole step times pass."""
    bare = object.__new__(StepTimes)
    for field in dataclasses.fields(StepTimes):
        object.__setattr__(bare, field.name, part.get(field.name, getattr(like, field.name)))
    return bare


def basis_of(make: Callable[[EngineSpec], Profile], engine: EngineSpec, paths: Sequence[str]) -> Basis:
    """Compile a profile for each coefficient.

    Parameters
    ----------
    make : compiles the profile with an engine
    engine : where to begin
    paths : the coefficients, by path
    """
    here = make(engine)
    values: dict[str, float] = {}
    parts: dict[str, Mapping[str, Floats | float]] = {}
    for path in paths:
        values[path] = engine.value_of(path)
        if path == "first_token_s":
            parts[path] = {name: 0.0 * getattr(here.step_times, name) for name in TIMES}
            continue
        delta = STEP_LENGTH * values[path] or 1e-9
        there = make(engine.with_values({path: values[path] + delta})).step_times
        parts[path] = {name: (getattr(there, name) - getattr(here.step_times, name)) / delta for name in TIMES}
    return Basis(here, values, parts)
