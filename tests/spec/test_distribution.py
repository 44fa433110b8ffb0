"""Distributions: what is accepted, and why the rest is not."""

import pytest

from sim.errors import SpecError
from sim.spec import Distribution, TimeDistribution, TokenDistribution


def test_a_bare_number_is_a_constant():
    assert Distribution.from_yaml("512") == Distribution(distribution_type="constant", mean=512)
    assert TimeDistribution.from_yaml("2 min") == TimeDistribution(distribution_type="constant", mean=120)


def test_times_carry_units_and_counts_multiples():
    given = TimeDistribution.from_yaml("{distribution_type: gamma, mean: 500 ms, standard_deviation: 1, max: 1 h}")
    assert (given.mean, given.standard_deviation, given.max) == (0.5, 1.0, 3600.0)
    assert Distribution.from_yaml("{distribution_type: exponential, mean: 2k}").mean == 2000


def test_percentiles_are_a_table_or_a_name():
    table = Distribution.from_yaml("{distribution_type: percentiles, percentiles: {0: 1, 50: 2, 99.9: 3, 100: 9}}")
    assert table.percentiles == {0.0: 1.0, 50.0: 2.0, 99.9: 3.0, 100.0: 9.0}
    assert (
        Distribution.from_yaml("{distribution_type: percentiles, percentiles: some-table}").percentiles == "some-table"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-3", "must be >= 0, got -3"),
        (".nan", "nan is not finite"),
        ("many", '"many" is no number'),
        ("true", "expected a block of fields (key: value lines), got true"),
        ("{mean: 3}", "line 1  distribution_type: missing."),
        (
            "{distribution_type: lognorml, mean: 3}",
            'distribution_type: "lognorml" is not allowed. Did you mean lognormal?',
        ),
        ("{distribution_type: lognormal, mean: .nan, standard_deviation: 1}", "mean: nan is not finite"),
        ("{distribution_type: lognormal, mean: .inf, standard_deviation: 1}", "mean: inf is not finite"),
        ("{distribution_type: lognormal, mean: -1, standard_deviation: 1}", "mean: must be >= 0, got -1"),
        ("{distribution_type: lognormal, mean: 0, standard_deviation: 1}", "mean: must be > 0"),
        (
            "{distribution_type: lognormal, mean: 1}",
            "standard_deviation: missing; distribution_type lognormal needs it",
        ),
        ("{distribution_type: lognormal, mean: 1, standard_deviation: -1}", "standard_deviation: must be >= 0, got -1"),
        ("{distribution_type: lognormal, mean: 1, stdev: 1}", "stdev: unknown field."),
        ("{distribution_type: uniform, min: 1}", "max: missing; distribution_type uniform needs it"),
        ("{distribution_type: uniform, min: 1, max: 2, mean: 1}", "mean: not used by distribution_type uniform"),
        ("{distribution_type: constant, mean: 5, max: 4}", "mean: must be >= min (0) and <= max (4), got 5"),
        ("{distribution_type: constant, mean: 5, min: 6}", "mean: must be >= min (6), got 5"),
        ("{distribution_type: exponential, mean: 5, min: 6, max: 4}", "max: must be >= min (6), got 4"),
        ("{distribution_type: geometric, mean: 0.5}", "mean: must be >= 1"),
        ("{distribution_type: percentiles}", "percentiles: missing"),
        (
            "{distribution_type: percentiles, percentiles: {0: 1, 50: 3, 100: 2}}",
            "must not fall: 2 at 100 after 3 at 50",
        ),
        ("{distribution_type: percentiles, percentiles: {1: 1, 99: 2}}", "must begin at 0 and end at 100, got 1 to 99"),
        ("{distribution_type: percentiles, percentiles: {0: 1, 100: -2}}", "percentiles.100: must be >= 0, got -2"),
        ("{distribution_type: percentiles, percentiles: {0: 1, 100: .nan}}", "percentiles.100: nan is not finite"),
        ("{distribution_type: percentiles, percentiles: {-1: 1, 100: 2}}", "percentiles.-1: must be >= 0"),
        ("{distribution_type: percentiles, percentiles: {0: 1}}", "percentiles: too few entries: 1; give at least 2"),
        (
            "{distribution_type: percentiles, percentiles: true}",
            "expected a block of named entries (name: value lines) or text",
        ),
    ],
)
def test_what_is_refused_and_why(text, message):
    with pytest.raises(SpecError) as caught:
        Distribution.from_yaml(text)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0  # one mistake, one message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2147483648", "must be <= 1000000000, got 2147483648"),
        ("0", "mean: must reach 1 token, got 0"),
        ("{distribution_type: exponential, mean: 0.3, max: 0.5}", "max: must reach 1 token, got 0.5"),
        ("{distribution_type: uniform, max: 0}", "max: must reach 1 token, got 0"),
        ("{distribution_type: uniform, max: 3e9}", "max: must be <= 1000000000, got 3000000000.0"),
        ("{distribution_type: percentiles, percentiles: {0: 0, 100: 0}}", "percentiles: must reach 1 token, got 0"),
    ],
)
def test_a_length_in_tokens_is_one_at_least_and_fits_32_bits(text, message):
    with pytest.raises(SpecError) as caught:
        TokenDistribution.from_yaml(text)
    assert message in str(caught.value)


def test_a_time_may_be_nothing():
    assert TimeDistribution.from_yaml("0").mean == 0
