"""A Lifecycle's stages, one after the other, and what a release costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sim.lifecycle import alignment, architecture, compression, context, data, evaluation, pretraining, safety
from sim.lifecycle.figures import Figure, Stage, computed, stated
from sim.lifecycle.plan import Plan
from sim.spec.lifecycle import Lifecycle
from sim.spec.model import ModelSpec


@dataclass(frozen=True)
class Stages:
    """What a lifecycle comes to."""

    spec: Lifecycle
    model: ModelSpec
    """The model that its choices make; `sim.compile` takes it."""
    stages: tuple[Stage, ...]

    def __getitem__(self, name: str) -> Stage:
        """Return a stage by name; KeyError where there is none."""
        found = {stage.name: stage for stage in self.stages}
        if name not in found:
            raise KeyError(f"no stage {name!r}; there are {', '.join(found)}")
        return found[name]

    def __iter__(self) -> Iterator[Stage]:
        """Yield the stages in order."""
        return iter(self.stages)

    @property
    def development_usd(self) -> Figure:
        """What one release costs before anybody is served [USD]."""
        return self["release"]["development"]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "name": self.spec.name,
            "description": self.spec.description,
            "digest": self.spec.digest,
            "model": self.model.to_dict(),
            "stages": [
                {"name": stage.name, "title": stage.title, "figures": [figure.to_dict() for figure in stage.figures]}
                for stage in self.stages
            ],
        }


def stages_of(spec: Lifecycle) -> Stages:
    """Return every stage of a lifecycle with its figures.

    Raises
    ------
    SpecError
        No plausible shape, or something it names that does not exist.
    """
    plan = Plan(spec)
    tokens = pretraining.training_tokens(plan).number
    hours = pretraining.gpu_hours(plan, tokens).number
    training = pretraining.stage(plan, tokens, hours)
    flops = training["compute"].value
    found = (
        data.stage(plan, tokens),
        architecture.stage(plan),
        pretraining.scaling_stage(plan, hours),
        training,
        context.uptraining_stage(plan, hours),
        context.context_stage(plan),
        alignment.stage(plan, flops),
        compression.stage(plan, tokens),
        safety.stage(plan, flops),
        evaluation.stage(plan),
    )
    stages = tuple(stage for stage in found if stage is not None)
    return Stages(spec, plan.model, (*stages, _release(spec, stages)))


def _release(spec: Lifecycle, stages: tuple[Stage, ...]) -> Stage:
    """Return what the stages add up to, by release, month and life."""
    bills = [
        stage[name]
        for stage in stages
        for name in ("dollars", "all: dollars")
        if name in stage and stage[name].value > 0.0
    ]
    titles = [
        stage.name
        for stage in stages
        for name in ("dollars", "all: dollars")
        if name in stage and stage[name].value > 0.0
    ]
    parts = tuple(
        Figure(
            f"{title}: part",
            bill.value / sum(other.value for other in bills),
            "of development",
            "computed: dollars / sum",
        )
        for title, bill in zip(titles, bills, strict=True)
    )
    development = computed(
        "development", "USD", "sum of the stages", lambda *usd: float(sum(usd)), *(bill.number for bill in bills)
    )
    release, serving = spec.release, spec.serving
    figures = [
        development,
        *parts,
        stated("cadence", release.cadence_months, "months"),
        stated("life", release.life_months, "months"),
        computed(
            "development a month", "USD/month", "development / cadence", lambda usd, every: usd / every,
            development.number, release.cadence_months,
        ),
        computed(
            "releases served at once", "1", "life / cadence", lambda life, every: life / every,
            release.life_months, release.cadence_months,
        ),
    ]  # fmt: skip
    if serving.usd_per_month > 0:
        figures += [
            stated("serving a month", serving.usd_per_month, "USD/month"),
            computed(
                "cost of ownership", "USD", "development + life x serving a month",
                lambda usd, life, month: usd + life * month,
                development.number, release.life_months, serving.usd_per_month,
            ),
        ]  # fmt: skip
    return Stage("release", "Release", tuple(figures))
