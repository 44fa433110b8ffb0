"""Languages and reactions of the random worlds' senders."""

import math

import numpy as np
from hypothesis import strategies as st

from sim.metrics.records import ABANDONED, FAILED, RATE_LIMITED, SHED
from sim.traffic.arrivals import Reaction

NUM_LANGUAGES = 4
ALL = (ABANDONED, FAILED, RATE_LIMITED, SHED)


@st.composite
def length_factors(draw):
    """None, or a factor for each language."""
    if draw(st.sampled_from([True, True, False])):
        return None
    return np.array([draw(st.sampled_from([1.0, 0.5, 1.7, 3.0])) for _ in range(NUM_LANGUAGES)])


@st.composite
def reactions(draw, clock):
    """None, or senders who ask again, at once or later and later, or leave; who find nothing slow, or all."""
    if draw(st.sampled_from([False, False, True])):
        return None
    fractions = st.sampled_from([1.0, 0.6, 0.0])
    least = 0 if clock.exact else 1  # a stretched clock must leave a retry clear of what went before
    table = sorted(draw(st.lists(clock.calendar(least, 60), min_size=1, max_size=3)))
    return Reaction(
        retried=draw(st.sampled_from([ALL, ALL, (RATE_LIMITED, SHED)])),
        retry_frac=draw(st.sampled_from([1.0, 0.7])),
        max_retries=draw(st.sampled_from([1, 2, 1, 5, 0])),
        backoff_s=np.array([table[i * len(table) // 1025] for i in range(1025)]),
        backoff_factor=draw(st.sampled_from([2.0, 1.0])),
        max_backoff_s=draw(st.sampled_from([math.inf, 1.0])) * clock(128),
        leave_frac=draw(fractions),
        slow_s=draw(st.sampled_from([0.0, 1.0, math.inf])) * clock(32),
        slow_leave_frac=draw(fractions),
    )
