"""What capacity costs under contracts, what people pay, and how idle time is shared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from sim.spec.api_prices import ApiPrice, UsdPer1mTokens
from sim.spec.base import NonNegativeNumber, PositiveInt, Spec, Text, UsdPerHour

COMMITTED = ("reserved", "owned")
"""Contracts that are paid for whether their replicas run or not."""


class Contract(Spec):
    """Terms under which some of a pool's replicas are had."""

    kind: Literal["on_demand", "reserved", "spot", "owned"]
    """on_demand: by the hour. reserved: cheaper, and paid whether it runs or not. spot: cheapest, and may be taken back
    (when, and what then, is the fleet's matter, not the bill's). owned: the capital over its life and its place,
    whether it runs or not, and the power it takes at the site's price."""
    replicas: Annotated[PositiveInt, Field(le=100_000)] | None = None
    """How many replicas it covers. Default: all that the contracts before it leave; of reserved and owned ones only
    those that run are then paid."""
    usd_per_gpu_hour: UsdPerHour | None = None
    """Price [USD/h] of one GPU; of an owned one, all but its power. Default: the scenario's price book."""


class TierPrice(Spec):
    """What users of a tier pay."""

    usd_per_user_month: NonNegativeNumber | None = None
    """Subscription of a monthly user, or what else he brings in (advertisements) [USD a month]. Default: nothing."""
    like: Text | None = None
    """Price list of a public API that holds for tokens: a name in hardware_profiles/api_prices.yaml. Default: none."""
    usd_per_1m_input_tokens: UsdPer1mTokens | None = None
    """Price of prompt tokens that no cache had [USD]. Default: that list's, else 0."""
    usd_per_1m_cached_tokens: UsdPer1mTokens | None = None
    """Price of prompt tokens from the cache [USD]. Default: that list's, else the price of other prompt tokens."""
    usd_per_1m_output_tokens: UsdPer1mTokens | None = None
    """Price of output tokens [USD]. Default: that list's, else 0."""

    def tokens(self, listed: ApiPrice | None) -> ApiPrice:
        """Return the price list that holds for tokens, given the one that `like` names."""
        names = ("usd_per_1m_input_tokens", "usd_per_1m_cached_tokens", "usd_per_1m_output_tokens")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if listed is not None:
            return listed.model_copy(update=given)
        uncached = given.get("usd_per_1m_input_tokens", 0.0)
        prices = {"usd_per_1m_cached_tokens": uncached, "usd_per_1m_output_tokens": 0.0, **given}
        return ApiPrice(name="tier", date="-", source="the scenario", **{**prices, "usd_per_1m_input_tokens": uncached})


class Money(Spec):
    """How the bill is drawn up and compared."""

    idle: Literal["use", "peak", "none"] = "use"
    """Who carries a pool's idle time. use: its users by what they use of it. peak: its users by what they use in its
    busiest hour, for whom it is that large. none: nobody; it stays the fleet's own. Default use."""
    level: Literal["low", "mid", "high"] = "mid"
    """Which on-demand price of the price book. Default mid."""
    site: Text | None = None
    """Where the pools stand that say no `site`: a name in hardware_profiles/sites.yaml. Default: not known, so there is
    no carbon."""
    yardsticks: tuple[Text, ...] = ()
    """Public price lists that the same tokens are priced with: names in hardware_profiles/api_prices.yaml. Default:
    none."""


ON_DEMAND = Contract(kind="on_demand")
"""The contract of a pool that names none, and of what runs beyond those that it names."""


def contract_problems(contracts: Sequence[Contract]) -> Iterator[tuple[str, str]]:
    """Yield contracts behind one that takes all replicas."""
    for index, contract in enumerate(contracts[:-1]):
        if contract.replicas is None:
            why = "without it this contract covers all replicas, and those after it none"
            yield f"contracts.{index}.replicas", f"missing: {why}"
