"""How often a call is repeated: warm-up, samples until the median is sure enough, a cap on the time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Timer(Protocol):
    """Takes samples of a call on some device."""

    def samples(self, call: Callable[[], object], count: int) -> list[float]:
        """Return the times of `count` calls [s], each on cold caches."""
        ...

    def now(self) -> float:
        """Return the host's clock [s]."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop; all values *assumed*, chosen so that a run of about 900 points stays under ten minutes."""

    warm_up: int = 3
    """Calls before the first sample [1]."""
    num_least: int = 3
    """Samples that are taken whatever they cost [1]."""
    num_wanted: int = 10
    """Samples before the spread is looked at [1]."""
    num_most: int = 60
    """Samples at most [1]."""
    error_frac: float = 0.005
    """Standard error of the median, relative to it, that is good enough [1]."""
    cap_s: float = 0.5
    """Time after which no further samples are taken [s]."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the samples of one point say."""

    median_s: float
    iqr_s: float
    min_s: float
    num_samples: int


def measure(call: Callable[[], object], timer: Timer, limits: Limits) -> Sampled:
    r"""Time one call.

    Parameters
    ----------
    call : enqueues the work once
    timer : takes the samples
    limits : when to stop

    Returns
    -------
    Sampled
        Median, interquartile range and minimum [s].

    Notes
    -----
    The standard error of a median of n normal values is 1.2533 sigma / sqrt(n), and sigma is IQR / 1.349; so
    sampling stops where 0.929 IQR / sqrt(n) is at most `error_frac` of the median.
    """
    began = timer.now()
    timer.samples(call, limits.warm_up)
    taken = timer.samples(call, limits.num_least)
    while len(taken) < limits.num_most and not (len(taken) >= limits.num_wanted and _is_sure(taken, limits.error_frac)):
        spent = timer.now() - began
        each = spent / (len(taken) + limits.warm_up)
        left = int((limits.cap_s - spent) / each) if each > 0 else limits.num_most
        count = min(limits.num_wanted, limits.num_most - len(taken), left)
        if count < 1:
            break
        taken += timer.samples(call, count)
    return summarise(taken)


def summarise(samples: list[float]) -> Sampled:
    """Return what samples [s] say; there are two at least."""
    return Sampled(statistics.median(samples), _iqr(samples), min(samples), len(samples))


def _is_sure(samples: list[float], error_frac: float) -> bool:
    return 0.929 * _iqr(samples) / math.sqrt(len(samples)) <= error_frac * statistics.median(samples)


def _iqr(samples: list[float]) -> float:
    first, _, third = statistics.quantiles(samples, n=4, method="inclusive")
    return third - first
