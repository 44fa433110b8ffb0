"""Paths of the random worlds that are more than guards and an answer: delays, drafts, candidates, rates, refusals."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from worlds_people import NUM_LANGUAGES

from sim.plane.world import Visit

SHARES = st.sampled_from([1.0, 1.0, 0.5])
RATES = st.lists(st.sampled_from([0.0, 0.2, 0.7, 1.0]), min_size=NUM_LANGUAGES, max_size=NUM_LANGUAGES)


def table(values):
    """A quantile table that gives each of the values with equal chance."""
    return np.sort(np.array([values[i * len(values) // 1025] for i in range(1025)], dtype=float))


def token_tables(high):
    return st.lists(st.integers(1, high), min_size=1, max_size=2).map(table)


@st.composite
def guards(draw, pool):
    """Classifiers with a verdict of several tokens, rates, refusals, or made by some only."""
    visit = Visit(
        draw(pool), "classify", draw(st.sampled_from(["user", "full", "exchange"])), draw(st.integers(0, 9)),
        frac=draw(SHARES),
        output_tokens=draw(st.one_of(st.none(), token_tables(6))),
        refusal_tokens=draw(st.one_of(st.none(), token_tables(8))),
    )  # fmt: skip
    if draw(st.booleans()):
        return replace(visit, true_positive_rate=tuple(draw(RATES)), false_positive_rate=tuple(draw(RATES)))
    return replace(visit, block_frac=draw(st.sampled_from([0.0, 0.3])))


@st.composite
def pauses(draw, clock):
    """Delays, of no time at all too, that add text or do not."""
    times = draw(st.lists(clock.calendar(0 if clock.exact else 1, 64), min_size=1, max_size=2))
    return Visit(
        -1, "delay", delay_s=table(times), frac=draw(SHARES), keep_in_history=draw(st.booleans()),
        adds_tokens=draw(st.one_of(st.none(), token_tables(9))),
    )  # fmt: skip


@st.composite
def drafts(draw, pool):
    """Drafts as long as the answer, or of a length of their own."""
    return Visit(
        draw(pool), frac=draw(SHARES), prompt_extra_tokens=draw(st.sampled_from([0, 0, 3])),
        keep_in_history=draw(st.booleans()), output_tokens=draw(st.one_of(st.none(), token_tables(5), token_tables(5))),
    )  # fmt: skip


@st.composite
def candidates(draw, pool):
    """An answer that may not do, as it decides itself or a judge does."""
    escalate_frac = draw(st.sampled_from([0.5, 0.0, 1.0, 0.5]))
    visit = Visit(draw(pool), frac=draw(SHARES), prompt_extra_tokens=draw(st.sampled_from([0, 0, 2])))
    if draw(st.booleans()):
        return [replace(visit, escalate_frac=escalate_frac)]
    judge = replace(draw(guards(pool)), frac=1.0, escalate_frac=escalate_frac)
    return [visit, judge]


@st.composite
def long_paths(draw, clock, num_pools):
    """A path with a few of them, in any order, and an answer at its end."""
    pool = st.integers(0, num_pools - 1)
    one = st.one_of(drafts(pool), guards(pool), pauses(clock), drafts(pool)).map(lambda visit: [visit])
    parts = draw(st.lists(st.one_of(candidates(pool), one), min_size=1, max_size=3))
    extra = draw(st.sampled_from([0, 0, 4]))
    answer = Visit(draw(pool), prompt_extra_tokens=extra, keep_in_history=extra > 0 and draw(st.booleans()))
    return (*(visit for part in parts for visit in part), answer)
