"""Fitting an engine's entry to the points that its recipe names, with whole curves held out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.calibrate.serving.basis import Basis, basis_of
from sim.calibrate.serving.beds import distrusted
from sim.calibrate.serving.bench import Bench, Stand, observations
from sim.calibrate.serving.coefficients import Coefficient, values_at
from sim.calibrate.serving.fit import Fit, Observations, cost_of, covariance, deal, fit, place_without, without
from sim.calibrate.serving.library import Library, NotCoveredError
from sim.calibrate.serving.play import compile_setup
from sim.calibrate.serving.predictions import fills_cache
from sim.calibrate.serving.recipes import PRECISIONS, coefficients_of, load_recipes, start_of, takes, weight_of
from sim.calibrate.serving.rows import Point
from sim.calibrate.serving.scenarios import pool_of
from sim.calibrate.serving.setup import Setup, make_setup
from sim.cost import Profile
from sim.errors import Problem, SpecError, TokenfleetError
from sim.spec.bed import Setting
from sim.spec.engine import EngineSpec
from sim.spec.recipe import Recipe

Floats = NDArray[np.float64]
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """An engine's entry as fitted, and how it fares on what it has not seen."""

    recipe: Recipe
    engine: EngineSpec
    settings: Mapping[str, Setting]
    """Settings that the source does not state, as chosen."""
    stands: Sequence[Stand]
    seen: Observations
    fit: Fit
    held_out: Floats
    """Log predictions with whole curves held out, shape [n]."""
    folds: Sequence[tuple[tuple[str, ...], Mapping[str, float], Mapping[str, Setting]]]
    """Curves of each fold, and coefficients and settings that the others gave."""
    log_covariance: Floats

    @property
    def metrics(self) -> list[str]:
        """Metric of each observation."""
        return [metric for stand in self.stands for metric in stand.measured]


def fit_engine(recipe: Recipe, points: Sequence[Point], library: Library | None = None) -> Fitted:
    """Fit the entry of a recipe.

    Raises
    ------
    SpecError
        None of the points belongs to the recipe.
    """
    library = library or Library()
    tries = [_try(recipe, points, settings, library) for settings in recipe.candidates or ({},)]
    best = min(tries, key=lambda one: one.fit.cost)
    stands, seen = best.stands, best.seen
    names = sorted({stand.curve for stand in stands})
    held_out = np.full(len(seen.weight), np.nan)
    folds = []
    for fold in deal(seen.curve, recipe.folds) if len(names) > 1 else []:
        left = without(seen, fold)
        places = [place_without(one.fit, one.seen, fold) for one in tries]
        chosen = int(np.argmin([_linear_cost(one.fit, left, place) for one, place in zip(tries, places, strict=True)]))
        values = values_at(tries[chosen].fit.coefficients, places[chosen])
        held = np.isin(seen.curve, fold)
        held_out[held] = tries[chosen].predict(values, held)
        folds.append((tuple(names[number] for number in fold), values, tries[chosen].settings))
    engine = start_of(recipe, coefficients_of(recipe, load_recipes())).with_values(carried(best.fit.values))
    return Fitted(recipe, engine, best.settings, stands, seen, best.fit, held_out, folds, covariance(best.fit, seen))


def carried(values: Mapping[str, float]) -> dict[str, float]:
    """Return coefficients with those of precisions that were not measured: an engine's factor on bf16 is theirs."""
    found = dict(values)
    for field, names in PRECISIONS.items():
        known = values.get(f"{field}.bf16")
        if known is not None:
            found |= {f"{field}.{name}": float(f"{known:.4g}") for name in names if f"{field}.{name}" not in values}
    return found


@dataclass(frozen=True)
class _Try:
    """A fit with one set of the settings that are not stated."""

    settings: Mapping[str, Setting]
    stands: Sequence[Stand]
    seen: Observations
    fit: Fit

    def predict(self, values: Mapping[str, float], wanted: NDArray[np.bool_]) -> Floats:
        """Return log predictions of the observations that are wanted, by playing their points."""
        found, at = [], 0
        for stand in self.stands:
            size = len(stand.measured)
            if wanted[at]:
                found.append(stand.predict(values))
            at += size
        return np.concatenate(found)


def _linear_cost(one: Fit, seen: Observations, place: Floats) -> float:
    """Return the cost at a place by the linear form of a fit."""
    return float(cost_of(seen.residuals(one.log_predicted + one.slope @ (place - one.place)), place))


def _try(recipe: Recipe, points: Sequence[Point], settings: Mapping[str, Setting], library: Library) -> _Try:
    stands, coefficients = stands_of(recipe, points, settings, library)
    seen = observations(stands)
    bench = Bench(stands, coefficients)
    return _Try(settings, stands, seen, fit(bench.predict, bench.linearise, seen, coefficients))


def stands_of(
    recipe: Recipe, points: Sequence[Point], settings: Mapping[str, Setting], library: Library
) -> tuple[list[Stand], list[Coefficient]]:
    """Return the points of a recipe, ready to be played, and the coefficients that move any of them."""
    recipes = load_recipes()
    possible = coefficients_of(recipe, recipes)
    engine = start_of(recipe, possible)
    found = [
        (point, setup)
        for point, setup in setups_of(points, settings, library)
        if takes(recipe, point, setup) and _in_one_place(setup)
    ]
    moving = _moving(found, engine, possible, library)
    coefficients = [one for one in possible if one.path in moving]
    bases: dict[str, Basis] = {}
    rules = {bed.name: bed.distrust for bed in library.beds.beds}
    stands = []
    for point, setup in found:
        weights = {metric: weight_of(metric, recipe, recipes) for metric in point.measured}
        weights = {metric: weight for metric, weight in weights.items() if weight > 0.0}
        if not weights:
            continue
        key = pool_of(setup).model_dump_json()
        try:
            if key not in bases:
                bases[key] = basis_of(_compiler(setup, library), engine, [one.path for one in coefficients])
        except TokenfleetError as error:
            LOG.info("%s left out: %s", point.model, error)
            continue
        queues = _queues(setup, bases[key].profile)
        for metric in weights:
            apart = not recipe.trust_all and distrusted(point, metric, rules[setup.bed])
            if apart or (queues and metric.startswith("ttft")):
                weights[metric] = 0.0
        measured = {metric: point.measured[metric] for metric in weights}
        stands.append(Stand(setup, bases[key], measured, weights, point.group_id))
    if not stands:
        SpecError.raise_if([Problem(f"no measurement belongs to {recipe.name}")])
    return stands, coefficients


def setups_of(points: Sequence[Point], settings: Mapping[str, Setting], library: Library) -> list[tuple[Point, Setup]]:
    """Return how points are played, those that can be."""
    found = []
    for point in points:
        try:
            found.append((point, make_setup(point, settings, library)))
        except NotCoveredError:
            continue
    return found


def _in_one_place(setup: Setup) -> bool:
    """Whether one replica of one stage serves what is played: its steps, one after the other, are all there is."""
    several = setup.kind == "open_loop" and setup.num_replicas > 1
    return not several and not setup.num_prefill_replicas and setup.pool.pipeline_parallel_size == 1


def _compiler(setup: Setup, library: Library) -> Callable[[EngineSpec], Profile]:
    def make(engine: EngineSpec) -> Profile:
        return compile_setup(setup, engine, library=library)

    return make


def _moving(
    found: Sequence[tuple[Point, Setup]], engine: EngineSpec, possible: Sequence[Coefficient], library: Library
) -> set[str]:
    """Return the paths of the coefficients that move the step times of any point."""
    kinds = {
        (setup.pool.model, setup.pool.weights, setup.pool.kv_cache_dtype, setup.pool.tensor_parallel_size): setup
        for _, setup in found
    }
    first_tokens = any(metric.startswith("ttft") for point, _ in found for metric in point.measured)
    moving = {"first_token_s"} if first_tokens else set()
    paths = [one.path for one in possible if one.path != "first_token_s"]
    for setup in kinds.values():
        try:
            basis = basis_of(_compiler(setup, library), engine, paths)
        except TokenfleetError:
            continue
        for path, part in basis.parts.items():
            if any(np.any(np.asarray(table) != 0.0) for table in part.values()):
                moving.add(path)
    return moving


def _queues(setup: Setup, profile: Profile) -> bool:
    """Whether first tokens wait in a queue: users whose contexts fill the cache, or all at once."""
    if setup.kind == "closed_loop":
        return fills_cache(setup, profile)
    return setup.kind in ("all_at_once", "saturated", "offline")
