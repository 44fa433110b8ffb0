"""Times for traces that have none: conversations begin at random, their requests follow at a fixed distance."""

from collections.abc import Iterator

import numpy as np

from sim.traffic import draws
from sim.traffic.traces.block import joined
from sim.traffic.traces.flaws import Flaw
from sim.traffic.traces.format import Batch, Options

_NONE: list[Flaw] = []


def timed(batches: Iterator[Batch], rate_per_s: float, options: Options) -> Iterator[Batch]:
    """Rows in the order of their times.

    First requests (those without a turn, or of turn 0) are a Poisson process of `rate_per_s`, from 0 on; the k-th turn
    comes k times `turn_gap_s` later. Rows that have yet to wait for others are held: about rate x gap x turns of them.
    """
    key = draws.key(options.seed, draws.TRACE_GAP)
    num_first, last_s = 0, 0.0
    held: Batch | None = None
    for batch in batches:
        turn = batch.block.column("turn")
        first = turn <= 0
        number = np.arange(num_first, num_first + np.count_nonzero(first), dtype=np.uint64)
        gaps_s = -np.log(draws.uniform(draws.bits(key, np.uint64(0), np.uint64(0), number))) / rate_per_s
        gaps_s[number == 0] = 0.0
        starts_s = last_s + np.concatenate([[0.0], np.cumsum(gaps_s)])
        num_first, last_s = num_first + len(number), float(starts_s[-1])
        times_s = starts_s[np.cumsum(first)] + np.maximum(turn, 0) * options.turn_gap_s
        # Whole tens of nanoseconds, so that every format can hold them.
        block = batch.block.at(np.rint(times_s * 1e8).astype(np.int64) * 10)
        now = Batch(block, batch.line, _NONE) if held is None else _both(held, Batch(block, batch.line, _NONE))
        now = _sorted(now)
        ready = int(np.searchsorted(now.block.time_ns, round(last_s * 1e8) * 10, side="right"))
        held = Batch(now.block.take(slice(ready, None)), now.line[ready:], _NONE)
        yield Batch(now.block.take(slice(ready)), now.line[:ready], batch.flaws)
    if held is not None and len(held.line):
        yield held


def _both(first: Batch, second: Batch) -> Batch:
    return Batch(joined([first.block, second.block]), np.concatenate([first.line, second.line]), _NONE)


def _sorted(batch: Batch) -> Batch:
    order = np.argsort(batch.block.time_ns, kind="stable")
    return Batch(batch.block.take(order), batch.line[order], batch.flaws)
