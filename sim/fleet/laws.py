"""What must hold at the end of every run, whatever the scenario: checked each time, because it costs nothing."""

from __future__ import annotations

import math

import numpy as np

from sim.plane.owner import Plane


class LawBrokenError(RuntimeError):
    """A conservation law does not hold: a bug of ours, never the user's mistake."""


def hold(plane: Plane, num_done: int, num_retries: int, cost_usd: float, measured_usd: float, *, drained: bool) -> None:
    """Check the laws of a run that has ended.

    Parameters
    ----------
    plane
        After `Plane.end`.
    num_done
        Records taken from it.
    num_retries
        Those of them that are retries.
    cost_usd
        Sum of their cost shares [USD].
    measured_usd
        The same of those that arrived at or after t = 0.
    drained
        Whether the run went on until nothing was left.

    Raises
    ------
    LawBrokenError
        Requests that came in but did not end, or ended twice; more or fewer of them retries than were made, so that
        messages are not attempts less retries; cost shares that do not add up to busy replica time x
        price, or to what was booked; KV blocks still held by nobody; routers that count requests that are gone.
    """
    issued = plane.scalar("next_serial")
    if issued != num_done:
        raise LawBrokenError(f"{issued:,} requests were issued, {num_done:,} have ended")
    retried = plane.scalar("num_retries")
    if retried != num_retries:
        raise LawBrokenError(f"{retried:,} attempts were made again, {num_retries:,} requests are retries")
    replicas = plane["replicas"]
    busy_usd = float(replicas["busy_s"] @ plane["pools"]["usd_per_s"][replicas["pool"]])
    if not math.isclose(busy_usd, cost_usd, rel_tol=1e-6, abs_tol=1e-9):
        raise LawBrokenError(f"cost shares sum to {cost_usd!r} USD, busy replica time costs {busy_usd!r} USD")
    price = plane["pools"]["usd_per_s"][[pool for pool, _ in plane.world.accounts]]
    booked_usd = float(plane.spent_s.sum(axis=0) @ price)
    if not math.isclose(booked_usd, measured_usd, rel_tol=1e-6, abs_tol=1e-9):
        raise LawBrokenError(f"measured shares sum to {measured_usd!r} USD, {booked_usd!r} USD were booked")
    used = plane["pools"]["usable"][replicas["pool"]] - replicas["free"] - replicas["evictable"]
    if plane.scalar("has_faults"):
        seized = plane["health"]["num_seized"]
        used[: len(seized)] -= seized
    if np.any(used < 0) or (drained and np.any(used != 0)):
        raise LawBrokenError(f"KV blocks in use at the end: {used.min()} to {used.max()} a replica")
    counts = [plane["outstanding"]["v"], plane["sent"]["v"]]
    if plane.scalar("has_parts"):
        counts.append(plane["parts"]["num_outstanding"])
    if any(np.any(count != 0) for count in counts):
        raise LawBrokenError("requests are counted as outstanding after all have ended")
