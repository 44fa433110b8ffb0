"""The text of unfolded requests: what their prompts have in common with each other's, as segments and as blocks.

A prompt is its class's shared prefix, then the segments that the source gave it or else the conversation's own text,
which later turns go on with until one of them is cut. Answers are part of the next prompt and of no other.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.arrivals import ARRIVAL, SEGMENT, Chunk, TrafficClass
from sim.traffic.reuse import blocks_of
from sim.traffic.unfold import Requests

_GROUP_WORD = np.uint64((1 << 64) - 1)  # no turn has this number
_POSITIVE = np.uint64((1 << 63) - 1)


class Texts:
    """The texts of a source's requests.

    Parameters
    ----------
    classes
        The source's. Classes of one `prefix_group` share the text of their prefixes.
    seed
        The scenario's; it names the texts, so that those of two scenarios differ.
    """

    def __init__(self, classes: Sequence[TrafficClass], seed: int) -> None:
        groups = list(dict.fromkeys(each.prefix_group for each in classes))
        number = np.array([groups.index(each.prefix_group) for each in classes], dtype=np.uint64)
        self._key = draws.key(seed, draws.CONTENT)
        self._prefix_key = draws.bits(self._key, number, np.uint64(0), _GROUP_WORD)
        self._prefix_tokens = np.array([each.prefix_tokens for each in classes], dtype=np.int64)

    def described(self, requests: Requests) -> Chunk:
        """Requests as arrivals of one turn each, whose segments are their whole prompts."""
        rows, given = requests
        prefix = np.minimum(self._prefix_tokens[rows["class_id"]], rows["prompt_tokens"])
        # First the prefix, then what was given, then the rest: of those, the ones that have a token.
        num_given = rows["num_segments"].astype(np.int64)
        ends = np.cumsum(num_given + 2)
        row = np.repeat(np.arange(len(rows)), num_given + 2)
        keys, tokens = np.empty(len(row), dtype=np.uint64), np.empty(len(row), dtype=np.int64)
        first, last = ends - num_given - 2, ends - 1
        keys[first], tokens[first] = self._prefix_key[rows["class_id"]], prefix
        conversation, began = rows["conversation"].astype(np.uint64), rows["began_turn"].astype(np.uint64)
        keys[last] = draws.bits(self._key, rows["user"].view(np.uint64), conversation, began)
        is_given = np.ones(len(row), dtype=np.bool_)
        is_given[first] = is_given[last] = False
        keys[is_given], tokens[is_given] = given["key"], given["tokens"]
        tokens[last] = 0
        tokens[last] = rows["prompt_tokens"] - np.add.reduceat(tokens, first)
        kept = tokens > 0
        segments = np.zeros(np.count_nonzero(kept), dtype=SEGMENT)
        segments["key"], segments["tokens"] = keys[kept], tokens[kept]
        found = np.zeros(len(rows), dtype=ARRIVAL)
        for name in ("t_s", "user", "conversation", "output_tokens", "class_id", "language"):
            found[name] = rows[name]
        found["num_turns"], found["bucket"], found["user_tokens"] = 1, -1, rows["prompt_tokens"]
        found["num_segments"] = np.add.reduceat(kept, first, dtype=np.int64)
        return Chunk(found, segments)

    def hash_ids(self, requests: Requests, block_tokens: int) -> list[list[int]]:
        """Ids of the blocks of each prompt, one for every `block_tokens` tokens begun, below 2**63.

        Two ids are equal if the blocks and all before them are (and else with a probability of 2**-63). A block that
        is not full has an id of its own: equal to that of a block that says just as much.
        """
        if not len(requests.rows):
            return []
        chunk = self.described(requests)
        ids, num = blocks_of(*chunk, block_tokens)
        over = chunk.rows["user_tokens"] % block_tokens
        last = np.cumsum(num) - 1
        part = draws.mix(ids[last] + over.astype(np.uint64) * draws.GOLDEN)
        ids[last] = np.where(over > 0, part, ids[last])
        return [part.tolist() for part in np.split(ids & _POSITIVE, last[:-1] + 1)]


def sampled(rows: NDArray[np.void], seed: int, frac: float) -> NDArray[np.int64]:
    """The rows of a fixed share of all conversations."""
    if frac >= 1.0:
        return np.arange(len(rows))
    user, conversation = rows["user"].view(np.uint64), rows["conversation"].astype(np.uint64)
    word = draws.bits(draws.key(seed, draws.SAMPLE), user, conversation, np.uint64(0))
    return np.flatnonzero(draws.uniform(word) < frac)
