"""A played point step by step: what each step carried and when, and so how every latency moves with a coefficient.

While the order of events stays as it is, a latency is a sum of step times, and a step time is linear in the engine's
coefficients: the derivative of any latency by all coefficients follows from one play.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.cost.step_times import StepTimes
from sim.plane.log import END, ENTRY, INNER, STATE, STEP
from sim.plane.owner import Table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """The steps of one replica in order; a run of decode steps of one batch is one row. Arrays of shape [s]."""

    begin_s: Floats
    end_s: Floats
    num_steps: Ints
    """Steps of the run; 1 for a step that carries prefill."""
    tokens: Ints
    decodes: Ints
    """Sequences that decode."""
    context: Ints
    """Their total context in the first step of the run [tokens]."""
    emitting: Ints
    """Sequences that emit a token."""
    pairs: Ints
    """Query x context pairs of prefill."""
    prefills: Ints
    """Requests that prefill."""

    def time_s(self, times: StepTimes) -> Floats:
        """Return how long each row takes with given step times [s], shape [s]; linear in them."""
        decodes, k = self.decodes, self.num_steps
        piece = np.searchsorted(times.knot_tokens, self.context, side="right")
        piece = np.minimum(piece, times.num_pieces - 1)
        attention = times.decode_offset_s[decodes, piece] * k
        attention += times.decode_slope_s[decodes, piece] * (k * self.context + decodes * (k * (k - 1) // 2))
        attention = np.where(decodes > 0, attention, 0.0)
        mixed = times.batch_s[self.tokens] + times.prefill_step_s + times.pair_s * self.pairs
        batch = np.where(self.prefills > 0, mixed, times.decode_batch_s[decodes] * k)
        return np.asarray(batch + times.sample_s[self.emitting] * k + attention)


def one_step(tokens: int, context: int) -> Steps:
    """Return a single decode step of so many sequences with so much context in all, from 0 s on."""

    def one(value: int) -> Ints:
        return np.array([value], dtype=np.int64)

    return Steps(np.zeros(1), np.ones(1), one(1), one(tokens), one(tokens), one(context), one(tokens), one(0), one(0))


def read_steps(log: Table, records: Table) -> Steps:
    """Return the steps of a log of one replica."""
    kind, number = log["kind"], np.cumsum(log["kind"] == STEP) - 1
    count = int(number[-1]) + 1
    begin_s, end_s = np.zeros(count), np.zeros(count)
    begin_s[number[kind == STATE]] = log["t_s"][kind == STATE]
    end_s[number[kind == END]] = log["t_s"][kind == END]
    inner = kind == INNER
    np.maximum.at(end_s, number[inner], log["t_s"][inner])
    num_steps = 1 + np.bincount(number[inner], minlength=count)
    entries = log[kind == ENTRY]
    at, chunk, before = number[kind == ENTRY], entries["b"].astype(np.int64), entries["c"].astype(np.int64)
    order = np.argsort(records["serial"])
    prompt = records["prompt_tokens"][order][np.searchsorted(records["serial"][order], entries["a"])].astype(np.int64)
    decodes = (chunk == 1) & (before >= prompt)

    def total(values: NDArray[np.generic]) -> Ints:
        return np.bincount(at, weights=values.astype(np.float64), minlength=count).astype(np.int64)

    pairs = np.where(decodes, 0, chunk * before + chunk * (chunk + 1) // 2)
    return Steps(
        begin_s=begin_s,
        end_s=end_s,
        num_steps=num_steps,
        tokens=total(chunk),
        decodes=total(decodes),
        context=total(np.where(decodes, before + 1, 0)),
        emitting=total(before + chunk >= prompt),
        pairs=total(pairs),
        prefills=total(~decodes),
    )


def change_between(steps: Steps, change_s: Sequence[Floats], from_s: Floats, to_s: Floats) -> Floats:
    """Return how much longer spans of time become if each step becomes longer, the order of events held.

    Parameters
    ----------
    steps : the steps played
    change_s : how much longer each step becomes, one array of shape [s] for each coefficient (m of them)
    from_s, to_s : beginnings and ends of the spans [s], shape [r]

    Returns
    -------
    array of shape [r, m] [s]; a step that a span covers in part counts in proportion
    """
    edges = np.column_stack([steps.begin_s, steps.end_s]).ravel()
    edges = np.maximum.accumulate(edges)
    changes = np.empty((len(from_s), len(change_s)))
    for j, change in enumerate(change_s):
        sums = np.repeat(np.cumsum(change), 2)
        sums[::2] -= change
        changes[:, j] = np.interp(to_s, edges, sums) - np.interp(from_s, edges, sums)
    return changes
