"""Figures of the notebooks: what is given is what is drawn."""

import pytest

from sim.report import lesson, palette

SERIES = {"a": ([1, 2, 4], [3.0, 2.0, 1.0]), "b": ([1, 2], [5.0, 6.0])}
GROUPS = {"a": [1.0, 2.0], "b": [3.0, 4.0]}


def drawn(figure):
    return {trace.name: (tuple(trace.x), tuple(trace.y)) for trace in figure.data}


def given(series):
    return {name: (tuple(xs), tuple(ys)) for name, (xs, ys) in series.items()}


def test_lines_and_levels():
    figure = lesson.lines(SERIES, x="users", y="[ms]", log="x", levels={"limit": 4.0})
    assert drawn(figure) == given(SERIES) | {"limit": ((1, 4), (4.0, 4.0))}
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("users", "[ms]")
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", None)
    assert {trace.mode for trace in lesson.lines(SERIES, x="", y="", points=False).data} == {"lines"}


@pytest.mark.parametrize(("draw", "kind", "scale"), [(lesson.bars, "bar", None), (lesson.dots, "scatter", "log")])
def test_bars_begin_at_zero_and_dots_are_logarithmic(draw, kind, scale):
    figure = draw(["x", "y"], GROUPS, y="[s]")
    assert drawn(figure) == {name: (("x", "y"), tuple(values)) for name, values in GROUPS.items()}
    assert {trace.type for trace in figure.data} == {kind}
    assert figure.layout.yaxis.type == scale
    assert figure.layout.showlegend
    assert not draw(["x", "y"], {"a": [1.0, 2.0]}, y="[s]").layout.showlegend


def test_points_under_a_ceiling():
    figure = lesson.scatter(SERIES, x="", y="", log="xy", ceiling=([1, 9], [7, 7]))
    assert drawn(figure) == given(SERIES) | {"ceiling": ((1, 9), (7, 7))}
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert len(lesson.scatter(SERIES, x="", y="").data) == 2


def test_no_two_series_differ_by_colour_alone():
    lines = lesson.lines(SERIES, x="", y="").data
    bars = lesson.bars(["x", "y"], GROUPS, y="").data
    dots = lesson.dots(["x", "y"], GROUPS, y="").data
    assert len({trace.line.dash for trace in lines}) == len({trace.marker.pattern.shape for trace in bars}) == 2
    assert len({trace.marker.symbol for trace in dots}) == 2
    assert {trace.line.color for trace in lines} <= set(palette.COLOURS)
