"""PriceBook: what GPUs cost by contract at one date, every number with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias, cast

from pydantic import Field

from sim.errors import SpecError, did_you_mean
from sim.spec.base import Spec, Text
from sim.spec.money import Contract
from sim.spec.named import read_named
from sim.spec.sourced import Sourced, sourced

Level: TypeAlias = Literal["low", "mid", "high"]
"""Which of three prices: a cheap offer, the one to plan with, a dear offer."""
HOURS_PER_YEAR = 8766.0
"""365.25 days."""

_Usd = Annotated[Sourced, sourced("USD")]
_UsdPerHour = Annotated[Sourced, sourced("USD/h")]
_Factor = Annotated[Sourced, sourced("1")]
_Part = Annotated[Sourced, sourced("1", zero=True)]


class PriceRange(Spec):
    """What one GPU rents for: a low, a middle and a high price."""

    low: _UsdPerHour
    """Cheap offer [USD per GPU-hour]."""
    mid: _UsdPerHour
    """Price to plan with [USD per GPU-hour]."""
    high: _UsdPerHour
    """Dear offer [USD per GPU-hour]."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the rules between fields that are broken."""
        if not self.low <= self.mid <= self.high:
            yield "", f"low <= mid <= high must hold, got {self.low:g}, {self.mid:g}, {self.high:g}"


class Ownership(Spec):
    """What a GPU of one's own costs, but for its power: the capital over its life, and its place."""

    capital_usd: _Usd
    """Price of one GPU with its part of the server and the network [USD]."""
    life_years: _Factor
    """Years over which the capital is paid back."""
    residual_frac: _Part
    """Part of the capital that it sells for at the end."""
    interest_frac_per_year: _Part
    """What the capital costs a year, as a part of it."""
    hosting_usd_per_gpu_hour: _UsdPerHour
    """Space, cooling plant and hands, power left out [USD per GPU-hour]."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a residual that is no part."""
        if self.residual_frac > 1.0:
            yield "residual_frac", f"must be <= 1, got {self.residual_frac:g}"

    @property
    def usd_per_gpu_hour(self) -> float:
        """Price of an hour, power left out [USD]: an annuity on the capital, and the place.

        (C - R / (1 + r)^n) r / (1 - (1 + r)^-n) a year, with r = 0: (C - R) / n. The capital recovery factor, e.g.
        Park, Contemporary Engineering Economics.
        """
        r, n, capital = float(self.interest_frac_per_year), float(self.life_years), float(self.capital_usd)
        later = (1.0 + r) ** -n
        lost_usd = capital * (1.0 - float(self.residual_frac) * later)
        year_usd = lost_usd * (r / (1.0 - later) if r > 0.0 else 1.0 / n)
        return float(year_usd / HOURS_PER_YEAR + self.hosting_usd_per_gpu_hour)


class PriceBook(Spec):
    """Prices of GPUs at one date."""

    name: Text
    """Name that a scenario's `prices` gives, e.g. `2026`."""
    date: Text
    """When the prices were seen, e.g. `2026-05`."""
    note: Text = ""
    """How low, mid and high were chosen."""
    usd_per_gpu_hour: dict[str, PriceRange] = Field(min_length=1)
    """On-demand prices by GPU name [USD per GPU-hour]."""
    reserved_factor: _Factor | None = None
    """Price of reserved capacity over that on demand. Default: the book has none."""
    spot_factor: _Factor | None = None
    """Price of spot capacity over that on demand. Default: the book has none."""
    owned: dict[str, Ownership] = Field(default_factory=dict)
    """What GPUs of one's own cost, by GPU name. Default: the book has none."""

    def price(self, gpu: str, level: Level = "mid") -> Sourced:
        """Return the on-demand price of a GPU.

        Parameters
        ----------
        gpu
            Name of the GPU in the catalogue.
        level
            Which of the three prices.

        Returns
        -------
        Sourced
            Price [USD per GPU-hour].

        Raises
        ------
        SpecError
            The book has no price for this GPU.
        """
        if gpu not in self.usd_per_gpu_hour:
            hint = did_you_mean(gpu, self.usd_per_gpu_hour)
            raise SpecError(f'price book "{self.name}": no {gpu}. {hint} Or give the pool its usd_per_gpu_hour.')
        return cast("Sourced", getattr(self.usd_per_gpu_hour[gpu], level))

    def factor(self, contract: Literal["reserved", "spot"]) -> Sourced:
        """Return the price under a contract over that on demand; raises SpecError where the book has none."""
        found: Sourced | None = getattr(self, f"{contract}_factor")
        if found is None:
            raise SpecError(f'price book "{self.name}": no {contract}_factor. Give the contract its usd_per_gpu_hour.')
        return found

    def ownership(self, gpu: str) -> Ownership:
        """Return what a GPU of one's own costs; raises SpecError where the book does not say."""
        if gpu not in self.owned:
            hint = did_you_mean(gpu, self.owned)
            raise SpecError(
                f'price book "{self.name}": owned has no {gpu}. {hint} Or give the contract its usd_per_gpu_hour.'
            )
        return self.owned[gpu]

    def under(self, contract: Contract, pool: str, gpu: str, listed_usd: float | None, level: Level) -> Sourced:
        """Return the price of a GPU-hour under a contract [USD]; of an owned GPU, all but its power.

        Parameters
        ----------
        contract
            The terms.
        pool
            Name of the pool, for the source.
        gpu
            Name of the GPU in the catalogue.
        listed_usd
            The pool's own on-demand price, where it gives one.
        level
            Which on-demand price of the book, where it does not.

        Raises
        ------
        SpecError
            Neither says.
        """
        given = f"fleet.pools.{pool}.{{}} of the scenario"
        if contract.usd_per_gpu_hour is not None:
            return Sourced(contract.usd_per_gpu_hour, given.format("contracts"), "assumed")
        if contract.kind == "owned":
            terms = self.ownership(gpu)
            life = f"over {terms.life_years:g} years at {terms.interest_frac_per_year:.1%} a year"
            return Sourced(terms.usd_per_gpu_hour, f"{terms.capital_usd.source}; {life}", "assumed")
        if listed_usd is not None:
            listed = Sourced(listed_usd, given.format("usd_per_gpu_hour"), "assumed")
        else:
            listed = self.price(gpu, level)
        if contract.kind == "on_demand":
            return listed
        factor = self.factor(contract.kind)
        return Sourced(listed * factor, f"{listed.source}, times {factor:g}: {factor.source}", listed.kind)


def read_prices(text: str, filename: str | None = None) -> dict[str, PriceBook]:
    """Return the price books of a YAML text by name; raises SpecError with every problem and its line."""
    return read_named(PriceBook, "price books", text, filename)
