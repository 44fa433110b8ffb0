"""Which points there are."""

import pytest

from sim.calibrate.microbench.plan import LARGEST_FRAC, SECTIONS, Device, expected_s, plan
from sim.calibrate.microbench.points import moved_bytes
from sim.errors import SpecError

H200 = Device(140e9, ("bf16", "fp8"), 8)
SMALL = Device(24e9)


def test_a_plan_spans_serving_shapes():
    points = plan(H200)
    assert list(points) == list(SECTIONS)
    gemm = points["gemm"]
    assert {point.precision for point in gemm} == {"bf16", "fp8"}
    assert (min(point.m for point in gemm), max(point.m for point in gemm)) == (1, 16384)
    assert {(point.n, point.k) for point in gemm} >= {(6144, 4096), (8192, 28672)}  # 8B's qkv, 70B's down
    decode = points["decode"]
    assert max(moved_bytes(point) for point in decode) > 50 * 60e6  # far beyond an L2 cache of 60 MB
    assert any(point.num_heads > point.num_key_value_heads for point in decode)
    assert {point.num_gpus for point in points["all_reduce"]} == {2, 4, 8}
    assert all(len(set(section)) == len(section) for section in points.values())


def test_what_does_not_fit_or_exist_is_left_out():
    points = plan(SMALL)
    assert {point.precision for point in points["gemm"]} == {"bf16"}
    assert points["all_reduce"] == []
    assert all(moved_bytes(point) <= LARGEST_FRAC * 24e9 for section in points.values() for point in section)
    assert len(plan(Device(4e9))["decode"]) < len(points["decode"])
    largest = max(plan(H200)["decode"], key=moved_bytes)
    assert largest.batch_size * largest.context_tokens * largest.num_key_value_heads * largest.head_dim < 2**31


def test_the_order_is_random_but_fixed_by_the_seed():
    assert plan(H200) == plan(H200)
    other = plan(H200, seed=2)
    assert plan(H200)["gemm"] != other["gemm"]
    assert set(plan(H200)["gemm"]) == set(other["gemm"])
    assert [point.m for point in other["gemm"]] != sorted(point.m for point in other["gemm"])


def test_only_keeps_sections_in_the_same_order():
    assert plan(H200, only=("decode",)) == {"decode": plan(H200)["decode"]}
    with pytest.raises(SpecError, match="Did you mean decode") as raised:
        plan(H200, only=("decod", "nothing"))
    assert len(raised.value.problems) == 2


def test_quick_and_tiny_are_smaller():
    def size(points):
        return sum(map(len, points.values()))

    full, quick, tiny = plan(H200), plan(H200, quick=True), plan(Device(1e9, num_gpus=2), tiny=True)
    assert size(tiny) < size(quick) < size(full) / 3
    assert all(tiny.values())
    assert sum(expected_s(point) for section in full.values() for point in section) < 540
