"""Spreads: independent ones add in squares, and what is known exactly has none."""

import math

import pytest

from sim.errors import SpecError
from sim.lifecycle.figures import Stage, computed, stated
from sim.lifecycle.scaling import EPOCH
from sim.spec.lifecycle import Release
from sim.spec.ranged import assumed, given


def test_spreads_of_factors_add_in_squares_of_logarithms():
    two = assumed(2.0, 1.0, 4.0)
    area = computed("area", "1", "a b", lambda a, b: a * b, two, two)
    assert area.value == 4.0
    assert math.log(area.high / 4) == pytest.approx(math.sqrt(2) * math.log(2))
    assert math.log(4 / area.low) == pytest.approx(math.sqrt(2) * math.log(2))


def test_spreads_through_zero_add_in_squares():
    saved = computed("saved", "1", "a - b", lambda a, b: a - b, assumed(1.0, 0.0, 2.0), assumed(1.0, 0.0, 2.0))
    assert (saved.value, saved.low, saved.high) == pytest.approx((0.0, -math.sqrt(2), math.sqrt(2)))


def test_without_a_spread_there_is_no_range():
    exact = computed("both", "1", "a + b", lambda a, b: a + b, 1.0, assumed(2.0))
    assert (exact.value, exact.low, exact.high) == (3.0, None, None)
    assert exact.source == "computed: a + b, from assumed inputs"
    assert stated("one", given(1.0, "a page", "published"), "1").to_dict() == {
        "name": "one",
        "value": 1.0,
        "unit": "1",
        "source": "a page",
    }


def test_a_law_brings_its_errors():
    tokens = computed("tokens", "tokens", "D(N)", lambda law: law.optimal_tokens(70e9), EPOCH)
    assert 1.15e12 < tokens.low < 1.25e12
    assert 1.33e12 < tokens.high < 1.45e12


def test_a_stage_says_what_it_has():
    stage = Stage("data", "Data", (stated("one", assumed(1.0), "1"),))
    assert "one" in stage
    assert stage["one"].source == "assumed"
    with pytest.raises(KeyError, match="data has no figure 'two'; it has one"):
        stage["two"]


def test_a_range_must_hold_its_number():
    with pytest.raises(SpecError, match="low <= value <= high must hold, got 4, 6, 5"):
        Release.from_yaml("cadence_months: {value: 6, kind: assumed, low: 4, high: 5}")
    read = Release.from_yaml("cadence_months: {value: 6, kind: published, source: a page, low: 4, high: 12}")
    assert (read.cadence_months.low, read.cadence_months.high) == (4.0, 12.0)
    assert Release.from_dict(read.to_dict()) == read
    assert Release.from_yaml("cadence_months: 6").cadence_months.kind == "assumed"
