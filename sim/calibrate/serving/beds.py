"""Which bed a point belongs to, and what its names mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from sim.calibrate.serving.loads import read_load
from sim.calibrate.serving.rows import Point
from sim.spec.bed import Bed, Beds, Distrust, Setting, When

V = TypeVar("V")
_TEXTS = ("source", "engine", "version", "model", "precision", "gpu", "load", "notes")


def first_of(choices: Mapping[str, V], text: str) -> V | None:
    """Return what stands at the first pattern that is found in a text, whatever the case of letters."""
    return next((choice for pattern, choice in choices.items() if re.search(pattern, text, re.IGNORECASE)), None)


def bed_of(point: Point, beds: Beds) -> Bed | None:
    """Return the first bed whose conditions a point meets."""
    return next((bed for bed in beds.beds if meets(point, bed.when)), None)


def settings_of(point: Point, bed: Bed, beds: Beds) -> dict[str, tuple[Setting, ...]]:
    """Return the settings of a point's engine: defaults that fit, the bed's over them; the value to play first."""
    settings: dict[str, tuple[Setting, ...]] = {}
    for default in beds.defaults:
        if meets(point, default.when):
            settings |= default.settings
    return settings | bed.settings


def distrusted(point: Point, metric: str, rules: Iterable[Distrust]) -> str:
    """Return why a row is scored apart; nothing where it is not."""
    for rule in rules:
        if re.search(rule.metrics, metric) and meets(point, rule.when):
            return rule.reason
    return ""


def meets(point: Point, when: When) -> bool:
    """Whether all conditions hold."""
    for name in _TEXTS:
        pattern = getattr(when, name)
        if pattern is not None and not re.search(pattern, getattr(point, name), re.IGNORECASE):
            return False
    load = read_load(point.load)
    value = load.value if load else 0.0
    return (
        _among(point.tp, when.tensor_parallel_size)
        and _among(point.isl, when.isl)
        and _among(point.osl, when.osl)
        and (_number(point.isl) or 0.0) >= when.min_isl
        and value >= when.min_load
        and (when.max_load is None or value <= when.max_load)
        and point.measured.get("ttft_mean", 0.0) >= when.min_ttft_ms
    )


def _among(text: str, numbers: tuple[float, ...]) -> bool:
    return not numbers or _number(text) in numbers


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
