"""Quantile tables: their values, their exact means, and the lookup."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from sim.errors import SpecError
from sim.spec import Distribution
from sim.traffic.lengths import CELLS, lookup, quantile_table, stretched, table_mean, tokens

GRID = np.arange(CELLS + 1) / CELLS
# Uniform over (0, 1) so finely that sums over it are integrals.
FINE = (np.arange(1 << 20) + 0.5) / (1 << 20)
FAMILIES = [
    {"distribution_type": "constant", "mean": 512},
    {"distribution_type": "uniform", "min": 3, "max": 900},
    {"distribution_type": "exponential", "mean": 340},
    {"distribution_type": "geometric", "mean": 3},
    {"distribution_type": "gamma", "mean": 20, "standard_deviation": 10},
    {"distribution_type": "gamma", "mean": 1000, "standard_deviation": 3000},
    {"distribution_type": "lognormal", "mean": 212.8, "standard_deviation": 270.2},
    {"distribution_type": "percentiles", "percentiles": {"0": 1, "57.9": 1.5, "87.6": 4.5, "99": 13.5, "100": 40}},
]


def distribution(**fields):
    return Distribution.from_dict(fields)


@pytest.mark.parametrize("fields", FAMILIES, ids=str)
def test_the_mean_is_that_of_the_family_and_of_the_lookup(fields):
    for whole in (False, True):
        table = quantile_table(distribution(**fields), whole=whole)
        assert table.shape == (CELLS + 1,)
        assert np.all(np.diff(table) >= 0)
        drawn = tokens(table, FINE) if whole else lookup(table, FINE)
        assert table_mean(table, whole=whole) == pytest.approx(drawn.mean(), rel=2e-6)
        if "mean" in fields:
            assert table_mean(table, whole=whole) == pytest.approx(fields["mean"], rel=1e-12)


def test_values_are_the_inverse_cdf():
    inner = slice(1, CELLS)
    u = GRID[inner]
    table = quantile_table(distribution(distribution_type="exponential", mean=50))
    assert table[inner] == pytest.approx(-50 * np.log1p(-u), rel=1e-4)
    table = quantile_table(distribution(distribution_type="gamma", mean=20, standard_deviation=10))
    assert table[inner] == pytest.approx(special.gammaincinv(4, u) * 5, rel=1e-4)
    # ln X is normal(mu, s) with s^2 = ln(1 + (sd/mean)^2) and mu = ln(mean) - s^2/2.
    table = quantile_table(distribution(distribution_type="lognormal", mean=212.8, standard_deviation=270.2))
    assert table[inner] == pytest.approx(np.exp(4.88 + 0.98 * special.ndtri(u)), rel=2e-3)
    table = quantile_table(distribution(distribution_type="geometric", mean=3))
    assert table[[256, 512, 768, 1000]] == pytest.approx([1, 2, 4, 10], rel=1e-3)
    table = quantile_table(distribution(distribution_type="uniform", min=10, max=20))
    assert table == pytest.approx(10 + 10 * GRID)


def test_percentiles_lie_on_straight_lines():
    table = quantile_table(distribution(distribution_type="percentiles", percentiles={"0": 2, "50": 4, "100": 16}))
    assert table[[0, 256, 512, 768, 1024]].tolist() == [2, 3, 4, 10, 16]


def test_values_are_cut_off_at_min_and_max():
    cut = {"distribution_type": "lognormal", "mean": 212.8, "standard_deviation": 270.2, "min": 60, "max": 3600}
    table = quantile_table(distribution(**cut))
    assert (table[0], table[-1]) == (60, 3600)
    free = quantile_table(distribution(**{**cut, "min": 0, "max": None}))
    assert np.array_equal(table, np.clip(free, 60, 3600))


def test_no_spread_is_a_constant():
    for family in ("gamma", "lognormal"):
        table = quantile_table(distribution(distribution_type=family, mean=7, standard_deviation=0))
        assert np.all(table == 7)


def test_the_spread_survives_the_table():
    table = quantile_table(distribution(distribution_type="lognormal", mean=212.8, standard_deviation=270.2))
    # The last of 1024 cells flattens the far tail.
    assert lookup(table, FINE).std() == pytest.approx(270.2, rel=0.01)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 3.0, 1000.0, 1e5]), st.booleans())
def test_the_mean_of_any_table_is_exact(seed, largest, flat):
    table = np.sort(np.random.default_rng(seed).uniform(0.0, largest, CELLS + 1))
    if flat:
        table = np.floor(2 * table) / 2  # whole and half numbers, where rounding jumps
    # Between jumps of the rounding every cell is a line: the mean of its whole numbers, by their shares of the cell.
    total = 0.0
    for low, high in pairwise(table):
        first, last = int(low + 0.5), int(high + 0.5)
        if first == last:
            total += max(1, first)
            continue
        ends = np.concatenate([[low], np.arange(first + 1, last + 1) - 0.5, [high]])
        total += np.maximum(np.arange(first, last + 1), 1) @ np.diff(ends) / (high - low)
    assert table_mean(table) == pytest.approx(total / CELLS, rel=1e-9)


def test_stretching_meets_the_mean_and_keeps_the_lowest():
    turns = quantile_table(distribution(**FAMILIES[-1]))
    for mean in (1.0, 1.5, 3.0, 12.0):
        longer = stretched(turns, mean, whole=True)
        assert table_mean(longer) == pytest.approx(mean, rel=1e-9)
        assert longer[0] == turns[0]


@pytest.mark.parametrize("mean", [0.5, 11.0])
def test_a_mean_out_of_reach_is_refused(mean):
    with pytest.raises(SpecError, match="cannot be reached"):
        stretched(np.full(CELLS + 1, 10.0), mean, whole=True)


def test_tokens_are_rounded_and_at_least_one():
    table = np.linspace(0.0, 2.0, CELLS + 1)
    assert tokens(table, np.array([0.001, 0.249, 0.7499, 0.7501, 0.999])).tolist() == [1, 1, 1, 2, 2]


def test_a_tail_beyond_32_bits_is_cut_and_not_turned_into_one_token():
    heavy = Distribution(distribution_type="lognormal", mean=1e9, standard_deviation=1e9)
    drawn = tokens(quantile_table(heavy, whole=True), FINE[-9:])
    assert (drawn == 1_000_000_000).all()
    assert (tokens(np.full(1025, 1e12), FINE[:3]) == 1_000_000_000).all()
