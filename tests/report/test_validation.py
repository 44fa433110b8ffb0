"""A validation, drawn and as tables."""

import math

import pytest

from sim.calibrate.serving.results import Result
from sim.errors import SpecError
from sim.report.validation import figure_of, write_figure


def result(bed, metric, measured, predicted, **changes):
    fields = {
        "row": 0, "point": 0, "gpu": "H100", "tier": "A", "is_moe": False, "held_out": math.nan, "saturated": False,
        "distrust": "", "reason": "", "engine": "nim-h100",
    }  # fmt: skip
    return Result(**(fields | {"bed": bed, "metric": metric, "measured": measured, "predicted": predicted} | changes))


def test_points_stand_in_the_panel_of_their_quantity():
    results = [
        result("nim", "itl_mean", 10.0, 11.0),
        result("gap", "tpot_p50", 20.0, 18.0, row=4),
        result("nim", "ttft_mean", 100.0, 120.0),
        result("nim", "tpot_p99", 1.0, 1.0),
        result("nim", "tpot_mean", 2.0, math.nan),
        result("nim", "tpot_mean", 3.0, 3.0, distrust="why"),
    ]
    figure = figure_of(results)
    points = {
        (trace.name, trace.xaxis): (list(trace.x), list(trace.y)) for trace in figure.data if trace.mode == "markers"
    }
    assert points["nim", "x"] == ([10.0], [11.0])
    assert points["gap", "x"] == ([20.0], [18.0])
    assert points["nim", "x3"] == ([100.0], [120.0])
    assert points["nim", "x2"] == ([], [])
    (line,) = (trace for trace in figure.data if trace.mode == "lines" and trace.xaxis == "x")
    assert list(line.x) == list(line.y) == [10.0, 20.0]
    assert next(trace.text for trace in figure.data if trace.name == "gap")[0] == "H100, tpot_p50, row 5"


def test_a_figure_that_cannot_be_written(tmp_path):
    with pytest.raises(SpecError, match="cannot be written"):
        write_figure([result("nim", "itl_mean", 10.0, 11.0)], tmp_path / "none" / "x.html")
