import pytest

from sim.metrics.records import ENDINGS
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


def result_of(calibration=None, **endings):
    """A result with as many requests of each ending, and that calibration of its pools."""
    counts = {f"num_{name}": endings.get(name, 0) for name in ENDINGS}
    machine = {"model": "a-model", "hardware": "h100"}
    return {
        "sim": {
            "endings": {"num_requests": sum(endings.values()), **counts},
            "calibration": calibration or {},
            "by_pool": dict.fromkeys(calibration or {}, machine),
        }
    }


def test_requests_without_an_answer_are_counted_by_ending():
    shown = text.not_answered(result_of(completed=600, in_flight=100, refused=200, rate_limited=100))
    assert shown == (
        "Not answered: 300 of 1,000 requests: 100 rate limited (10.0 %), "
        "200 refused (20.0 %; prompt and answer longer than a pool on the path can hold, or than the tier allows)."
    )


def test_nothing_is_said_where_all_were_answered_or_still_are():
    assert text.not_answered(result_of(completed=600, in_flight=100)) is None
    assert text.not_answered(result_of()) is None


def test_extrapolated_pools_are_named_with_their_first_note():
    far = {"status": "extrapolated", "notes": ["tp 16 was not measured.", "MoE is assumed."]}
    near = {"status": "calibrated", "notes": ["One recent version."]}
    assert text.extrapolated(result_of({"main": far, "guard": near})) == (
        "Extrapolated: pool main (a-model on h100): tp 16 was not measured; 2 notes in the report."
    )
    shown = text.extrapolated(result_of({"main": far, "api": far, "guard": {**far, "notes": ["MLA."]}}))
    assert "pools main, api (a-model on h100)" in shown
    assert shown.endswith("Extrapolated: pool guard (a-model on h100): MLA; 1 note in the report.")
    assert text.extrapolated(result_of({"guard": near})) is None


@pytest.mark.parametrize(
    ("ideal", "shown"),
    [(None, None), (0.374, "Prefix cache: 33.5 % of prompt tokens; 37.4 % if one cache held everything.")],
)
def test_hits_stand_beside_what_is_possible(ideal, shown):
    assert text.cached({"sim": {"cache": {"hit_frac": 0.335, "ideal_hit_frac": ideal}}}) == shown
