"""The money of a result: the ledger, what was paid for what, lost work, revenue, energy and carbon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics import blocks
from sim.metrics.attribution import RULES, Bill, Floats, attribute, by_account_usd, guard_seconds, idle_weights
from sim.metrics.collector import Collector
from sim.metrics.energy import carbon_kg, facility_kwh
from sim.metrics.ledger import Line, ledger
from sim.metrics.records import COMPLETED, ENDINGS, IN_FLIGHT
from sim.metrics.revenue import charged_usd, margin, yardsticks
from sim.metrics.statistics import ratio

_HOUR_S = 3600.0
LOST = [code for code in range(len(ENDINGS)) if code not in (COMPLETED, IN_FLIGHT)]
"""Endings of work that was of no use."""
_ROUNDING = 1e-9
"""Differences below this part of a total are rounding."""


@dataclass(frozen=True)
class Books:
    """A run's accounts: the bill, its lines, and by what each cell's cost was booked."""

    collector: Collector
    bill: Bill
    lines: list[Line]
    by_account_usd: Floats | None
    """Shape [cell, account]; None where the plane has booked nothing."""
    user_months: float
    """Measured time in months: what a subscriber pays for."""
    site_kwh: Floats
    """Energy of the facility around each pool [kWh], NaN where its site is not known."""
    site_kg: Floats
    """What that emits [kg CO2e]."""

    @property
    def lost_frac(self) -> Floats:
        """Part of each cell's shares that each ending has, shape [cell, ending]."""
        carried = self.collector.cost_usd
        sums = carried.sum(axis=1, keepdims=True)
        parts: Floats = np.divide(carried, sums, out=np.zeros_like(carried), where=sums > 0.0)
        return parts


def open_books(collector: Collector, timeline: NDArray[np.void], spent_s: Floats | None, user_months: float) -> Books:
    """Return the accounts of a run from its records and the measured rows of its timeline.

    `spent_s` are replica-seconds by class and account of `Groups.accounts`, as the plane booked them.
    """
    groups = collector.groups
    booked = spent_s is not None and len(groups.accounts) > 0
    bill = attribute(
        timeline,
        groups.pools,
        collector.cost_usd.sum(axis=1),
        collector.busy_s,
        collector.guard_s,
        guard_pool_s=guard_seconds(groups, spent_s, collector.busy_s, collector.guard_s)
        if spent_s is not None and booked
        else None,
        weights=idle_weights(groups, timeline, collector.hourly_arrivals),
    )
    kwh = np.array([_facility_kwh(timeline, n, collector) for n in range(len(groups.pools))])
    kg = [np.nan if p.site is None else carbon_kg(p.site, k) for p, k in zip(groups.pools, kwh, strict=True)]
    return Books(
        collector=collector,
        bill=bill,
        lines=ledger(timeline, groups.pools),
        by_account_usd=by_account_usd(groups, spent_s, bill) if spent_s is not None and booked else None,
        user_months=user_months,
        site_kwh=kwh,
        site_kg=np.array(kg),
    )


def _facility_kwh(timeline: NDArray[np.void], number: int, collector: Collector) -> float:
    pool = collector.groups.pools[number]
    rows = timeline[timeline["pool"] == number]
    if pool.site is None:
        return float("nan")
    return facility_kwh(pool.site, float(rows["energy_j"].sum()), float(rows["gpu_s"].sum()) / _HOUR_S)


def totals(books: Books) -> dict[str, Any]:
    """Return the keys of `sim.cost`."""
    bill, collector = books.bill, books.collector
    groups = collector.groups
    total, busy = float(bill.total_usd.sum()), float(bill.busy_usd.sum())
    num_output = int(collector.output_tokens[:, COMPLETED].sum())
    everyone = np.ones(len(bill.cost_usd), dtype=np.bool_)
    ended = bill.cost_usd @ books.lost_frac
    return {
        "total_usd": total,
        "busy_usd": busy,
        "idle_usd": idle_usd(total, busy),
        "unused_commitment_usd": sum(line.unused_usd for line in books.lines),
        "power_usd": sum(line.power_usd for line in books.lines),
        "carried_usd": float(bill.carried_usd.sum()),
        "spread_usd": float(bill.spread_usd.sum()),
        "not_attributed_usd": bill.not_attributed_usd,
        "usd_per_1m_output_tokens": ratio(total * 1e6, num_output),
        "usd_per_1k_requests": ratio(total * 1e3, collector.num_requests[:, COMPLETED].sum()),
        **spent_on(books, everyone),
        "by_ending": {name: float(usd) for name, usd in zip(ENDINGS, ended, strict=True) if usd > 0.0},
        **_revenue(books, total),
        **yardsticks(groups.yardsticks, collector, everyone, total),
        "ledger": [_told(line, groups.pools[line.pool].name) for line in books.lines],
        "rule": RULES[groups.idle],
    }


def idle_usd(total_usd: float, busy_usd: float) -> float:
    """Return what was not busy; 0 where the difference is but rounding."""
    rest_usd = total_usd - busy_usd
    return 0.0 if abs(rest_usd) < _ROUNDING * abs(total_usd) else rest_usd


def _told(line: Line, pool: str) -> dict[str, Any]:
    return {
        "pool": pool,
        "contract": line.contract,
        "gpu_hours": line.gpu_hours,
        "paid_gpu_hours": line.paid_gpu_hours,
        "usd_per_gpu_hour": line.usd_per_gpu_hour,
        "paid_kwh": line.kwh,
        "usd_per_kwh": line.usd_per_kwh,
        "usd": line.usd,
    }


def spent_on(books: Books, cells: blocks.Cells) -> dict[str, Any]:
    """Return what the cost of a group was spent on, idle time included: features, lost work, further attempts."""
    collector, cost_usd = books.collector, books.bill.cost_usd
    ended = cost_usd[cells] @ books.lost_frac[cells]
    carried = collector.cost_usd.sum(axis=1)
    retried = np.divide(collector.retry_cost_usd, carried, out=np.zeros_like(carried), where=carried > 0.0)
    features: dict[str, float] = {}
    if books.by_account_usd is not None:
        by_account = books.by_account_usd[cells].sum(axis=0)
        for (_, feature), usd in zip(collector.groups.accounts, by_account, strict=True):
            features[feature] = features.get(feature, 0.0) + float(usd)
    return {
        "by_feature": features,
        "wasted_cost_usd": float(ended[LOST].sum()),
        "retry_cost_usd": float(cost_usd[cells] @ retried[cells]),
    }


def of_tier(books: Books, index: int, cells: blocks.Cells) -> dict[str, Any]:
    """Return what a tier's cost was spent on, what it brings in, and what public APIs would charge for its tokens."""
    groups, collector = books.collector.groups, books.collector
    cost = float(books.bill.cost_usd[cells].sum())
    return {
        **spent_on(books, cells),
        **_tier_margin(books, index, cells, cost),
        **yardsticks(groups.yardsticks, collector, cells, cost),
    }


def _tier_margin(books: Books, index: int, cells: blocks.Cells, cost_usd: float) -> dict[str, Any]:
    tier, collector = books.collector.groups.tiers[index], books.collector
    tokens_usd = 0.0 if tier.price is None else charged_usd(tier.price.tokens, collector, cells)
    return margin(tier.price, (tier.num_users or 0.0) * books.user_months, tokens_usd, cost_usd)


def _revenue(books: Books, total_usd: float) -> dict[str, Any]:
    """Return the revenue of all tiers and what the whole bill leaves of it; nothing where no tier has a price."""
    groups = books.collector.groups
    revenue: list[float] = []
    for index in range(len(groups.tiers)):
        cells = blocks.cells_of_classes(books.collector, groups.tier_of_class == index)
        revenue += [found["revenue_usd"] for found in [_tier_margin(books, index, cells, 0.0)] if found]
    if not revenue:
        return {}
    usd = sum(revenue)
    return {"revenue_usd": usd, "margin_usd": usd - total_usd, "margin_frac": ratio(usd - total_usd, usd)}


def emissions(books: Books, cells: blocks.Cells | None = None) -> dict[str, Any]:
    """Return energy of the facilities and what it emits, of a group or of all; nothing where a site is not known."""
    used = books.bill.part_frac.sum(axis=0) > 0.0
    where = slice(None) if cells is None else used
    kwh, kg = books.site_kwh[where], books.site_kg[where]
    if not len(kwh) or np.isnan(kwh).any():
        return {}
    if cells is not None:
        parts = books.bill.part_frac[cells][:, used].sum(axis=0)
        kwh, kg = parts * kwh, parts * kg
    return {"facility_kwh": float(kwh.sum()), "carbon_kg": float(kg.sum())}


def of_pool(books: Books, index: int) -> dict[str, Any]:
    """Return the contracts' side of a pool's bill, and its site's."""
    lines = [line for line in books.lines if line.pool == index]
    site = books.collector.groups.pools[index].site
    place = {} if site is None else {
        "site": site.name,
        "facility_kwh": float(books.site_kwh[index]),
        "carbon_kg": float(books.site_kg[index]),
    }  # fmt: skip
    return {
        "unused_commitment_usd": sum(line.unused_usd for line in lines),
        "power_usd": sum(line.power_usd for line in lines),
        **place,
    }
