"""From traffic classes to the plane's class rows and the curves of their quantile tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sim.metrics.records import ABANDONED, FAILED, RATE_LIMITED, SHED, TIMED_OUT
from sim.plane.curves import Curves
from sim.plane.tables import FAR
from sim.plane.world import MAX_ATTEMPTS, World
from sim.traffic.arrivals import Reaction

if TYPE_CHECKING:
    from sim.plane.owner import Plane

Table = NDArray[np.void]
TRIED_AGAIN = (RATE_LIMITED, SHED, TIMED_OUT, ABANDONED, FAILED)
"""Endings that asking again may mend; a question that is refused or blocked once always is."""


def check_classes(world: World) -> None:
    """Raise ValueError where a class names no path, or what its senders do is no reaction."""
    for kind in world.classes:
        if kind.path not in world.paths:
            raise ValueError(f"class {kind.name!r} names no path of the world: {kind.path!r}")
        if kind.length_factor is not None and not np.all(kind.length_factor > 0.0):
            raise ValueError(f"class {kind.name!r}: length_factor must be > 0")
        if (reaction := kind.reaction) is not None and not is_sound(reaction):
            raise ValueError(f"class {kind.name!r}: its reaction is out of range")


def is_sound(reaction: Reaction) -> bool:
    """Whether a reaction's endings, probabilities, counts and factors are such."""
    fractions = (reaction.retry_frac, reaction.leave_frac, reaction.slow_leave_frac)
    return (
        set(reaction.retried) <= set(TRIED_AGAIN)
        and all(0.0 <= frac <= 1.0 for frac in fractions)
        and 0 <= reaction.max_retries < MAX_ATTEMPTS
        and reaction.backoff_factor > 0.0
        and reaction.max_backoff_s >= 0.0
        and reaction.slow_s >= 0.0
    )


def tries_again(world: World) -> bool:
    """Whether any request may be tried again."""
    return any(kind.reaction is not None and kind.reaction.max_retries > 0 for kind in world.classes)


def num_languages(world: World) -> int:
    """Languages that every class with factors has one for; a large number if no class has factors."""
    return min((len(kind.length_factor) for kind in world.classes if kind.length_factor is not None), default=1 << 31)


def itl_groups(world: World) -> Sequence[int]:
    """Histogram row of each class."""
    return world.itl_groups or range(len(world.classes))


def build_classes(
    plane: Plane, world: World, begin: dict[str, int], levels: list[int], groups: dict[str, int], curves: Curves
) -> None:
    """Fill the class rows, and the curves of their quantile tables."""
    table = plane.own("classes", len(world.classes))
    for row, kind, itl_group in zip(table, world.classes, itl_groups(world), strict=True):
        row["first_visit"] = begin[kind.path]
        row["last_visit"] = begin[kind.path] + len(world.paths[kind.path]) - 1
        row["level"], row["prefix_tokens"] = levels.index(kind.priority), kind.prefix_tokens
        row["group"] = groups[kind.prefix_group] if kind.prefix_tokens > 0 else -1
        row["keep_history"], row["max_context"] = kind.keep_history, kind.max_context_tokens
        row["itl_group"], row["min_think_s"], row["refuses_long"] = itl_group, kind.min_think_s, not kind.truncates
        row["spaced"], row["interval_s"], row["sent_s"] = (
            kind.reissue_interval_s > 0.0, kind.reissue_interval_s, -FAR,
        )  # fmt: skip
        for name in ("user_tokens", "output_tokens", "gap_s"):
            row[name] = curves.add(getattr(kind, name))
        row["patience_s"] = -1 if kind.patience_s is None else curves.add(kind.patience_s)
        row["factors"] = -1 if kind.length_factor is None else curves.add(kind.length_factor)
        if kind.reaction is not None:
            fill_reaction(row, kind.reaction, curves)


def fill_reaction(row: np.void, reaction: Reaction, curves: Curves) -> None:
    """Write what the senders of a class do."""
    row["reacts"], row["max_retries"] = 1, reaction.max_retries
    row["retried"] = sum(1 << ending for ending in set(reaction.retried))
    row["backoff_s"] = curves.add(reaction.backoff_s)
    for name in ("retry_frac", "backoff_factor", "max_backoff_s", "leave_frac", "slow_s", "slow_leave_frac"):
        row[name] = getattr(reaction, name)
