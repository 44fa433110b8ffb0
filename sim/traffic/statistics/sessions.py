"""Sessions that a trace does not name, told by the text that its prompts share.

A request's parent is the last request before it that used the deepest of its blocks that any had used, blocks that
more than MAX_USES requests use (a system prompt, a common document) left aside; it belongs to its parent's session.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_USES = 20  # as in the statistics of the Mooncake trace that the workloads are made of


class Inferred(NamedTuple):
    """The sessions of some requests."""

    parent: NDArray[np.int64]
    """Row of each request's parent, or -1."""
    session: NDArray[np.int64]
    """Number of each request's session."""

    @property
    def turns(self) -> NDArray[np.int64]:
        """Requests of each session."""
        return np.bincount(self.session)


def infer(prompts: Sequence[Sequence[int]]) -> Inferred:
    """The sessions of prompts given as blocks, in order of time."""
    uses: Counter[int] = Counter()
    for blocks in prompts:
        uses.update(set(blocks))
    owner: dict[int, int] = {}
    parent = np.full(len(prompts), -1, dtype=np.int64)
    session = np.zeros(len(prompts), dtype=np.int64)
    num_sessions = 0
    for row, blocks in enumerate(prompts):
        known = (owner[block] for block in reversed(blocks) if uses[block] <= MAX_USES and block in owner)
        parent[row] = found = next(known, -1)
        if found < 0:
            session[row] = num_sessions
            num_sessions += 1
        else:
            session[row] = session[found]
        owner.update(dict.fromkeys(blocks, row))
    return Inferred(parent, session)
