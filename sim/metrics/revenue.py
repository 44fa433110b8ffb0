"""What users pay, and what public APIs would charge for the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sim.metrics import blocks
from sim.metrics.collector import Collector
from sim.metrics.groups import PriceFacts
from sim.metrics.statistics import ratio
from sim.spec.api_prices import ApiPrice


def charged_usd(price: ApiPrice, collector: Collector, cells: blocks.Cells) -> float:
    """Return what a price list charges for completed requests [USD]; prompt tokens from the cache have their own."""
    totals = blocks.tokens(collector, cells)
    cached = totals["prefix_cache_hit_tokens"]
    return price.charge_usd(totals["total_input_tokens"] - cached, cached, totals["total_output_tokens"])


def margin(price: PriceFacts | None, user_months: float, tokens_usd: float, cost_usd: float) -> dict[str, Any]:
    """Return revenue and what is left of it; nothing where no price is known.

    Parameters
    ----------
    price
        What the tier's users pay.
    user_months
        Monthly users times the measured months.
    tokens_usd
        What the tier's tokens are charged [USD].
    cost_usd
        What the tier costs [USD].
    """
    if price is None:
        return {}
    subscriptions_usd = price.usd_per_user_month * user_months
    revenue_usd = subscriptions_usd + tokens_usd
    return {
        "subscriptions_usd": subscriptions_usd,
        "tokens_usd": tokens_usd,
        "revenue_usd": revenue_usd,
        "margin_usd": revenue_usd - cost_usd,
        "margin_frac": ratio(revenue_usd - cost_usd, revenue_usd),
    }


def yardsticks(
    prices: Sequence[ApiPrice], collector: Collector, cells: blocks.Cells, cost_usd: float
) -> dict[str, Any]:
    """Return what each public price list would charge for the same tokens, and that over our cost."""
    if not prices:
        return {}
    charged = {price.name: charged_usd(price, collector, cells) for price in prices}
    return {
        "yardstick_usd": charged,
        "yardstick_factor": {name: ratio(usd, cost_usd) for name, usd in charged.items()},
    }
