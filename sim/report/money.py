"""The money of a report: the ledger, what was paid for what, and what it brings in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sim.report import text
from sim.report.panel import Table


def ledger(result: Mapping[str, Any]) -> Table:
    """Return the bill, a row a contract; its sum is the run's cost."""
    cost = result["sim"]["cost"]
    rows = [
        (
            f"{line['pool']}, {text.words(line['contract'])}",
            text.number(line["gpu_hours"]),
            text.number(line["paid_gpu_hours"]),
            text.usd(line["usd_per_gpu_hour"]),
            text.number(line["paid_kwh"]),
            text.usd(line["usd"]),
        )
        for line in cost["ledger"]
    ]
    header = ("", "GPU hours", "GPU hours paid", "price of a GPU hour", "kWh paid apart", "cost")
    return Table(header, (*rows, ("all", "", "", "", "", text.usd(cost["total_usd"]))))


def spent_on(result: Mapping[str, Any]) -> Table:
    """Return what each tier's cost was spent on, a column a tier; lost work and retries are parts of the same sum."""
    tiers = result["sim"]["by_tier"]
    features = dict.fromkeys(name for tier in tiers.values() for name in tier["by_feature"])
    spent = [tier["by_feature"] for tier in tiers.values()]
    rows = [(text.words(name), *(text.usd(of.get(name)) for of in spent)) for name in features]
    named = {
        "cost_usd": "all",
        "wasted_cost_usd": "of which on requests that were not completed",
        "retry_cost_usd": "of which on further attempts",
    }
    rows += [(said, *(text.usd(tier[key]) for tier in tiers.values())) for key, said in named.items()]
    return Table(("", *tiers), tuple(rows))


def margins(result: Mapping[str, Any]) -> Table | None:
    """Return revenue, margin and yardsticks, a column a tier and one for all; None where there are none."""
    groups = {**result["sim"]["by_tier"], "all": result["sim"]["cost"]}
    shown = {
        "subscriptions_usd": ("subscriptions", text.usd),
        "tokens_usd": ("tokens", text.usd),
        "revenue_usd": ("revenue", text.usd),
        "margin_usd": ("margin", text.usd),
        "margin_frac": ("margin over revenue", text.percent),
    }
    rows = [
        (said, *(show(group.get(key)) for group in groups.values()))
        for key, (said, show) in shown.items()
        if any(group.get(key) is not None for group in groups.values())
    ]
    rows += [
        (f"the same tokens at {name}", *(text.usd(group["yardstick_usd"][name]) for group in groups.values()))
        for name in groups["all"].get("yardstick_usd", {})
    ]
    return Table(("", *groups), tuple(rows)) if rows else None


def emissions(result: Mapping[str, Any]) -> Table | None:
    """Return energy and carbon of the pools whose sites are known, a row a pool; None where none is."""
    rows = tuple(
        (name, pool["site"], *(text.number(pool[key]) for key in ("energy_kwh", "facility_kwh", "carbon_kg")))
        for name, pool in result["sim"]["by_pool"].items()
        if "site" in pool
    )
    return Table(("", "site", "GPUs [kWh]", "facility [kWh]", "carbon [kg CO2e]"), rows) if rows else None


def in_short(result: Mapping[str, Any]) -> str | None:
    """Return revenue, margin and carbon as a sentence, as far as they are known; None where nothing is."""
    cost, energy = result["sim"]["cost"], result["sim"]["energy"]
    said = []
    if "revenue_usd" in cost:
        said.append(f"Revenue: {text.usd(cost['revenue_usd'])}, margin {text.percent(cost['margin_frac'])}.")
    if "carbon_kg" in energy:
        said.append(f"Carbon: {text.number(energy['carbon_kg'])} kg CO2e of {text.number(energy['facility_kwh'])} kWh.")
    return " ".join(said) or None
