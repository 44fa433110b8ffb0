"""From tables of serving measurements to entries of engines: by recipes of the catalogue, or from rows of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from sim.calibrate.serving.engine_fit import Fitted, fit_engine, setups_of
from sim.calibrate.serving.library import Library
from sim.calibrate.serving.publish import entry_of, text_of
from sim.calibrate.serving.recipes import load_recipes, split_entry
from sim.calibrate.serving.rows import Point, points_of, read_table
from sim.cost.calibration import load_engine
from sim.errors import Problem, SpecError, did_you_mean
from sim.spec.engine import EngineSpec
from sim.spec.recipe import Prior, Recipe

OWN_SPREAD = 0.3
"""How far a user's engine may be from the one it is like, as a standard deviation of logs; *assumed*."""


def read_points(tables: Sequence[Path]) -> list[Point]:
    """Return the points of several tables; raises SpecError with what is wrong with any of them."""
    problems: list[Problem] = []
    points: list[Point] = []
    for path in tables:
        try:
            points += points_of(read_table(path))
        except SpecError as error:
            problems += error.problems
    SpecError.raise_if(problems)
    return points


def chosen_recipes(names: Sequence[str]) -> list[Recipe]:
    """Return the recipes of these names, all of them if there is none; raises SpecError for names that do not exist."""
    known = {recipe.name: recipe for recipe in load_recipes().engines}
    SpecError.raise_if(
        [Problem(f"no recipe of that name: {name}. {did_you_mean(name, known)}") for name in names if name not in known]
    )
    return [known[name] for name in names] if names else list(known.values())


def own_recipe(name: str, like: str, points: Sequence[Point]) -> Recipe:
    """Return the recipe of a user's own engine: all points that can be played, from another engine's coefficients.

    Parameters
    ----------
    name : engine of the new entry, without the GPU
    like : entry to begin at; its GPU is that of the new one
    points : what the user measured

    Raises
    ------
    SpecError, CatalogError
        None of the points can be played, or there is no such entry.
    """
    engine, gpu = split_entry(like)
    base = load_engine(engine, gpu)
    found = [point for point, setup in setups_of(points, {}, Library()) if setup.gpu == gpu]
    SpecError.raise_if([] if found else [Problem(f"no row was measured on {gpu}, the GPU of {like}")])
    beds = {setup.bed for _, setup in setups_of(found, {}, Library())}
    return Recipe(
        engine=name,
        gpu=gpu,
        like=like,
        kernels=base.kernels,
        version=", ".join(sorted({point.version for point in found if point.version})) or "not stated",
        date=", ".join(sorted({point.date for point in found if point.date})) or "not stated",
        source=", ".join(sorted({point.source for point in found})),
        beds=tuple(sorted(beds)),
        tiers="",
        priors={path: _belief(base, path, like) for path in _positive(base)},
    )


def _positive(engine: EngineSpec) -> Iterator[str]:
    """Yield the paths of coefficients that are above 0 in an engine."""
    for prior in load_recipes().priors:
        field, _, star = prior.partition(".")
        value = getattr(engine, field)
        yield from (
            (f"{field}.{name}" for name, one in value.items() if one > 0) if star else (field,) if value > 0 else ()
        )


def _belief(engine: EngineSpec, path: str, like: str) -> Prior:
    return Prior(median=engine.value_of(path), spread=OWN_SPREAD, source=f"assumed: near {like}")


def calibrate_serving(
    points: Sequence[Point],
    recipes: Sequence[Recipe],
    *,
    folder: Path | None = None,
    processes: int = 1,
    watch: Callable[[str], None] = lambda _text: None,
) -> list[Fitted]:
    """Fit the entries of recipes, and write them.

    Parameters
    ----------
    points : what was measured
    recipes : what is fitted to which of them
    folder : catalogue to write to, into hardware_profiles/engines; None: nothing is written
    processes : recipes fitted beside one another
    watch : told when an entry is done

    Raises
    ------
    SpecError
        No point belongs to a recipe, or the folder cannot be written.
    """
    done: list[Fitted] = []
    fit = partial(fit_engine, points=points)
    if processes > 1 and len(recipes) > 1:
        with ProcessPoolExecutor(processes) as pool:
            for fitted in pool.map(fit, recipes):
                done.append(fitted)
                watch(fitted.recipe.name)
    else:
        for recipe in recipes:
            done.append(fit(recipe))
            watch(recipe.name)
    if folder is not None:
        for fitted in done:
            _write(folder / "hardware_profiles" / "engines" / f"{fitted.recipe.name}.yaml", text_of(entry_of(fitted)))
    return done


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError(Problem(f"cannot write there: {error.strerror or error}", file=str(path))) from error
