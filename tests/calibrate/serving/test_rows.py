"""Tables of measurements: what is read, what is refused, which rows belong together."""

import pytest

from sim.calibrate.serving.rows import points_of, read_table
from sim.errors import SpecError


def test_values_and_points(write):
    table = read_table(
        write(
            {"value": "20", "notes": "csv row 1"},
            {"metric": "tpot_mean", "value": "0.008", "unit": "s", "notes": "csv row 1; DERIVED (E2E-TTFT)/(OSL-1)"},
            {"metric": "ttft_mean", "value": "21", "notes": "csv row 2"},
            {"metric": "output_throughput", "value": "100", "unit": "tok/s", "notes": "csv row 1"},
        )
    )
    assert table.values == (20.0, 8.0, 21.0, 100.0)
    first, second = points_of(table)
    assert first.rows == (0, 1, 3)
    assert first.measured == {"ttft_mean": 20.0, "tpot_mean": 8.0, "output_throughput": 100.0}
    assert (second.rows, second.notes) == ((2,), "csv row 2")
    assert first.condition == second.condition


def test_a_row_of_another_load_or_curve_is_another_point(write):
    table = read_table(write({}, {"concurrency_or_rate": "concurrency=2"}, {"group_id": "g2"}, {"isl": "513"}))
    assert len(points_of(table)) == 4


def test_missing_columns_are_told_at_once(write):
    with pytest.raises(SpecError) as caught:
        read_table(write({}, columns=("model", "gpu", "value")))
    (problem,) = caught.value.problems
    assert problem.message.startswith("columns missing: source, date, engine, version, precision")
    assert problem.message.endswith("The file has: model, gpu, value")
    assert problem.line == 1


def test_bad_values_are_told_with_their_lines(write):
    with pytest.raises(SpecError) as caught:
        read_table(write({}, {"value": "fast"}, {"value": "-3"}, *({"value": "nan"},) * 9))
    *shown, more = caught.value.problems
    assert [problem.line for problem in shown] == [3, 4, 5, 6, 7]
    assert shown[0].message == "must be a number, got 'fast'"
    assert shown[1].message == "must be a number above 0, got -3"
    assert more.message == "and 6 more rows of the kind"


def test_a_table_that_is_none(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(SpecError, match="The file has: nothing"):
        read_table(tmp_path / "empty.csv")


def test_a_table_without_rows(write):
    with pytest.raises(SpecError, match="no rows"):
        read_table(write())
