"""Requests as the statistics see them: columns, of which some exist only where the traffic tells."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Labels(NamedTuple):
    """A column of names, as codes."""

    code: NDArray[np.int64]
    """Row of `names`, for each request."""
    names: Sequence[str]
    """As many as are known so far; their order never changes."""


@dataclass
class Seen:
    """Consecutive requests."""

    t_s: NDArray[np.float64]
    """Since the first window begins [s]; never decreasing, none below 0."""
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    new_tokens: NDArray[np.int64] | None = None
    """Tokens of the prompt without shared prefix and history."""
    gap_s: NDArray[np.float64] | None = None
    """Since the session's request before, from arrival to arrival [s]; NaN of a session's first."""
    ended_turns: NDArray[np.int64] | None = None
    """Numbers of requests of sessions, each session told once: when it begins, if that is known then, or at the end."""
    labels: dict[str, Labels] = field(default_factory=dict)
    """By what is told apart: tier, class, language, use case, user ..."""
    user: NDArray[np.int64] | None = None
    """Number of who sent it."""
    sampled: NDArray[np.int64] | None = None
    """Rows whose text is told by `blocks`; None: no text is told."""
    blocks: Sequence[Sequence[int]] = ()
    """Of each of these, the blocks of its prompt; the last one may not be full."""
    shared: Sequence[tuple[int, float]] = ()
    """Where only a sample tells its text: of each, how many of its blocks others may have used without being told, and
    when the last did [s]; -infinity: nobody yet."""
