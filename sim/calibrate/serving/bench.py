"""Measured points set up for fitting: each can be played with any coefficients, and linearised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.basis import Basis
from sim.calibrate.serving.coefficients import Coefficient, values_at
from sim.calibrate.serving.fit import Observations
from sim.calibrate.serving.readings import read
from sim.calibrate.serving.steps import Played, play
from sim.fleet.build import Built, Pools, make_world
from sim.plane.owner import Table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stand:
    """One measured point, ready to be played."""

    built: Built
    """The scenario it is played as, one pool of one replica."""
    basis: Basis
    """The pool's profile, by coefficient."""
    counts: Callable[[Table], Bools]
    """Which of the played requests the measurement counted."""
    measured: Mapping[str, float]
    """Measured values by metric [s, 1/s]."""
    weights: Mapping[str, float]
    """Weight of each metric; 0 or absent: not fitted."""
    curve: str
    """Name of the curve that the point is on."""

    def play(self, values: Mapping[str, float], *, with_steps: bool = False) -> Played:
        """Play it with coefficients given by path."""
        return play(self.with_values(values), with_steps=with_steps)

    def with_values(self, values: Mapping[str, float]) -> Built:
        """Return its scenario, compiled with coefficients given by path."""
        (name,) = self.built.profiles
        profiles = {name: self.basis.at(values)}
        pool = dataclasses.replace(
            self.built.world.pools[0],
            step_times=profiles[name].step_times,
            frontend_s=profiles[name].frontend_s,
        )
        world = dataclasses.replace(self.built.world, pools=[pool])
        return dataclasses.replace(self.built, world=world, profiles=profiles)

    def readings(self, values: Mapping[str, float], *, sloped: bool) -> tuple[Floats, Floats]:
        """Return the logs of the fitted metrics, shape [n], and (if sloped) their derivative, shape [n, m]."""
        played = self.play(values, with_steps=True)
        counted = played.records[self.counts(played.records)]
        logs, slopes = [], []
        for metric in self.fitted:
            reading = read(metric, counted, played.steps, self.basis, values, sloped=sloped)
            logs.append(np.log(reading.value) if reading else np.nan)
            slopes.append(reading.log_slope if reading else np.zeros(len(values)))
        return np.array(logs), np.array(slopes).reshape(len(logs), -1)

    @property
    def fitted(self) -> tuple[str, ...]:
        """Metrics that are fitted, in order."""
        return tuple(name for name in self.measured if self.weights.get(name, 0.0) > 0.0)


def observations(stands: Sequence[Stand]) -> Observations:
    """Return all that was measured at these points, in order of points and metrics."""
    numbers = {curve: number for number, curve in enumerate(sorted({stand.curve for stand in stands}))}
    rows = [
        (np.log(stand.measured[metric]), stand.weights[metric], numbers[stand.curve])
        for stand in stands
        for metric in stand.fitted
    ]
    logs, weights, curves = zip(*rows, strict=True)
    return Observations(np.array(logs), np.array(weights), np.array(curves, dtype=np.int64))


@dataclass(frozen=True)
class Bench:
    """Points and the coefficients that move them: what a fit asks."""

    stands: Sequence[Stand]
    coefficients: Sequence[Coefficient]

    def predict(self, places: Floats) -> Floats:
        """Return log predictions for several places of the coefficients, shape [k, n]."""
        return np.array([self._all(place, sloped=False)[0] for place in places])

    def linearise(self, place: Floats) -> tuple[Floats, Floats]:
        """Return log predictions, shape [n], and their derivative by the places, shape [n, m]."""
        logs, slopes = self._all(place, sloped=True)
        values = values_at(self.coefficients, place)
        per_place = np.array([values[one.path] * one.spread for one in self.coefficients])
        return logs, slopes * per_place

    def _all(self, place: Floats, *, sloped: bool) -> tuple[Floats, Floats]:
        values = values_at(self.coefficients, place)
        found = [stand.readings(values, sloped=sloped) for stand in self.stands]
        return np.concatenate([logs for logs, _ in found]), np.concatenate([slopes for _, slopes in found])
