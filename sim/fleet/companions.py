"""Classifiers beside the answer, from a scenario to the plane."""

from __future__ import annotations

from typing import Any

from sim.spec import Scenario
from sim.spec.companions import check_of
from sim.spec.visit import Visit


def beside_the_answer(visit: Visit) -> dict[str, Any]:
    """When a classifier runs, and how it reads along: fields of the plane's Visit."""
    return {
        "mode": visit.mode,
        "chunk_tokens": visit.chunk_tokens,
        "carry_over_tokens": visit.carry_over_tokens,
        "holds_back": visit.release == "hold_back",
    }


def has_companions(scenario: Scenario) -> bool:
    """Whether any path has a gate or a check."""
    return any(
        check_of(visits) is not None or any(visit.mode == "gate" for visit in visits)
        for visits in scenario.fleet.paths.values()
    )
