"""Units: text to number and back, and nothing but what was asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim import units
from sim.errors import UnitError


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("80 GiB", "B", 80 * 1024**3),
        ("141 GB", "B", 141e9),
        ("400 Gbit/s", "B/s", 50e9),
        ("3.35 TB/s", "B/s", 3.35e12),
        ("20 ms", "s", 0.02),
        ("2h", "s", 7200),
        ("24 h", "s", 86400),
        ("1.5 d", "s", 129600),
        ("15 min", "s", 900),
        ("989 TFLOPS", "FLOP/s", 989e12),
        ("989 TFLOP/s", "FLOP/s", 989e12),
        ("6e23 FLOP", "FLOP", 6e23),
        ("1.5 USD/h", "USD/h", 1.5),
        ("$/h", "USD/h", None),
        ("36 USD/day", "USD/h", 1.5),
        ("0.10 USD/kWh", "USD/kWh", 0.10),
        ("700 W", "W", 700),
        ("1.2 kWh", "J", 4.32e6),
        ("900 req/min", "1/s", 15),
        ("15/s", "1/s", 15),
        ("14.8k tokens/s", "1/s", 14800),
        ("1980 MHz", "Hz", 1.98e9),
        ("500 req/min", "1/min", 500),
        ("10M", "1", 10e6),
        ("10M users", "1", 10e6),
        ("70B", "1", 70e9),
        ("25 %", "1", 0.25),
        ("1e6", "1", 1e6),
        ("10_000", "1", 10000),
        ("  -3.5e-2 ", "1", -0.035),
        (".5 s", "s", 0.5),
        (7, "s", 7),
    ],
)
def test_what_people_write(text, unit, value):
    if value is None:
        with pytest.raises(UnitError):
            units.parse(text, unit)
    else:
        assert units.parse(text, unit) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        ("80 GB", "s", '"80 GB" is an amount of data; expected a time: a number [s] or text such as "20 ms" or "2 h"'),
        ("20 ms", "B", '"20 ms" is a time; expected an amount of data'),
        ("5 s", "1/s", '"5 s" is a time; expected a rate'),
        ("3 TB", "B/s", "is an amount of data; expected a data rate"),
        ("2 hrs", "s", 'unknown unit "hrs". Did you mean h'),
        ("2 GIB", "B", 'unknown unit "GIB". Did you mean GiB?'),
        ("2 m", "s", 'unknown unit "m". Did you mean min? Expected a time'),
        ("2 req/m", "1/s", 'unknown unit "m". Did you mean min? Expected a rate'),
        ("2 mW", "s", 'unknown unit "mW". Expected a time'),
        ("2 B//s", "B/s", 'unknown unit "B//s"'),
        ("fast", "1/s", '"fast" is no number; expected a rate'),
        ("", "s", '"" is no number'),
        ("nan", "s", '"nan" is no number'),
        (float("nan"), "s", "nan is not finite"),
        (float("inf"), "1", "inf is not finite"),
        ("1e999", "1", '"1e999" is not finite'),
        (True, "1", "True is no number"),
        (None, "1", "None is no number"),
        ("5M", "s", 'unknown unit "M"'),
        ("5 % s", "1", 'unknown unit "% s"'),
    ],
)
def test_what_is_refused_and_why(text, unit, message):
    with pytest.raises(UnitError) as caught:
        units.parse(text, unit)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (80 * units.GIB, "B", "80 GiB"),
        (0.02, "s", "20 ms"),
        (7200, "s", "2 h"),
        (0, "s", "0 s"),
        (-0.02, "s", "-20 ms"),
        (3.35e12, "B/s", "3.35 TB/s"),
        (700, "W", "700 W"),
        (1.5, "USD/h", "1.5 USD/h"),
        (0.25, "1", "0.25"),
        (1 / 3, "1", "0.3333"),
    ],
)
def test_what_people_read(value, unit, text):
    assert units.show(value, unit) == text


@given(
    value=st.floats(min_value=1e-12, max_value=1e24) | st.floats(min_value=-1e24, max_value=-1e-12) | st.just(0.0),
    unit=st.sampled_from(["s", "B", "B/s", "FLOP", "FLOP/s", "W", "J", "Hz", "1/s", "USD/h", "1", "1/min"]),
)
def test_what_is_shown_reads_back(value, unit):
    assert units.parse(units.show(value, unit, digits=17), unit) == pytest.approx(value, rel=1e-14)
    assert units.parse(units.show(value, unit), unit) == pytest.approx(value, rel=1e-3)


@given(value=st.floats(allow_nan=False, allow_infinity=False), unit=st.sampled_from(["s", "B", "1"]))
def test_a_bare_number_is_in_the_unit_asked_for(value, unit):
    assert units.parse(value, unit) == value
    assert units.parse(repr(value), unit) == value
