"""From what a scenario says of money to what its plane and its metrics need: prices, contracts, sites, features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sim import catalog
from sim.metrics.energy import SiteFacts
from sim.metrics.groups import ContractFacts, PriceFacts
from sim.spec import Scenario
from sim.spec.money import COMMITTED, TierPrice
from sim.spec.sourced import Sourced
from sim.spec.visit import Visit

CHECKS = ("input_check", "output_check")
"""What the cost of a classifier is booked as, before the first visit that answers and behind it."""


def contracts_of(scenario: Scenario, name: str) -> tuple[ContractFacts, ...]:
    """The contracts of a pool in the order in which replicas fill them."""
    return tuple(
        ContractFacts(
            kind=contract.kind,
            usd_per_gpu_hour=float(catalog.contract_price(scenario, name, contract)),
            replicas=contract.replicas,
            is_committed=contract.kind in COMMITTED,
            pays_power=contract.kind == "owned",
        )
        for contract in scenario.contracts(name)
    )


def pool_price(scenario: Scenario, name: str) -> Sourced:
    """What an hour of one of a pool's GPUs costs, on the mean of the replicas that it starts with [USD].

    The power of owned ones is left out.

    Raises
    ------
    SpecError
        Neither the scenario nor its price book says.
    """
    contracts = scenario.contracts(name)
    if len(contracts) == 1:
        return catalog.contract_price(scenario, name, contracts[0])
    num, left, usd = scenario.pool(name).replicas, scenario.pool(name).replicas, 0.0
    for facts in contracts_of(scenario, name):
        covered = left if facts.replicas is None else min(left, facts.replicas)
        usd, left = usd + covered * facts.usd_per_gpu_hour, left - covered
    return Sourced(usd / num, f"fleet.pools.{name}.contracts: the mean of {num} replicas", "assumed")


def site_of(scenario: Scenario, name: str) -> SiteFacts | None:
    """Where a pool stands, if that is known."""
    place = scenario.pool(name).site
    if place is None:
        return None
    site = catalog.load_site(place)
    return SiteFacts(
        name=site.name,
        carbon_g_per_kwh=float(site.carbon_g_per_kwh),
        pue=float(site.pue),
        usd_per_kwh=float(site.usd_per_kwh),
        host_w_per_gpu=float(site.host_w_per_gpu),
    )


def price_of(price: TierPrice | None) -> PriceFacts | None:
    """What a tier's users pay, if that is known."""
    if price is None:
        return None
    listed = None if price.like is None else catalog.load_api_price(price.like)
    return PriceFacts(price.usd_per_user_month or 0.0, price.tokens(listed))


def features(visits: Sequence[Visit]) -> list[str]:
    """What the cost of each visit of a path is booked as: `sim.spec.visit.Visit.feature`."""
    answering = next((n for n, visit in enumerate(visits) if visit.kind not in ("classify", "delay")), len(visits))

    def usual(index: int, visit: Visit) -> str:
        if visit.kind != "classify":
            return "answer"
        return CHECKS[index >= answering]

    return [visit.feature or usual(index, visit) for index, visit in enumerate(visits)]


def safety_features(scenario: Scenario) -> tuple[str, ...]:
    """What the cost of safety is booked as: the features of all classifiers but those that decide on an answer.

    And `CHECKS`, where another visit names one of them, such as a critique.
    """
    found: dict[str, None] = {}
    for visits in scenario.fleet.paths.values():
        for visit, feature in zip(visits, features(visits), strict=True):
            if visit.feature in CHECKS or (visit.kind == "classify" and visit.escalate_frac is None):
                found[feature] = None
    return tuple(found)


def money_facts(scenario: Scenario, accounts: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """What `Groups` is told of money."""
    yardsticks = tuple(catalog.load_api_price(name) for name in scenario.money.yardsticks)
    return {"accounts": tuple(accounts), "idle": scenario.money.idle, "yardsticks": yardsticks}


def money_inputs(scenario: Scenario, prices: Mapping[str, Sourced]) -> Iterator[dict[str, Any]]:
    """Prices and sites with their sources: a line for each contract of a pool, and for each number of a site."""
    places = []
    for name in prices:
        pool = scenario.pool(name)
        for contract in scenario.contracts(name):
            price = catalog.contract_price(scenario, name, contract)
            said = f", {contract.kind}" if pool.contracts else ""
            yield {
                "name": f"{name}: price of {pool.hardware}{said}", "value": float(price), "unit": "USD/GPU-h",
                "source": f"{price.kind}: {price.source}",
            }  # fmt: skip
        places += [] if pool.site is None else [pool.site]
    for place in dict.fromkeys(places):
        site = catalog.load_site(place)
        for quantity in ("carbon_g_per_kwh", "pue", "usd_per_kwh", "host_w_per_gpu"):
            number: Sourced = getattr(site, quantity)
            value = {"name": f"{place}.{quantity}", "value": float(number)}
            yield value | {"source": f"{number.kind}: {number.source}" + (f" ({number.note})" if number.note else "")}
    for like in dict.fromkeys(scenario.money.yardsticks):
        listed = catalog.load_api_price(like)
        charges = [listed.usd_per_1m_input_tokens, listed.usd_per_1m_cached_tokens, listed.usd_per_1m_output_tokens]
        told = ", ".join(f"{usd:g}" for usd in charges)
        yield {
            "name": f"{like}: price of 1M tokens (uncached, cached, output)", "value": told, "unit": "USD",
            "source": f"{listed.date}, {listed.source}",
        }  # fmt: skip
