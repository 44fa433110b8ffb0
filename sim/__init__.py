"""tokenfleet: a discrete-event simulator of LLM serving fleets.

::

    import sim

    scenario = sim.load("meridian-1")
    run = sim.run(scenario.replace("fleet.pools.api.replicas", 200))
    run.result["p99_ttft_ms"]

Each public name is imported when it is first used, so that ``import sim`` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.catalog import load
    from sim.cost import Profile, compile
    from sim.fleet.run import Run, run
    from sim.spec import Scenario

__version__ = "0.1.0"

__all__ = ["Profile", "Run", "Scenario", "__version__", "compile", "load", "run"]

_HOMES = {
    "Profile": "sim.cost",
    "Run": "sim.fleet.run",
    "Scenario": "sim.spec",
    "compile": "sim.cost",
    "load": "sim.catalog",
    "run": "sim.fleet.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
