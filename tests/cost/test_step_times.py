"""StepTimes: the form, its evaluation, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.cost.step_times import StepTimes

seconds = st.floats(0.0, 1e-2)


@given(seconds, seconds, seconds, seconds, st.integers(0, 64), st.integers(0, 200), st.integers(0, 10**6))
def test_linear_is_linear(c0, c1, c2, c3, decodes, prefill, context):
    times = StepTimes.linear(c0, c1, c2, c3, max_tokens=512, max_seqs=64)
    if decodes + prefill == 0:
        return
    pairs = prefill * (prefill + 1) / 2
    expected = c0 + c1 * (decodes + prefill) + (c2 * context if decodes else 0.0) + c3 * pairs
    got = times.step_s(decodes + prefill, decodes, context if decodes else 0, decodes, pairs)
    assert got == pytest.approx(expected, rel=1e-12, abs=1e-15)


def two_pieces():
    return StepTimes(
        batch_s=[0.0, 1.0, 2.0, 3.0],
        decode_batch_s=[0.0, 1.5, 2.5],
        sample_s=[0.0, 0.1, 0.2],
        knot_tokens=[100.0, np.inf],
        decode_offset_s=[[0.0, 0.0], [0.0, 5.0], [0.0, 5.0]],
        decode_slope_s=[[0.0, 0.0], [0.1, 0.05], [0.1, 0.05]],
        pair_s=0.25,
        prefill_step_s=0.5,
        power_w=[10.0, 20.0, 20.0, 20.0],
        attention_w=15.0,
        idle_w=10.0,
    )


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ((1, 1, 99, 1), 1.5 + 0.1 + 9.9),
        ((1, 1, 100, 1), 1.5 + 0.1 + 5.0 + 5.0),
        ((2, 2, 300, 2), 2.5 + 0.2 + 5.0 + 15.0),
        ((3, 1, 100, 2, 3.0), 3.0 + 0.5 + 0.2 + 0.75 + 10.0),
        ((2, 0, 0, 0, 3.0), 2.0 + 0.5 + 0.75),
    ],
)
def test_pieces_meet_where_the_knots_say(batch, expected):
    assert two_pieces().step_s(*batch) == pytest.approx(expected, rel=1e-15)


def test_the_tables_cannot_be_changed():
    given_table = np.array([0.0, 1.0, 2.0, 3.0])
    times = replace(two_pieces(), batch_s=given_table)
    given_table[1] = 7.0
    assert times.batch_s[1] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        times.batch_s[1] = 7.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch_s": [1.0, 1.0, 2.0, 3.0]}, "start with 0"),
        ({"batch_s": [0.0, -1.0, 2.0, 3.0]}, "batch_s"),
        ({"sample_s": [0.0, np.nan, 0.2]}, "sample_s"),
        ({"decode_batch_s": [0.0, 1.0]}, "decode_batch_s"),
        ({"power_w": [1.0]}, "power_w"),
        ({"knot_tokens": [np.inf, 100.0]}, "knot_tokens"),
        ({"knot_tokens": [100.0, 200.0]}, "knot_tokens"),
        ({"decode_slope_s": [[0.0, 0.0], [-0.1, 0.0], [0.0, 0.0]]}, "decode_slope_s"),
        ({"decode_offset_s": [[0.0, 0.0], [0.0, -6.0], [0.0, 5.0]]}, "decode_offset_s"),
        ({"pair_s": -1.0}, "pair_s"),
        ({"idle_w": np.inf}, "idle_w"),
    ],
)
def test_tables_that_break_the_form_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        replace(two_pieces(), **change)
