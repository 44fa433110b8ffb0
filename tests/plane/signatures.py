"""Prints, as JSON, every function of the plane that was compiled for more than one set of types.

To be run on an empty cache: what machine code is read from disk is not compiled, and then says nothing of its callees.
"""

import json
from importlib import import_module
from pathlib import Path

from digests import crowd
from drive import run_plane

from sim.plane.owner import Plane

PLANE = Path(import_module("sim.plane").__path__[0])


def several() -> list[str]:
    """The names, after both clocks have played and a pool has been looked at."""
    run_plane(crowd())
    run_plane(crowd(), clock="simpy")
    Plane(crowd().world, leap=True, num_requests=2).observe(0, 0.0)
    modules = [import_module(f"sim.plane.{path.stem}") for path in sorted(PLANE.glob("[a-z]*.py"))]
    return [
        f"{module.__name__}.{name}"
        for module in modules
        for name, function in vars(module).items()
        if len(getattr(function, "nopython_signatures", ())) > 1
    ]


if __name__ == "__main__":
    print(json.dumps(several()))  # noqa: T201
