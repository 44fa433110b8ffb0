"""What a model costs over its life, served by this fleet; and the size that reaches a loss at the least such cost.

Sardana et al. (arXiv:2401.00448) count serving as 2 N FLOP a token. Here a token costs what a fleet costs that was
sized for the worst hour and played (`sim.study.sizing`): memory, batching, caches and latency targets included.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from sim.lifecycle.figures import Figure, computed
from sim.lifecycle.plan import Plan
from sim.lifecycle.pretraining import usd_to_train
from sim.lifecycle.scaling import Lifetime, lifetime, lifetime_optimum
from sim.lifecycle.stages import Stages
from sim.spec import Scenario
from sim.spec.lifecycle import Lifecycle
from sim.study.sizing import answering, size


@dataclass(frozen=True)
class Served:
    """What serving a model of some size takes."""

    parameters: float
    num_gpus: float
    usd_per_month: float
    usd_per_token: float
    """Per token read or written, those found in a cache included [USD]."""


@dataclass(frozen=True)
class TokenCost:
    """The cost of a token by parameters [USD]: a power law through what fleets cost."""

    usd: float
    """At one parameter."""
    power: float
    """2 N FLOP would give 1."""

    def __call__(self, parameters: float) -> float:
        """Return the cost of a token [USD]."""
        return float(self.usd * parameters**self.power)


@dataclass(frozen=True)
class Owned:
    """The sizes that reach one loss at the least cost, counted in three ways; dollars, with serving as simulated."""

    loss: float
    """Predicted loss of the model that was decided on [nat a token], which all reach: a proxy of quality."""
    demand_tokens: float
    """Tokens over the life."""
    token: TokenCost
    decided: Lifetime
    """What was decided on."""
    by_training: Lifetime
    """Least cost of training alone."""
    by_flops: Lifetime
    """Least 6 N D + 2 N FLOP a token served."""
    by_fleet: Lifetime
    """Least cost of training, and of serving as simulated."""


def model_file(spec: Lifecycle, folder: Path) -> str:
    """Write the model that a lifecycle's choices make; return the file, which a scenario takes for a model's name."""
    path = folder / f"{spec.name}.yaml"
    path.write_text(yaml.safe_dump(Plan(spec).model.to_dict()), encoding="utf-8")
    return str(path)


def served(
    spec: Lifecycle, scenario: Scenario, sizes: Sequence[float], *, scale: float, peak_factor: float, target: float
) -> Iterator[Served]:
    """Yield what models like a lifecycle's, of several sizes, take in a scenario's fleet, sized for its worst hour.

    Parameters
    ----------
    spec
        Says what the models are like.
    scenario
        Of a population, at full size.
    sizes
        Parameters of each model.
    scale, peak_factor, target
        See `sim.study.sizing.size`.

    Raises
    ------
    SpecError
        No plausible shape, or a lifecycle whose model is one of the catalogue.
    CapacityError
        A model does not fit its GPUs, or no fleet carries it.
    """
    for parameters in sizes:
        variant = spec.replace("architecture.parameters", parameters)
        with tempfile.TemporaryDirectory() as folder:
            sized = size(
                scenario.replace("model", model_file(variant, Path(folder))),
                answering(scenario),
                scale=scale,
                peak_factor=peak_factor,
                target=target,
            )
        tokens = sized.run.result["total_input_tokens"] + sized.run.result["total_output_tokens"]
        yield Served(parameters, sized.num_gpus, sized.usd_per_month, sized.usd_per_month / sized.per_month(tokens))


def cost_of_token(points: Sequence[Served]) -> TokenCost:
    """The power law through two points or more, by least squares of logarithms: replicas are whole, so points jump."""
    x = [math.log(point.parameters) for point in points]
    y = [math.log(point.usd_per_token) for point in points]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    power = covariance / math.fsum((a - mean_x) ** 2 for a in x)
    return TokenCost(math.exp(mean_y - power * mean_x), power)


def optimum(plan: Plan, tokens: float, demand_tokens: float, token: TokenCost) -> Owned:
    """The inference-aware optimum.

    Parameters
    ----------
    plan
        The lifecycle.
    tokens
        Training tokens that were decided on.
    demand_tokens
        Tokens that will be read and written for users.
    token
        What serving one costs.
    """
    law, decided = plan.law, float(plan.loss_parameters)
    loss = law.loss(decided, tokens)
    train = partial(usd_to_train, plan)

    def life(parameters: float) -> Lifetime:
        return lifetime(law, loss, parameters, demand_tokens, token, train)

    return Owned(
        loss,
        demand_tokens,
        token,
        decided=life(decided),
        by_training=life(law.optimum_of_loss(loss)[0]),
        by_flops=life(lifetime_optimum(law, loss, demand_tokens).parameters),
        by_fleet=lifetime_optimum(law, loss, demand_tokens, token, train),
    )


def lifetime_usd(stages: Stages, usd_per_month: float) -> Figure:
    """Cost of ownership of a release: developing it, and serving it for its life [USD]."""
    return computed(
        "cost of ownership", "USD", "development + life x serving a month",
        lambda usd, life: usd + life * usd_per_month,
        stages.development_usd.number, stages.spec.release.life_months,
    )  # fmt: skip


def study(
    stages: Stages, scenario: Scenario, sizes: Sequence[float], *, scale: float, peak_factor: float, target: float
) -> tuple[list[Served], Owned]:
    """Serve models of several sizes, and find the optimum; parameters as in `served`."""
    spec = stages.spec
    points = list(served(spec, scenario, sizes, scale=scale, peak_factor=peak_factor, target=target))
    # As many tokens are asked of each; what is played of them differs a little.
    demand = float(spec.release.life_months) * points[0].usd_per_month / points[0].usd_per_token
    tokens = stages["pretraining"]["training tokens"].value
    return points, optimum(Plan(spec), tokens, demand, cost_of_token(points))


def summary(points: Sequence[Served], owned: Owned) -> Mapping[str, object]:
    """Both as plain data."""
    ways = {way: getattr(owned, way) for way in ("decided", "by_training", "by_flops", "by_fleet")}
    return {
        "points": [vars(point) for point in points],
        "loss": owned.loss,
        "demand_tokens": owned.demand_tokens,
        "token": vars(owned.token),
        **{way: vars(life) | {"total": life.total} for way, life in ways.items()},
    }
