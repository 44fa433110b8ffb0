import numpy as np
import pytest
from synthetic import finished, intervals

from sim.report import palette
from sim.report.distributions import DISTRIBUTIONS
from sim.report.figures import figures, panels


@pytest.fixture(scope="module")
def run():
    return finished(8000, saturated=True)[0]


@pytest.fixture(scope="module")
def drawn(run):
    return figures(run)


def test_all_figures_are_there(drawn):
    assert list(drawn) == [
        "ttft",
        "itl",
        "e2el",
        "cost",
        "breakdown",
        "endings",
        "arrivals",
        "timeline",
        "utilisation",
    ]


@pytest.mark.parametrize("key", [which.key for which in DISTRIBUTIONS])
def test_cumulative_shares_rise_from_0_to_1_for_every_tier(drawn, run, key):
    curves = [trace for trace in drawn[key].data if trace.mode != "markers" and trace.xaxis == "x"]
    assert [curve.name for curve in curves] == list(run.tiers)
    for curve in curves:
        assert curve.y[0] == 0.0
        assert curve.y[-1] == 1.0
        assert (np.diff(curve.y) >= 0).all()
        assert (np.diff(curve.x) > 0).all()


@pytest.mark.parametrize("key", [which.key for which in DISTRIBUTIONS])
def test_a_histogram_has_area_1(drawn, key):
    for trace in drawn[key].data:
        if trace.xaxis == "x2":
            octaves = np.diff(np.log2(np.array(trace.x)))
            assert (np.array(trace.y)[:-1] * octaves).sum() == pytest.approx(1.0, abs=1e-3)


def test_targets_are_marked_where_they_are_given(drawn):
    marked = {key: [t.name for t in drawn[key].data if t.mode == "markers"] for key in ("ttft", "e2el", "cost")}
    assert marked == {"ttft": ["free target", "pro target"], "e2el": ["pro target"], "cost": []}


def test_the_parts_of_the_breakdown_add_up_to_the_whole(drawn, run):
    totals = np.sum([trace.x for trace in drawn["breakdown"].data], axis=0)
    expected = [run.result["sim"]["by_tier"][tier]["mean_e2el_ms"] / 1000 for tier in run.tiers]
    assert totals == pytest.approx(expected)


def test_shares_of_endings_add_up_to_1_for_every_tier(drawn, run):
    shares = dict.fromkeys(run.tiers, 0.0)
    for trace in drawn["endings"].data:
        for tier, share in zip(trace.y, trace.x, strict=True):
            shares[tier] += share
    assert list(shares.values()) == pytest.approx([1.0] * len(run.tiers))


def test_the_timeline_has_every_pool_and_gauge(drawn, run):
    timeline = drawn["timeline"]
    assert len(timeline.data) == 6 * len(run.pools)
    rows = intervals(saturated=True)
    main = rows[rows["pool"] == 0]
    power = next(t for t in timeline.data if t.name == "main" and t.yaxis == "y5")
    assert power.y == pytest.approx(main["energy_j"] / 900 / 1000, rel=1e-4)
    assert power.x == pytest.approx(main["t_s"] / 3600, rel=1e-4)


def test_saturated_intervals_are_marked(drawn):
    crosses = [t for t in drawn["utilisation"].data if t.mode == "markers"]
    assert [(t.name, list(t.x)) for t in crosses] == [("main saturated", [17.5])]


def test_every_table_is_rectangular_and_filled(run):
    for panel in panels(run):
        assert panel.table.rows, panel.key
        assert {len(row) for row in panel.table.rows} == {len(panel.table.header)}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("background", palette.BACKGROUNDS)
@pytest.mark.parametrize("colour", palette.COLOURS)
def test_colours_stand_out_from_both_backgrounds(colour, background):
    low, high = sorted([luminance(colour), luminance(background)])
    assert (high + 0.05) / (low + 0.05) >= 3.0


def test_the_style_sheet_has_the_palettes_backgrounds(repository):
    css = (repository / "sim/report/templates/report.css").read_text()
    for background in palette.BACKGROUNDS:
        assert f"--page: {background};" in css


@pytest.mark.parametrize("style", [palette.line, palette.marker, palette.bar])
def test_series_differ_by_more_than_colour(style):
    seen = [{k: v for k, v in style(i).items() if k != "color"} for i in range(len(palette.COLOURS))]
    assert all(seen[i] != seen[j] for i in range(len(seen)) for j in range(i))
