"""Measured points set up for fitting: each can be played with any coefficients, and linearised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.asking import asked_s, with_waits
from sim.calibrate.serving.basis import Basis
from sim.calibrate.serving.coefficients import Coefficient, values_at
from sim.calibrate.serving.fit import Observations
from sim.calibrate.serving.play import predict, records_of
from sim.calibrate.serving.predictions import measured_rows, metrics, one_step
from sim.calibrate.serving.readings import log_slope
from sim.calibrate.serving.scenarios import plan_of
from sim.calibrate.serving.setup import Setup
from sim.calibrate.serving.steps import one_step as single_step
from sim.calibrate.serving.steps import read_steps
from sim.errors import TokenfleetError
from sim.plane.owner import Table

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stand:
    """One measured point, ready to be played with any coefficients."""

    setup: Setup
    basis: Basis
    """The profile it runs on, by coefficient."""
    measured: Mapping[str, float]
    """Measured values by metric, times in ms: those that are fitted."""
    weights: Mapping[str, float]
    """Weight of each of them."""
    curve: str
    """Name of the curve that the point is on."""

    def predict(self, values: Mapping[str, float]) -> Floats:
        """Return the logs of the fitted metrics, shape [n]; nan where the load cannot be served."""
        try:
            found, _ = predict(self.setup, self.basis.at(values))
        except TokenfleetError:
            found = {}
        return self._logs(found)

    def linearise(self, values: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Return the same, and their derivative by each coefficient in its unit, shape [n, m]."""
        profile, setup = self.basis.at(values), self.setup
        if setup.kind == "decode_step":
            found = one_step(setup, profile)
            batch = max(1, round(setup.load))
            steps = single_step(batch, int(batch * setup.isl))
            change = np.array([steps.time_s(self.basis.unit(path))[0] for path in values])
            slope = change / steps.time_s(profile.step_times)[0]
            slopes = [-slope if "throughput" in metric else slope for metric in self.measured]
            return self._logs(found), np.array(slopes)
        plan = plan_of(setup, profile)
        log: list[Table] = []
        try:
            records = records_of(setup, profile, plan, log.append)
            rows = measured_rows(plan, records)
        except TokenfleetError:
            return self._logs({}), np.zeros((len(self.measured), len(values)))
        found = metrics(setup, profile, plan, records)
        steps = read_steps(np.concatenate(log), records.rows)
        changes = [steps.time_s(self.basis.unit(path)) for path in values]
        asked = None
        if setup.kind == "closed_loop":
            asked = asked_s(records.rows, profile.frontend_s, setup.client.reissue_interval_s)
            host = list(values).index("first_token_s") if "first_token_s" in values else None
            changes = with_waits(steps, records.rows, asked, changes, host)
            asked = asked[plan.counts(records.rows)]
        slopes = [
            log_slope(metric, rows, steps, changes, tuple(values), profile.frontend_s, setup.kind, asked)
            for metric in self.measured
        ]
        return self._logs(found), np.array(slopes)

    def _logs(self, found: Mapping[str, float]) -> Floats:
        return np.log([found.get(metric, np.nan) for metric in self.measured])


def observations(stands: Sequence[Stand]) -> Observations:
    """Return all that was measured at these points, in order of points and metrics."""
    numbers = {curve: number for number, curve in enumerate(sorted({stand.curve for stand in stands}))}
    rows = [
        (np.log(value), stand.weights[metric], numbers[stand.curve])
        for stand in stands
        for metric, value in stand.measured.items()
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
        values = [values_at(self.coefficients, place) for place in places]
        return np.array([np.concatenate([stand.predict(one) for stand in self.stands]) for one in values])

    def linearise(self, place: Floats) -> tuple[Floats, Floats]:
        """Return log predictions, shape [n], and their derivative by the places, shape [n, m]."""
        values = values_at(self.coefficients, place)
        logs, slopes = zip(*(stand.linearise(values) for stand in self.stands), strict=True)
        per_place = np.array([one.slope(x) for one, x in zip(self.coefficients, place, strict=True)])
        return np.concatenate(logs), np.concatenate(slopes) * per_place
