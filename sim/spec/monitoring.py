"""Monitoring: whether a run is watched for drift, and how often it may cry wolf."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sim.spec.base import PositiveInt, Spec


class Monitoring(Spec):
    """Monitors that compare each week of a run with the weeks before it; an interval of theirs is a report interval."""

    baseline_weeks: Annotated[PositiveInt, Field(le=52)] = 3
    """Weeks that the first judged week is compared with; later ones with as many that had no alarm. Default 3."""
    false_alarms_per_week: Annotated[float, Field(gt=0.0, le=0.5)] = 0.05
    """Chance that any monitor alarms in a week in which nothing has changed. Default 0.05: one week in twenty."""
