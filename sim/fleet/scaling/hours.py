"""Time of replicas in each of their states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim.plane.owner import Plane
from sim.plane.tables import DOWN, DRAINING, OFF, STARTING, WARM

BOOKED = {STARTING: "starting", WARM: "warm", DRAINING: "draining"}
"""States whose time the plane books; that of active replicas is the rest of the time on line."""


def spent_s(plane: Plane, pool: int, now: float) -> dict[str, NDArray[np.float64]]:
    """Time that each replica of a pool was in each state by `now` [s], shape [max_replicas]."""
    row = plane["pools"][pool]
    members = slice(row["first_replica"], row["first_replica"] + row["max_replicas"])
    replicas, stays = plane["replicas"][members], plane["stays"][members]
    state = replicas["state"]
    found = {name: stays[f"{name}_s"] + (state == code) * (now - stays["since_s"]) for code, name in BOOKED.items()}
    on_line_s = replicas["online_s"] + ~np.isin(state, (OFF, DOWN)) * (now - replicas["online_at_s"])
    return {"active": on_line_s - sum(found.values()), **found}


def not_ready_s(plane: Plane, pool: int, now: float) -> float:
    """Time that replicas of a pool were paid before they could take requests, or kept warm, by `now` [s]."""
    spent = spent_s(plane, pool, now)
    return float(spent["starting"].sum() + spent["warm"].sum())
