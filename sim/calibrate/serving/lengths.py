"""How long the prompts and answers of a point are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from sim import catalog
from sim.calibrate.serving.beds import first_of
from sim.spec import TokenDistribution
from sim.spec.bed import Client
from sim.traffic.lengths import quantile_table, table_mean


def prompts_of(model: str, stated: str, client: Client) -> TokenDistribution | None:
    """Return the prompt lengths of a point; None where they cannot be told."""
    where = f"{model} {stated}"
    mean = _mean(stated, client.stated_isl, where, client.isl_factor)
    if mean is None:
        return None
    name = first_of(client.prompts, where)
    return _spread(mean, client) if name is None else _from_table(name, mean)


def answers_of(model: str, stated: str, client: Client) -> TokenDistribution | None:
    """Return the answer lengths of a point; None where they cannot be told."""
    where = f"{model} {stated}"
    mean = _mean(stated, client.stated_osl, where)
    if mean is None:
        return None
    name, deviation = first_of(client.answers, where), first_of(client.answer_deviation_frac, where)
    if name is not None:
        return _from_table(name, mean)
    cap = first_of(client.answer_cap, where)
    if cap is not None and mean < cap:
        return TokenDistribution(distribution_type="uniform", min=max(1.0, 2.0 * mean - cap), max=float(cap))
    if deviation and mean > 1.0:
        deviation *= client.answer_deviation_factor
        return TokenDistribution(
            distribution_type="lognormal", mean=mean, standard_deviation=deviation * mean, min=1.0, max=20.0 * mean
        )
    return _spread(mean, client)


@cache
def _mean_of(prompts: str) -> float:
    return float(catalog.load_percentile_table(prompts).mean)


def _mean(stated: str, known: Mapping[str, float], where: str, factor: float = 1.0) -> float | None:
    """Return the mean that a column states, or else the bed, times a factor [tokens]."""
    try:
        return max(1.0, float(stated))
    except ValueError:
        assumed = first_of(known, where)
        return None if assumed is None else factor * assumed


def constant(tokens: float) -> TokenDistribution:
    """Return lengths that are all equal."""
    return TokenDistribution(distribution_type="constant", mean=float(round(tokens)))


def _spread(mean: float, client: Client) -> TokenDistribution:
    """Return equal lengths, or those between a share of the stated one and the whole."""
    shortest = client.shortest_length_frac
    if shortest == 1.0 or mean < 2.0:
        return constant(mean)
    return TokenDistribution(distribution_type="uniform", min=round(shortest * mean), max=mean)


def _from_table(name: str, mean: float) -> TokenDistribution:
    """Return a table of the workload data, stretched to a mean."""
    points = catalog.load_percentile_table(name).percentiles
    factor = mean / _mean_of(name)
    stretched = {percent: max(1.0, value * factor) for percent, value in points.items()}
    return TokenDistribution(distribution_type="percentiles", percentiles=stretched)


def mean_tokens(lengths: TokenDistribution) -> float:
    """Return the mean of the whole numbers drawn [tokens]."""
    return table_mean(quantile_table(lengths, whole=True))


def longest_tokens(lengths: TokenDistribution) -> int:
    """Return the longest length that can be drawn [tokens]."""
    return int(quantile_table(lengths, whole=True)[-1] + 0.5)
