"""What tests of several trace formats share."""

from pathlib import Path

import numpy as np

from sim.traffic.traces import UNKNOWN, Options, joined, read_trace

SAMPLES = Path(__file__).parent / "samples"
AT_A_RATE = Options(rate_per_s=2.0, turn_gap_s=5.0)
BASICS = ("time_ns", "prompt_tokens", "output_tokens")


def whole(path, trace_format="auto", options=AT_A_RATE, report=None):
    """A trace as one block."""
    return joined(list(read_trace(path, trace_format, options, report)))


def texts(*values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def same(one, other, names):
    """Assert that two blocks agree in some columns."""
    for name in names:
        left, right = (getattr(block, name) for block in (one, other))
        if name == "hash_ids":
            assert (left or [[]] * len(one)) == (right or [[]] * len(other)), name
        elif name in UNKNOWN:
            np.testing.assert_array_equal(one.column(name), other.column(name), err_msg=name)
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)
