"""Traffic of one workload whose conversations start as the workload itself says."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.spec.base import Key, PositiveNumber, PositiveRate, Spec, Text


class SessionTraffic(Spec):
    """Conversations of one workload, which start as its own `arrivals` say (what `tokenfleet traffic --fit` writes)."""

    kind: Literal["sessions"]
    """Conversations of one workload."""
    workload: Text
    """Lengths, turns and arrivals: name of an entry in workloads/, or the path of a workload file."""
    rate_per_s: Annotated[PositiveRate, Field(le=1e9)] | None = None
    """Mean rate of conversation starts [1/s]. Default: the workload's own; a workload without `arrivals` needs it, and
    its conversations then start at random (a Poisson process)."""
    rate_scale: PositiveNumber = 1.0
    """So many times as many conversations; bursts come as many times as often, and keep their size. Default 1."""
    tier: Key = "default"
    """Tier that all conversations belong to."""
