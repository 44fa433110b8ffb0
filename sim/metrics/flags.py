"""What befell requests, counted: who was unsafe and who was caught, whose answer was escalated or revised."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.metrics import blocks
from sim.metrics.collector import Collector
from sim.metrics.records import CAUGHT, COMPLETED, FLAGS, UNSAFE
from sim.metrics.statistics import ratio

SETS: NDArray[np.int64] = np.arange(1 << len(FLAGS))
"""Every set of flags, as the bits of a record's `flags`."""


def flags(collector: Collector) -> dict[str, Any]:
    """Return the block `flags` of a result: of all requests, by tier and by language; nothing where none is told."""
    groups = collector.groups
    if not groups.has_flags:
        return {}
    everyone = np.ones(len(collector.flagged), dtype=np.bool_)
    by_tier = {
        tier.name: counts(collector, blocks.cells_of_classes(collector, groups.tier_of_class == index))
        for index, tier in enumerate(groups.tiers)
    }
    by_language = {
        name: counts(collector, blocks.cells_of_language(collector, index))
        for index, name in enumerate(groups.languages)
    }
    return {"flags": {**counts(collector, everyone), "by_tier": by_tier, "by_language": by_language}}


def counts(collector: Collector, cells: blocks.Cells) -> dict[str, Any]:
    """Return how many requests of a group have each flag, and how right classifiers were about them.

    Of the unsafe ones, and of the others, those count that were either blocked or answered.
    """
    by_set = collector.flagged[cells].sum(axis=0)
    answered = by_set[COMPLETED]
    everyone = by_set.sum(axis=0)
    is_unsafe, is_caught = SETS & UNSAFE != 0, SETS & CAUGHT != 0
    caught, false = int(everyone[is_unsafe & is_caught].sum()), int(everyone[~is_unsafe & is_caught].sum())
    passed, served = int(answered[is_unsafe].sum()), int(answered[~is_unsafe].sum())
    return {
        **{f"num_{name}": int(everyone[SETS >> bit & 1 == 1].sum()) for bit, name in enumerate(FLAGS)},
        "num_unsafe_caught": caught,
        "num_unsafe_passed": passed,
        "num_false_refusals": false,
        "unsafe_caught_frac": ratio(caught, caught + passed),
        "false_refusal_frac": ratio(false, false + served),
    }
