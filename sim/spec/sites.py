"""Site: where GPUs stand: what their electricity emits and costs, and what is needed around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from sim.spec.base import Spec, Text
from sim.spec.named import read_named
from sim.spec.sourced import Sourced, sourced


class Site(Spec):
    """A place with a grid, and the data centres there; every number with its source."""

    name: Text
    """Name that a scenario's or a pool's `site` gives, e.g. `sweden`."""
    carbon_g_per_kwh: Annotated[Sourced, sourced("1", zero=True)]
    """Greenhouse gases of the grid's electricity over a year, life cycle included [g CO2e per kWh]."""
    pue: Annotated[Sourced, sourced("1")]
    """Power usage effectiveness: energy of the whole facility over that of its servers."""
    usd_per_kwh: Annotated[Sourced, sourced("USD/kWh")]
    """Price of electricity [USD per kWh]."""
    host_w_per_gpu: Annotated[Sourced, sourced("W", zero=True)]
    """Power of the rest of a server (processors, memory, fans, network) for each provisioned GPU [W]."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a facility that takes less than its servers."""
        if self.pue < 1.0:
            yield "pue", f"must be >= 1, got {self.pue:g}: a facility takes at least what its servers take"


def read_sites(text: str, filename: str | None = None) -> dict[str, Site]:
    """Return the sites of a YAML text by name; raises SpecError with every problem and its line."""
    return read_named(Site, "sites", text, filename)
