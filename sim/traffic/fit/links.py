"""Conversations inferred from the blocks that prompts share.

A prompt's parent is told by `sim.traffic.statistics.sessions`. It is the next turn of its parent's conversation if it
keeps at least nine tenths of the parent's whole blocks, as the turns of a conversation do that is resent in full. One
that keeps less (an edit, a fork, another question to the same document) starts a conversation of its own.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.traffic.fit.recorded import Recorded
from sim.traffic.statistics.sessions import infer
from sim.traffic.traces import HASH_BLOCK_TOKENS

LEAST_KEPT = 0.9
"""Share of the parent's whole blocks that a next turn keeps: *assumed*; docs/traffic-fit.md shows what it costs."""


@dataclass(frozen=True, eq=False)
class Links:
    """How the requests of a window hang together."""

    parent: NDArray[np.int64]
    """Number of the request before it in its conversation, or -1; one entry each request."""
    turn: NDArray[np.int64]
    """Turns before it that were seen; one entry each request."""
    num_turns: NDArray[np.int64]
    """Requests seen of each conversation, in order of its first."""
    num_edits: int
    """Requests that have a parent but keep less of it."""


def links_of(recorded: Recorded) -> Links:
    """Infer conversations; without recorded blocks every request is one."""
    parent, num_edits = np.full(len(recorded), -1), 0
    if recorded.blocks is not None:
        blocks, parent = recorded.blocks, infer(recorded.blocks).parent
        for number in np.flatnonzero(parent >= 0).tolist():
            before = int(parent[number])
            whole = int(recorded.prompt_tokens[before]) // HASH_BLOCK_TOKENS
            least = int(np.ceil(LEAST_KEPT * whole))
            if blocks[number][:least] != blocks[before][:least]:
                parent[number] = -1
                num_edits += 1
    turn, root = np.zeros(len(parent), dtype=np.int64), np.arange(len(parent))
    for number in np.flatnonzero(parent >= 0).tolist():
        turn[number], root[number] = turn[parent[number]] + 1, root[parent[number]]
    sizes = np.bincount(root, minlength=len(parent))
    return Links(parent, turn, sizes[sizes > 0], num_edits)
