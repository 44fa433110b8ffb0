"""What scaling a pool came to: decisions, starts, replica-hours by state, requests that came while it was short."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.fleet.scaling.hours import spent_s
from sim.metrics.attained import judged_and_met
from sim.metrics.groups import Groups
from sim.metrics.statistics import ratio
from sim.plane.owner import Plane

HOUR_S = 3600.0


class Ledger:
    """The books of one pool."""

    def __init__(self, plane: Plane, pool: int, classes: NDArray[np.bool_], on_demand_base: int | None) -> None:
        self._plane, self._pool, self._classes = plane, pool, classes
        self._on_demand_base = on_demand_base
        self.decisions: list[dict[str, Any]] = []
        self.starts_s: list[float] = []
        self.num_cancelled = self.num_woken = self.num_interrupted = self.num_cut_off = 0
        self._short: list[list[float]] = []
        self._met, self._judged = np.zeros(2, np.int64), np.zeros(2, np.int64)
        self._begin_s: dict[str, NDArray[np.float64]] | None = None

    def decide(self, t_s: float, before: int, after: int, why: str) -> None:
        """Note a decision."""
        self.decisions.append({"t_s": t_s, "from_replicas": before, "to_replicas": after, "reason": why})

    def watch(self, t_s: float, *, short: bool) -> None:
        """Note whether fewer replicas serve than are wanted."""
        is_open = bool(self._short) and self._short[-1][1] == np.inf
        if short and not is_open:
            self._short.append([t_s, np.inf])
        elif is_open and not short:
            self._short[-1][1] = t_s

    def begin(self) -> None:
        """The measured time begins: what was before does not count, but for the decisions."""
        self._begin_s = spent_s(self._plane, self._pool, 0.0)
        self.starts_s.clear()
        self.num_cancelled = self.num_woken = self.num_interrupted = self.num_cut_off = 0

    def count(self, rows: NDArray[np.void], groups: Groups) -> None:
        """Count finished requests (dtype DONE) that are answered by this pool and came at or after t = 0."""
        rows = rows[self._classes[rows["class_id"]] & (rows["arrived_s"] >= 0.0)]
        judged, met = judged_and_met(rows, groups)
        spans = np.array(self._short).reshape(-1, 2)
        at = np.searchsorted(spans[:, 0], rows["arrived_s"], side="right") - 1
        short = np.zeros(len(rows), dtype=np.int64)
        short[at >= 0] = rows["arrived_s"][at >= 0] < spans[at[at >= 0], 1]
        self._judged += np.bincount(short[judged], minlength=2)
        self._met += np.bincount(short[met], minlength=2)

    def summary(self, end_s: float) -> dict[str, Any]:
        """What the result says of the pool's scaling."""
        spent = {
            name: seconds - (self._begin_s[name] if self._begin_s else 0.0)
            for name, seconds in spent_s(self._plane, self._pool, end_s).items()
        }
        short_s = sum(max(0.0, min(to_s, end_s) - max(from_s, 0.0)) for from_s, to_s in self._short)
        measured = [one for one in self.decisions if one["t_s"] >= 0.0]
        found: dict[str, Any] = {
            "decisions": self.decisions,
            "num_scale_ups": sum(one["to_replicas"] > one["from_replicas"] for one in measured),
            "num_scale_downs": sum(one["to_replicas"] < one["from_replicas"] for one in measured),
            "num_starts": len(self.starts_s),
            "num_starts_cancelled": self.num_cancelled,
            "mean_start_s": float(np.mean(self.starts_s)) if self.starts_s else None,
            "max_start_s": max(self.starts_s, default=None),
            "num_woken": self.num_woken,
            "replica_hours": {name: float(seconds.sum()) / HOUR_S for name, seconds in spent.items()},
            "short_s": short_s,
            "slo_attainment_short_frac": ratio(int(self._met[1]), int(self._judged[1])),
            "slo_attainment_otherwise_frac": ratio(int(self._met[0]), int(self._judged[0])),
        }
        if self._on_demand_base is not None:
            everyone = np.sum(list(spent.values()), axis=0)
            found |= {
                "spot_replica_hours": float(np.sum(everyone[self._on_demand_base :])) / HOUR_S,
                "num_interrupted": self.num_interrupted,
                "num_cut_off": self.num_cut_off,
            }
        return found
