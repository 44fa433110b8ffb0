"""What a model costs over its life, served by this fleet; and the size that reaches a loss at the least such cost.

Sardana et al. (arXiv:2401.00448) count serving as 2 N FLOP a token. Here a token costs what a fleet costs that was
sized for the worst hour and played (`sim.study.sizing`): memory, batching, caches and latency targets included.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sim.lifecycle.figures import Figure, computed
from sim.lifecycle.plan import Plan
from sim.lifecycle.scaling import Lifetime, lifetime, lifetime_optimum, training_flops
from sim.lifecycle.stages import Stages
from sim.spec import Scenario
from sim.spec.lifecycle import Lifecycle
from sim.study.echo import MONTH_S, answering
from sim.study.sizing import people_of, size

DAY_S = 86_400.0
ROUND_PARAMETERS = 1e8
"""Sizes of models are rounded to so many parameters, which is less than their shapes can hit."""


@dataclass(frozen=True)
class Served:
    """What serving a model of some size takes."""

    parameters: float
    num_gpus: float
    usd_per_month: float
    usd_per_token: float
    """Per token read or written, those found in a cache included [USD]."""


def models_of(spec: Lifecycle, sizes: Sequence[float], folder: Path) -> Iterator[tuple[float, str]]:
    """Yield models like a lifecycle's, of other sizes: number of parameters, and the file that says what it is."""
    wishes = spec.architecture
    for parameters in sizes:
        asked = round(parameters / ROUND_PARAMETERS) * ROUND_PARAMETERS
        told = {
            "name": f"{spec.name}-{asked / 1e9:g}b",
            "parameters": int(asked),
            "attention": wishes.attention,
            "num_key_value_heads": wishes.num_key_value_heads,
            "vocab_size": wishes.vocab_size,
            "max_position_embeddings": wishes.max_position_embeddings,
            "source": "assumed: as its lifecycle says, of another size",
        }
        path = folder / f"{told['name']}.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in told.items() if value is not None}))
        yield asked, str(path)


def served(
    scenario: Scenario,
    models: Iterator[tuple[float, str]],
    *,
    scale: float,
    peak_factor: float,
    target: float,
) -> Iterator[Served]:
    """Yield what each model takes in a scenario's fleet, sized for its worst hour.

    Parameters
    ----------
    scenario
        Of a population, at full size.
    models
        Numbers of parameters, and names or files of models.
    scale, peak_factor, target
        See `sim.study.sizing.size`.

    Raises
    ------
    CapacityError
        A model does not fit its GPUs, or no fleet carries it.
    """
    for parameters, model in models:
        sized = size(
            scenario.replace("model", model),
            answering(scenario),
            scale=scale,
            peak_factor=peak_factor,
            target=target,
        )
        result, full, at_peak = sized.run.result, people_of(scenario), people_of(sized.scenario)
        tokens = result["total_input_tokens"] + result["total_output_tokens"]
        tokens_per_s = tokens / result["duration"] * full.monthly_users / at_peak.monthly_users
        yield Served(
            parameters,
            sized.num_gpus,
            sized.usd_per_hour * MONTH_S / 3600.0,
            sized.usd_per_hour / 3600.0 / tokens_per_s,
        )


def cost_of_token(points: Sequence[Served]) -> Callable[[float], float]:
    """The cost of a token by parameters [USD]: a power law through the points, by least squares of logarithms.

    GPUs come in whole replicas, so single points jump; between sizes 2 N FLOP would give the power 1.
    """
    x = [math.log(point.parameters) for point in points]
    y = [math.log(point.usd_per_token) for point in points]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    power = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / math.fsum(
        (a - mean_x) ** 2 for a in x
    )
    return lambda parameters: math.exp(mean_y + power * (math.log(parameters) - mean_x))


@dataclass(frozen=True)
class Owned:
    """The sizes that reach one loss at the least cost, counted in three ways."""

    loss: float
    """Predicted loss of the model that was decided on [nat a token], which all reach: a proxy of quality."""
    demand_tokens: float
    """Tokens over the life."""
    decided: Lifetime
    """What was decided on [USD]."""
    by_training: Lifetime
    """Least cost of training alone; its dollars with serving as simulated."""
    by_flops: Lifetime
    """Least 6 N D + 2 N FLOP a token served; its dollars."""
    by_fleet: Lifetime
    """Least cost of training, and of serving as simulated."""
    power: float
    """How the simulated cost of a token grows with the parameters."""


def optimum(plan: Plan, tokens: float, demand_tokens: float, points: Sequence[Served]) -> Owned:
    """The inference-aware optimum.

    Parameters
    ----------
    plan
        The lifecycle.
    tokens
        Training tokens that were decided on.
    demand_tokens
        Tokens that will be read and written for users.
    points
        What serving takes, at two sizes at least.
    """
    law, rented = plan.law, plan.pretraining
    usd_per_flop = float(rented.usd_per_gpu_hour) * rented.hours(1.0, float(rented.mfu))
    serve = cost_of_token(points)

    def train(parameters: float, trained_tokens: float) -> float:
        return usd_per_flop * training_flops(parameters, trained_tokens)

    decided = float(plan.loss_parameters)
    loss = law.loss(decided, tokens)
    by_flops = lifetime_optimum(law, loss, demand_tokens).parameters
    by_training = law.optimum_of_loss(loss)[0]
    return Owned(
        loss=loss,
        demand_tokens=demand_tokens,
        decided=lifetime(law, loss, decided, demand_tokens, serve, train),
        by_training=lifetime(law, loss, by_training, demand_tokens, serve, train),
        by_flops=lifetime(law, loss, by_flops, demand_tokens, serve, train),
        by_fleet=lifetime_optimum(law, loss, demand_tokens, serve, train),
        power=math.log(serve(2e10) / serve(1e10)) / math.log(2.0),
    )


def lifetime_usd(stages: Stages, usd_per_month: float) -> Figure:
    """Cost of ownership of a release: developing it, and serving it for its life [USD]."""
    return computed(
        "cost of ownership", "USD", "development + life x serving a month",
        lambda usd, life: usd + life * usd_per_month,
        stages.development_usd.number, stages.spec.release.life_months,
    )  # fmt: skip


def study(
    spec: Lifecycle, stages: Stages, scenario: Scenario, sizes: Sequence[float], **how: float
) -> tuple[list[Served], Owned]:
    """Serve models of several sizes, and find the optimum. `how`: scale, peak_factor and target of `size`."""
    with tempfile.TemporaryDirectory() as folder:
        points = list(served(scenario, models_of(spec, sizes, Path(folder)), **how))
    plan = Plan(spec)
    tokens = stages["pretraining"]["training tokens"].value
    at = min(points, key=lambda point: abs(math.log(point.parameters / float(plan.loss_parameters))))
    demand = at.usd_per_month / at.usd_per_token * float(spec.release.life_months)
    return points, optimum(plan, tokens, demand, points)


def summary(points: Sequence[Served], owned: Owned) -> Mapping[str, object]:
    """Both as plain data."""
    kinds = ("decided", "by_training", "by_flops", "by_fleet")
    return {
        "points": [vars(point) for point in points],
        "loss": owned.loss,
        "demand_tokens": owned.demand_tokens,
        "power": owned.power,
        **{kind: vars(getattr(owned, kind)) | {"total": getattr(owned, kind).total} for kind in kinds},
    }
