import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sim.metrics import histogram
from sim.metrics.histogram import EDGES, MIDDLES, NUM_BINS, RELATIVE_ERROR, bin_of

IN_RANGE = st.floats(min_value=2.0**-20, max_value=2.0**12, exclude_max=True)
VALUES = arrays(np.float64, st.integers(1, 200), elements=IN_RANGE)
COUNTS = arrays(np.int64, NUM_BINS, elements=st.integers(0, 2**40), fill=st.just(0))
QUANTILES = st.sampled_from([0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0])


def test_edges_run_from_a_microsecond_to_three_days_with_64_bins_an_octave():
    assert EDGES[0] == 2.0**-20
    assert EDGES[-1] == 2.0**18
    assert np.array_equal(EDGES[::64], 2.0 ** np.arange(-20, 19))
    octave = EDGES[20 * 64 : 21 * 64 + 1]  # [1, 2]
    assert np.array_equal(octave, 1.0 + np.arange(65) / 64)


def test_every_edge_opens_its_own_bin():
    assert np.array_equal(bin_of(EDGES[:-1]), np.arange(NUM_BINS))
    assert np.array_equal(bin_of(np.nextafter(EDGES[1:], 0.0)), np.arange(NUM_BINS))


@given(IN_RANGE)
def test_the_bin_is_the_scalar_rule_of_the_contract(value):
    bits = int(np.float64(value).view(np.uint64))
    assert bin_of(np.array([value]))[0] == (bits >> 46) - ((1023 - 20) << 6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0), (-1.0, 0), (1e-9, 0), (2.0**18, NUM_BINS - 1), (1e300, NUM_BINS - 1), (np.inf, NUM_BINS - 1)],
)
def test_values_out_of_range_fall_in_the_outer_bins(value, expected):
    assert bin_of(np.array([value]))[0] == expected


@given(VALUES)
def test_a_middle_is_within_the_bound_of_every_value_of_its_bin(values):
    error = np.abs(MIDDLES[bin_of(values)] - values)
    assert (error <= RELATIVE_ERROR * values).all()


def test_the_bound_is_reached_at_the_bottom_of_an_octave_and_nowhere_exceeded():
    error = np.maximum(MIDDLES / EDGES[:-1] - 1.0, 1.0 - MIDDLES / EDGES[1:])
    assert error.max() == RELATIVE_ERROR
    assert set(np.flatnonzero(error == RELATIVE_ERROR)) == set(range(0, NUM_BINS, 64))


@given(VALUES, QUANTILES)
@example(np.arange(1.0, 1001.0), 0.999)  # 0.999 * 1000 is not 999 in floating point for every such pair
def test_a_quantile_is_within_the_bound_of_the_order_statistic(values, q):
    exact = np.sort(values)[max(1, int(np.ceil(round(q * len(values), 9)))) - 1]
    assert abs(histogram.quantile(histogram.count(values), q) - exact) <= RELATIVE_ERROR * exact


@given(VALUES)
def test_counts_are_conserved_and_mean_and_std_follow(values):
    counts = histogram.count(values)
    assert counts.sum() == len(values)
    assert abs(histogram.mean(counts) - values.mean()) <= RELATIVE_ERROR * values.mean() * (1 + 1e-12)
    assert abs(histogram.std(counts) - values.std()) <= RELATIVE_ERROR * np.sqrt((values**2).mean()) * (1 + 1e-9)


@given(VALUES, VALUES)
def test_merging_is_counting_together(left, right):
    together = histogram.count(np.concatenate([left, right]))
    assert np.array_equal(histogram.count(left) + histogram.count(right), together)


@given(COUNTS, COUNTS, COUNTS)
def test_merging_is_associative_and_commutative(a, b, c):
    assert np.array_equal((a + b) + c, a + (b + c))
    assert np.array_equal(a + b, b + a)


@given(VALUES, st.integers(1, 50))
def test_a_weight_is_so_many_values(values, weight):
    weights = np.full(len(values), weight)
    assert np.array_equal(histogram.count(values, weights), histogram.count(np.repeat(values, weight)))


@given(VALUES)
def test_quantiles_rise(values):
    counts = histogram.count(values)
    found = [histogram.quantile(counts, q) for q in (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)]
    assert found == sorted(found)


def test_nothing_counted_has_no_statistics():
    empty = np.zeros(NUM_BINS, np.int64)
    assert np.isnan([histogram.quantile(empty, 0.5), histogram.mean(empty), histogram.std(empty)]).all()


@pytest.mark.parametrize("q", [-0.1, 1.1, np.nan])
def test_a_quantile_outside_0_and_1_is_an_error(q):
    with pytest.raises(ValueError, match="within"):
        histogram.quantile(np.ones(NUM_BINS, np.int64), q)
