"""Recipes by name, and what they say of a point or a coefficient."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from sim import catalog
from sim.calibrate.serving.beds import first_of
from sim.calibrate.serving.coefficients import Coefficient
from sim.calibrate.serving.rows import Point
from sim.calibrate.serving.setup import Setup
from sim.cost.calibration import load_engine
from sim.errors import CatalogError
from sim.spec.engine import EngineSpec
from sim.spec.recipe import Prior, Recipe, Recipes, read_recipes

FILE = "hardware_profiles/recipes.yaml"
PRECISIONS = {
    "gemm_scale": ("bf16", "fp8", "fp8_block", "int8", "int4"),
    "gemm_compute_extra": ("bf16", "fp8", "fp8_block", "int8", "int4"),
    "decode_attention_scale": ("bf16", "fp8"),
    "expert_scale": ("bf16", "fp8", "fp8_block", "int4", "mxfp4"),
}
"""Precisions that a star stands for, by field."""


@cache
def load_recipes() -> Recipes:
    """Return the recipes of the catalogue; a user's file comes in place of the package's."""
    text, shown = next(iter(catalog.read_all(FILE)))
    return read_recipes(text, shown)


def takes(recipe: Recipe, point: Point, setup: Setup) -> bool:
    """Whether a point is one that an entry is fitted to."""
    return (
        setup.bed in recipe.beds
        and setup.gpu == recipe.gpu
        and bool(re.search(recipe.tiers, point.tier))
        and bool(re.search(recipe.versions, point.version))
        and bool(re.search(recipe.models, point.model))
    )


def weight_of(metric: str, recipe: Recipe, recipes: Recipes) -> float:
    """Return the weight of a metric in a fit; 0: it is not fitted."""
    if not re.search(recipe.metrics, metric):
        return 0.0
    return first_of(recipes.weights, metric) or 0.0


def coefficients_of(recipe: Recipe, recipes: Recipes) -> list[Coefficient]:
    """Return all that may move in a recipe, whatever its points have."""
    beliefs: dict[str, Prior] = {}
    for pattern, prior in {**recipes.priors, **recipe.priors}.items():
        beliefs |= dict.fromkeys(_paths(pattern), prior)
    return [
        Coefficient(path, prior.median, prior.spread, least=prior.least)
        for path, prior in beliefs.items()
        if path not in recipe.held
    ]


def _paths(pattern: str) -> Iterator[str]:
    """Yield the paths that a pattern stands for."""
    field, _, entry = pattern.partition(".")
    yield from (f"{field}.{name}" for name in PRECISIONS[field]) if entry == "*" else (pattern,)


def start_of(recipe: Recipe, coefficients: Iterable[Coefficient]) -> EngineSpec:
    """Return the engine from which a fit starts: every coefficient at the median of its belief."""
    like = load_engine(*split_entry(recipe.like))
    changes: dict[str, object] = {
        "name": recipe.name,
        "engine": recipe.engine.split("-")[0],
        "version": recipe.version,
        "date": recipe.date,
        "gpu": recipe.gpu,
        "kernels": recipe.kernels,
        "status": "calibrated",
        "like": None,
        "source": recipe.source,
        "notes": recipe.notes,
        "evidence": None,
        "decode_serial_s": 0.0,
        **{field: {} for field in PRECISIONS},
    }
    return like.model_copy(update=changes).with_values({one.path: one.prior for one in coefficients})


def split_entry(entry: str) -> tuple[str, str]:
    """Return engine (with its version) and GPU of an entry's name; raises CatalogError if it names no GPU."""
    gpus = catalog.list_entries("hardware")
    for gpu in gpus:
        if entry.endswith(f"-{gpu}"):
            return entry.removesuffix(f"-{gpu}"), gpu
    raise CatalogError(f"{entry} is no entry of an engine: its name must end with a GPU: {', '.join(gpus)}")
