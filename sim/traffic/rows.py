"""Columns of arrivals: what every source does to them."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sim.spec.distribution import MAX_TOKENS
from sim.traffic import draws
from sim.traffic.arrivals import MAX_CHUNK_ROWS, NO_SEGMENTS, Chunk, TrafficClass
from sim.traffic.lengths import Table, lookup, tokens


def fill(
    rows: NDArray[np.void],
    seed: int,
    turns: Table,
    traffic_class: TrafficClass,
    length_factor: NDArray[np.float64] | None = None,
) -> None:
    """Draw the number of turns and the first turn's lengths of rows that have user and conversation.

    `length_factor` has the factor of each row; the rows may then be of several classes that differ in nothing else.
    """
    first = traffic_class.first_user_tokens
    user, conversation = rows["user"].astype(np.uint64), rows["conversation"].astype(np.uint64)
    for column, stream, table in (
        ("num_turns", draws.NUM_TURNS, turns),
        ("user_tokens", draws.USER_TOKENS, traffic_class.user_tokens if first is None else first),
        ("output_tokens", draws.OUTPUT_TOKENS, traffic_class.output_tokens),
    ):
        u = draws.uniform(draws.bits(draws.key(seed, stream), user, conversation, np.uint64(0)))
        if column == "num_turns":
            rows[column] = tokens(table, u)
            continue
        values = lookup(table, u)
        if column == "user_tokens" and traffic_class.single_user_tokens is not None:
            values = np.where(rows["num_turns"] == 1, lookup(traffic_class.single_user_tokens, u), values)
        values = values if length_factor is None else length_factor * values
        most = MAX_TOKENS if column == "user_tokens" else min(traffic_class.max_output_tokens, MAX_TOKENS)
        rows[column] = np.clip(values + 0.5, 1.0, most).astype(np.int32)


def in_chunks(rows: NDArray[np.void], segments: NDArray[np.void] = NO_SEGMENTS) -> Iterator[Chunk]:
    """Rows in pieces of at most MAX_CHUNK_ROWS, each with its segments."""
    for begin in range(0, len(rows), MAX_CHUNK_ROWS):
        part = rows[begin : begin + MAX_CHUNK_ROWS]
        num_segments = int(part["num_segments"].sum())
        yield Chunk(part, segments[:num_segments])
        segments = segments[num_segments:]
