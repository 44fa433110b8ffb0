"""Scores, knees and noise, worked by hand."""

import math

import pytest

from sim.calibrate.serving.knees import knee, knees
from sim.calibrate.serving.results import Result, quantity_of
from sim.calibrate.serving.score import Score, by_bed, by_metric, noise, over_beds, score, trusted


def result(measured, predicted, **changes):
    fields = {
        "row": 0, "point": 0, "gpu": "H100", "metric": "tpot_mean", "tier": "A", "bed": "nim", "is_moe": False,
        "held_out": math.nan, "saturated": False, "distrust": "", "reason": "", "engine": "nim-h100",
    }  # fmt: skip
    return Result(**(fields | {"measured": measured, "predicted": predicted} | changes))


def test_a_score():
    assert score([0.1, -0.2, 0.3, math.nan, -0.4, 0.5]) == Score(5, 0.3, pytest.approx(0.46), 0.1)
    assert score([math.nan]) is None


def test_rows_are_scored_by_gpu_metric_and_tier():
    rows = [
        result(10.0, 11.0, held_out=12.0),
        result(10.0, 9.0, point=1),
        result(10.0, 12.0, point=1),
        result(10.0, 20.0, tier="B"),
        result(10.0, math.nan),
    ]
    first, second = by_metric(rows)
    assert (first["gpu"], first["metric"], first["tier"], first["num_rows"], first["num_points"]) == (
        "H100", "tpot_mean", "A", 3, 2,
    )  # fmt: skip
    assert first["median_ape_frac"] == pytest.approx(0.1)
    assert first["p90_ape_frac"] == pytest.approx(0.18)
    assert first["median_signed_frac"] == pytest.approx(0.1)
    assert first["cv"]["num_rows"] == 1
    assert first["cv"]["median_signed_frac"] == pytest.approx(0.2)
    assert (second["tier"], second["median_ape_frac"], second["cv"]) == ("B", 1.0, None)


def test_what_is_not_scored():
    kept = result(10.0, 11.0)
    rows = [
        kept,
        result(10.0, math.nan),
        result(10.0, 11.0, distrust="why"),
        result(10.0, 11.0, metric="ttft_p50", saturated=True),
    ]
    assert trusted(rows) == [kept]
    # Times per token and rates of a saturated point count.
    busy = [result(10.0, 11.0, saturated=True), result(10.0, 11.0, metric="output_throughput", saturated=True)]
    assert trusted(busy) == busy


def test_quantities():
    names = ("ttft_p99", "itl_mean", "tpot_p50", "e2e_mean", "output_throughput_per_gpu", "avg_power_all_gpus")
    assert [quantity_of(name) for name in names] == ["ttft", "tpot", "tpot", "e2e", "throughput", "power"]
    assert quantity_of("mystery") == "mystery"


def test_beds_have_one_weight_each():
    rows = [
        *(result(10.0, 11.0) for _ in range(9)),
        result(10.0, 13.0, bed="gap"),
        result(10.0, 15.0, bed="blis"),
        result(10.0, 99.0, metric="tpot_p99"),
        result(10.0, 99.0, bed="docs", tier="B"),
        result(10.0, 12.0, is_moe=True),
    ]
    beds = by_bed(rows)
    assert {(row["bed"], row["architecture"], row["part"]): row["num_rows"] for row in beds if row["tier"] == "A"} == {
        ("nim", "dense", "mean, p50"): 9, ("nim", "dense", "p90 to p99"): 1, ("nim", "moe", "mean, p50"): 1,
        ("gap", "dense", "mean, p50"): 1, ("blis", "dense", "mean, p50"): 1,
    }  # fmt: skip
    dense, moe = over_beds(beds)
    assert (dense["architecture"], dense["quantity"], dense["part"], dense["num_beds"]) == (
        "dense",
        "tpot",
        "fitted",
        3,
    )
    assert dense["median_ape_frac"] == pytest.approx(0.3)
    assert (moe["num_beds"], moe["median_ape_frac"]) == (1, pytest.approx(0.2))


def test_held_out_scores_over_beds():
    rows = [result(10.0, 11.0, held_out=13.0), result(10.0, 11.0, bed="gap")]
    parts = {row["part"]: row for row in over_beds(by_bed(rows))}
    assert parts["cv"]["num_beds"] == 1
    assert parts["cv"]["median_ape_frac"] == pytest.approx(0.3)


def test_noise_is_the_difference_of_repeats(point):
    def measured(row, ttft, load="concurrency=1"):
        return point(notes=f"csv row {row}; closed loop", load=load, measured={"ttft_mean": ttft, "itl_mean": 5.0})

    points = [measured(1, 20.0), measured(2, 22.0), measured(3, 25.0), measured(4, 99.0, "concurrency=2")]
    found = noise(points, ["nim"] * 4)
    assert [(row["bed"], row["quantity"], row["num_pairs"]) for row in found] == [
        ("nim", "tpot", 3),
        ("nim", "ttft", 3),
    ]
    assert found[0]["median_frac"] == 0.0
    # 22/20, 25/22, 25/20
    assert found[1]["median_frac"] == pytest.approx(25 / 22 - 1)
    # Another setting in the notes is no repeat.
    others = [point(notes=f"budget {n}", measured={"ttft_mean": 1.0}) for n in (1, 2)]
    assert noise(others, ["nim"] * 2) == []


def test_the_knee_is_where_the_prefill_line_is_left():
    loads = (1, 2, 5, 10, 25, 50)
    assert knee(loads, [20, 40, 95, 200, 480, 990]) == 6
    assert knee(loads, [20, 40, 95, 200, 1900, 9000]) == 4
    # Latency of one request that no other waits for lies below the line.
    assert knee(loads, [20, 21, 22, 25, 30, 40]) == 6


def test_knees_of_sweeps(point):
    loads, line = (1, 2, 5, 10, 25, 50), [20.0, 40.0, 95.0, 200.0, 1900.0, 9000.0]
    points = [point(load=f"concurrency={n}", measured={"ttft_mean": t}) for n, t in zip(loads, line, strict=True)]
    late = [{"ttft_mean": t} for t in (20.0, 40.0, 95.0, 200.0, 500.0, 9000.0)]
    (found,) = knees(points, late, ["nim"] * 6)
    assert (found.measured, found.predicted, found.steps_off, found.loads) == (4, 5, 1, loads)
    assert list(knees(points[:3], late[:3], ["nim"] * 3)) == []
    assert list(knees(points, [{}] * 6, ["nim"] * 6)) == []
