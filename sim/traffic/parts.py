"""The new tokens of a turn as the sum of its parts: text, passages, images, a file.

Parts are independent, so the probabilities of their sum are the convolution of theirs, on whole tokens, by Fourier
transforms. What comes out is a quantile table like any other. Its mean is the sum of the parts' means; each point lies
on the sum's quantile, stretched by what the straight lines between the points would otherwise do to the mean (some
parts in a thousand). So a quantile read from the table is off by a cell, 1/1024 of probability, at most.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.errors import SpecError
from sim.traffic.lengths import CELLS, Table, stretched
from sim.traffic.moments import Drawn

MAX_SUM = 1 << 20
"""Longest turn that parts may add up to [tokens]: as long as the longest contexts of 2026; 8 MB here."""
_NOISE = 1e-15
"""What rounding leaves of a probability of 0 in a transform and back."""


def chances(table: Table) -> NDArray[np.float64]:
    """Probability of 0, 1, 2, ... among the whole numbers that `lengths.tokens` draws from a table; of 0 it is 0."""
    longest = max(int(table[-1] + 0.5), 1)
    _hold(longest)
    return np.diff(Drawn(table, whole=True).cdf(np.arange(longest + 1.0)), prepend=0.0)


def some(share: float, part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of a part that is there with probability `share`, and else 0."""
    found = share * part
    found[0] += 1.0 - share
    return np.asarray(found)


def pieces(number: Table, one: Table) -> NDArray[np.float64]:
    """Probabilities of the tokens of a random number of pieces, the number rounded from 0 on."""
    # What `tokens` draws is 1 at least, so counts are shifted by one and back.
    counts = chances(number + 1.0)[1:]
    each = chances(one)
    longest = (len(counts) - 1) * (len(each) - 1)
    _hold(longest)
    size = 1 << longest.bit_length()
    transform, sums = np.fft.rfft(each, size), np.zeros(size // 2 + 1, dtype=np.complex128)
    for chance in counts[::-1]:
        sums = sums * transform + chance
    return _probabilities(sums, longest)


def summed(parts: Sequence[NDArray[np.float64]]) -> Table:
    """The quantile table of the sum of independent whole numbers, at least one of them never 0."""
    longest = sum(len(part) - 1 for part in parts)
    _hold(longest)
    size = 1 << longest.bit_length()
    together = np.ones(size // 2 + 1, dtype=np.complex128)
    for part in parts:
        together *= np.fft.rfft(part, size)
    mean = sum(float(np.arange(len(part)) @ part) for part in parts)
    return _as_table(_probabilities(together, longest), mean)


def _probabilities(transform: NDArray[np.complex128], longest: int) -> NDArray[np.float64]:
    """Probabilities of 0 to `longest` from their transform."""
    found = np.fft.irfft(transform, 2 * (len(transform) - 1))[: longest + 1]
    found = np.where(found > _NOISE, found, 0.0)
    return np.asarray(found / found.sum())


def _as_table(probabilities: NDArray[np.float64], mean: float) -> Table:
    """The quantile table of whole numbers from 1 on, each with its probability spread evenly around it."""
    values = np.flatnonzero(probabilities)
    done = np.append(0.0, np.cumsum(probabilities[values]))
    at = np.arange(CELLS) / CELLS
    i = np.searchsorted(done, at, side="right") - 1
    points = values[i] - 0.5 + (at - done[i]) / (done[i + 1] - done[i])
    # The last point gives the last cell its mean, as in the tables of unbounded families. The first number in that cell
    # is in it with its upper part.
    shares = np.clip(done[1:] - np.maximum(done[:-1], at[-1]), 0.0, None)
    middles = values.astype(np.float64)
    middles[i[-1]] = 0.5 * (points[-1] + values[i[-1]] + 0.5)
    last = 2.0 * float(shares @ middles / shares.sum()) - points[-1]
    return stretched(np.append(points, max(last, points[-1])), mean, whole=True)


def _hold(longest: int) -> None:
    """Raise where parts are too long to be added."""
    if longest > MAX_SUM:
        raise SpecError(f"the parts of a turn may add up to {longest:,} tokens; at most {MAX_SUM:,}: set their max")
