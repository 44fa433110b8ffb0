"""Decoding without a cache: every step computes the whole of every sequence again, told in the words of `StepTimes`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.cost.step_times import Floats

RATIO = 2.0**0.5
"""Each piece ends at this multiple of where it begins; a chord is then at most 3 % above a square."""
FIRST_KNOT = 64.0
"""Total context at which the first piece ends [tokens]."""


def recompute_pieces(
    num_seqs: Floats, max_context_tokens: float, excess_s: Callable[[Floats], Floats], pair_s: float
) -> tuple[Floats, Floats, Floats]:
    r"""Return knots, offsets and slopes of decode steps that compute their context anew.

    Parameters
    ----------
    num_seqs : numbers of sequences, from 0
    max_context_tokens : largest total context that can occur
    excess_s : time of a batch of so many tokens beyond that of an empty one [s]
    pair_s : attention per query x context pair, all layers [s]

    Returns
    -------
    knots [tokens, shape K], offsets and slopes [s, shape n x K]

    Notes
    -----
    .. math:: f_n(C) = t(C) - t(0) + p\, (C^2 / n + C) / 2

    C tokens in n sequences taken to be equally long (unequal ones have more pairs). The curve is replaced by chords
    between knots that grow by a constant ratio, so the error is relative: at most (r - 1)^2 / 4 r.
    """
    num_knots = max(1, int(np.ceil(np.log(max(max_context_tokens / FIRST_KNOT, 1.0)) / np.log(RATIO))))
    ends = np.concatenate([[0.0], FIRST_KNOT * RATIO ** np.arange(num_knots + 1.0)])
    n = np.maximum(num_seqs, 1.0)[:, np.newaxis]
    curve = np.maximum(excess_s(ends) + pair_s * (ends**2 / n + ends) / 2, 0.0)  # f(0) may be a rounding off zero
    slopes = np.diff(curve) / np.diff(ends)
    offsets = curve[:, :-1] - slopes * ends[:-1]
    some = (num_seqs > 0)[:, np.newaxis]
    knots = np.append(ends[1:-1], np.inf)
    return knots, np.where(some, offsets, 0.0), np.where(some, slopes, 0.0)
