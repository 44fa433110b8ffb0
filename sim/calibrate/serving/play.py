"""Playing points: what the simulator says to each of their metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from sim import catalog, cost
from sim.calibrate.serving.library import Library, NotCoveredError
from sim.calibrate.serving.predictions import is_saturated, metrics, one_step
from sim.calibrate.serving.rows import Point
from sim.calibrate.serving.scenarios import Plan, plan_of, pool_of
from sim.calibrate.serving.setup import Setup, make_setup
from sim.cost import Profile
from sim.cost.kernels import Kernels
from sim.errors import CapacityError, SpecError
from sim.fleet.build import Pools, build
from sim.fleet.run import Records, play_records
from sim.plane.owner import Table
from sim.spec import Scenario
from sim.spec.bed import Setting
from sim.spec.engine import EngineSpec
from sim.spec.evidence import Fold
from sim.spec.sourced import Sourced

LONGEST_TOKENS = 1 << 18
"""Context that a played model takes at least: what was measured did run, however long its text."""
MOST_MEMORY_FRAC = 0.99
"""Share of a GPU's memory that is taken where the engine's default leaves no room for what was measured."""
MOST_PROFILES = 16
"""Profiles kept: points of a sweep come one after the other."""


@dataclass(frozen=True)
class Outcome:
    """What was predicted of a point."""

    predicted: dict[str, float] = field(default_factory=dict)
    """Value by metric, times in ms; empty where the point is not covered."""
    held_out: dict[str, float] = field(default_factory=dict)
    """The same under coefficients fitted without the point's curve, where the engine was fitted to it."""
    covered: bool = False
    reason: str = ""
    """Why it is not covered; or what stands in for what."""
    saturated: bool = False
    bed: str = ""
    engine: str = ""
    """Entry of the engine's calibration."""
    gpu: str = ""
    """GPU in the catalogue."""
    is_moe: bool = False
    known: bool = True
    """Whether the simulator has a form for the model."""


class Player:
    """Plays points.

    Parameters
    ----------
    library
        Entries of the catalogue.
    engine, kernels
        Calibrations in place of the catalogue's, for every point.
    """

    def __init__(
        self, library: Library | None = None, engine: EngineSpec | None = None, kernels: Kernels | None = None
    ) -> None:
        self.library = library or Library()
        self._engine, self._kernels = engine, kernels
        self._profiles: dict[tuple[str, str], Profile] = {}

    def outcome(self, point: Point, settings: Mapping[str, Setting] | None = None) -> Outcome:
        """Predict a point; `settings` of the pool take the place of the bed's."""
        try:
            setup = make_setup(point, settings, self.library)
        except NotCoveredError as error:
            return Outcome(reason=str(error), known=error.known)
        told = Outcome(bed=setup.bed, engine=f"{setup.pool.engine}-{setup.gpu}", gpu=setup.gpu)
        try:
            engine = self.engine_of(setup)
            predicted, saturated = self.predict(setup, engine)
            held_out = self._held_out(point, settings, engine)
        except CapacityError:
            return replace(told, reason="the simulator finds no room for it in the memory")
        except SpecError as error:
            return replace(told, reason=error.problems[0].message)
        is_moe = self.library.model(str(setup.pool.model)).is_moe
        return replace(
            told,
            predicted=predicted,
            held_out=held_out,
            covered=True,
            reason=setup.note,
            saturated=saturated,
            is_moe=is_moe,
        )

    def engine_of(self, setup: Setup) -> EngineSpec:
        """Return the calibration that a setup is played with."""
        return self._engine or self.library.engine(setup.pool.engine, setup.gpu)

    def scenario(self, point: Point) -> Scenario:
        """Return the scenario that a point is played as; raises NotCoveredError, CapacityError, SpecError."""
        setup = make_setup(point, library=self.library)
        return plan_of(setup, self.profile(setup, self.engine_of(setup))).scenario

    def profile(self, setup: Setup, engine: EngineSpec, variant: str = "") -> Profile:
        """Return the profile of a setup's replica; calibrations of one name are told apart by their `variant`."""
        key = (pool_of(setup).digest, variant)
        if key not in self._profiles:
            while len(self._profiles) >= MOST_PROFILES:
                del self._profiles[next(iter(self._profiles))]
            self._profiles[key] = compile_setup(setup, engine, self._kernels, self.library)
        return self._profiles[key]

    def predict(self, setup: Setup, engine: EngineSpec, variant: str = "") -> tuple[dict[str, float], bool]:
        """Return the metrics of a setup, and whether it is saturated."""
        predicted, saturated = predict(setup, self.profile(setup, engine, variant))
        tdp_w = float(self.library.gpu(setup.gpu).tdp_w) * setup.pool.num_gpus_per_replica
        shares = {
            f"{name}_power_frac_tdp": predicted[f"{name}_power_all_gpus"] / tdp_w
            for name in ("avg", "peak")
            if f"{name}_power_all_gpus" in predicted
        }
        return predicted | shares, saturated

    def _held_out(self, point: Point, settings: Mapping[str, Setting] | None, engine: EngineSpec) -> dict[str, float]:
        """Return what coefficients that never saw the point's curve say."""
        fold = fold_of(engine, point.group_id)
        if fold is None:
            return {}
        chosen: dict[str, Setting] = {name: _whole(value) for name, value in fold.settings.items()}
        setup = make_setup(point, chosen | dict(settings or {}), self.library)
        predicted, _ = self.predict(setup, engine.with_values(fold.coefficients), fold.curves[0])
        return predicted


def compile_setup(
    setup: Setup, engine: EngineSpec | None = None, kernels: Kernels | None = None, library: Library | None = None
) -> Profile:
    """Return the profile of a setup's replica; raises as `sim.cost.compile` does.

    What was measured did run: so text, node and memory were large enough for it.
    """
    library, pool = library or Library(), pool_of(setup)
    model, gpu = library.model(str(pool.model)), library.gpu(setup.gpu)
    longest = max(model.max_position_embeddings, LONGEST_TOKENS)
    model = model.model_copy(update={"max_position_embeddings": longest})
    if pool.tensor_parallel_size > gpu.gpus_per_node:
        node = Sourced(pool.tensor_parallel_size, "the GPUs of a replica that was measured", "assumed")
        gpu = gpu.model_copy(update={"gpus_per_node": node})
    try:
        return cost.compile_pool(pool, model, gpu, engine, kernels)
    except CapacityError:
        whole = pool.model_copy(update={"gpu_memory_utilization": MOST_MEMORY_FRAC})
        return cost.compile_pool(whole, model, gpu, engine, kernels)


def predict(setup: Setup, profile: Profile) -> tuple[dict[str, float], bool]:
    """Return the metrics of a setup on a profile, and whether the fleet is saturated."""
    if setup.kind == "decode_step":
        return one_step(setup, profile), False
    plan = plan_of(setup, profile)
    records = records_of(setup, profile, plan)
    return metrics(setup, profile, plan, records), is_saturated(setup, profile, records)


def records_of(setup: Setup, profile: Profile, plan: Plan, log: Callable[[Table], None] | None = None) -> Records:
    """Return what a plan leaves when it is played; `log` takes its log of steps, where it is wanted."""
    names, price = plan.scenario.fleet.pools, Sourced(1.0, "not asked for", "assumed")
    gpu = catalog.load_gpu(setup.gpu)
    pools = Pools(dict.fromkeys(names, profile), dict.fromkeys(names, gpu), dict.fromkeys(names, price))
    return play_records(build(plan.scenario, pools), log)


def fold_of(engine: EngineSpec, curve: str) -> Fold | None:
    """Return the fold in which a curve was held out, if the engine was fitted to it."""
    folds = engine.evidence.folds if engine.evidence is not None else ()
    return next((fold for fold in folds if curve in fold.curves), None)


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else value


def play(
    point: Point,
    engine: EngineSpec | None = None,
    kernels: Kernels | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> Outcome:
    """Predict one point, with other calibrations or settings than the catalogue's where they are given."""
    return Player(None, engine, kernels).outcome(point, settings)
