"""ApiPrice: what a public API charges for tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.spec.base import Spec, Text, quantity
from sim.spec.named import read_named

UsdPer1mTokens = Annotated[float, quantity("1"), Field(ge=0)]


class ApiPrice(Spec):
    """The price list of one model of a public API."""

    name: Text
    """Name that yardsticks and tiers give, e.g. `gpt-5`."""
    usd_per_1m_input_tokens: UsdPer1mTokens
    """Price of prompt tokens that no cache had [USD per 1M]."""
    usd_per_1m_cached_tokens: UsdPer1mTokens
    """Price of prompt tokens from the cache [USD per 1M]."""
    usd_per_1m_output_tokens: UsdPer1mTokens
    """Price of output tokens [USD per 1M]."""
    date: Text
    """When the prices were seen."""
    source: Text
    """Where they were read."""

    def charge_usd(self, uncached_tokens: float, cached_tokens: float, output_tokens: float) -> float:
        """Return what so many tokens cost [USD]."""
        return 1e-6 * (
            uncached_tokens * self.usd_per_1m_input_tokens
            + cached_tokens * self.usd_per_1m_cached_tokens
            + output_tokens * self.usd_per_1m_output_tokens
        )


def read_api_prices(text: str, filename: str | None = None) -> dict[str, ApiPrice]:
    """Return the price lists of a YAML text by name; raises SpecError with every problem and its line."""
    return read_named(ApiPrice, "price lists", text, filename)
