import pytest

from sim.report import text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (12, "12"), (1234567, "1,234,567"), (1234.5, "1234"), (99999.9, "100,000"), (0.0123456, "0.0123")],
)
def test_number(value, shown):
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.5, "50.0 %"), (0.99987, "99.987 %"), (0.00012, "0.012 %"), (-0.02, "-2.0 %")],
)
def test_percent(value, shown):
    assert text.percent(value) == shown


@pytest.mark.parametrize(
    ("value_s", "shown"), [(0.0123, "12.3 ms"), (2.5, "2.5 s"), (86400.0, "24 h"), (1e-5, "10 us"), (604800.0, "7 d")]
)
def test_time(value_s, shown):
    assert text.time(value_s) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1234567.8, "1,234,568 USD"), (12.345, "12.35 USD"), (0.00012345, "0.000123 USD")]
)
def test_usd(value, shown):
    assert text.usd(value) == shown


def test_what_is_missing_is_a_dash():
    shown = [show(None) for show in (text.number, text.time, text.millis, text.percent, text.usd)]
    assert shown == [text.NONE] * 5
