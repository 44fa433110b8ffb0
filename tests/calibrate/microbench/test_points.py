"""Points, rows and what a call needs at least."""

import pytest

from sim.calibrate.microbench.points import COLUMNS, MEASURED, SKIPPED, Point, Row, as_record, flops, from_record
from sim.calibrate.microbench.points import moved_bytes as moved

GEMM = Point("gemm", "fp8", m=4, n=8, k=16)
DECODE = Point(
    "decode_attention",
    batch_size=3,
    new_tokens=1,
    context_tokens=100,
    num_heads=8,
    num_key_value_heads=2,
    head_dim=64,
)
PREFILL = Point(
    "prefill_attention",
    batch_size=2,
    new_tokens=10,
    context_tokens=10,
    num_heads=4,
    num_key_value_heads=2,
    head_dim=8,
)


def test_operations_and_bytes_by_hand():
    assert (flops(GEMM), moved(GEMM)) == (2 * 4 * 8 * 16, 8 * 16 + 4 * 16 + 2 * 4 * 8)
    assert flops(DECODE) == 3 * 100 * 8 * 64 * 4  # two products of 2 operations for each head's width
    assert moved(DECODE) == 2 * 3 * (2 * 8 + 2 * 2 * 100) * 64  # q and the result, k and v
    assert flops(PREFILL) == 2 * 55 * 4 * 8 * 4  # 1 + 2 + ... + 10 pairs
    assert moved(Point("copy", variant="device_to_device", message_bytes=10)) == 20
    assert moved(Point("copy", variant="host_to_device", message_bytes=10)) == 10
    assert moved(Point("all_reduce", num_gpus=4, message_bytes=100)) == 150
    assert moved(Point("add", m=2, n=3)) == 36
    assert (flops(Point("launch")), moved(Point("launch"))) == (0, 0)


@pytest.mark.parametrize(
    "row",
    [
        Row(GEMM, MEASURED, "torch.mm", "", 1.25e-5, 1e-7, 1.2e-5, 40, 1980.0, 3201.0, 512.5, 60.0, "power cap"),
        Row(DECODE, MEASURED, "sdpa", median_s=1e-3, iqr_s=0.0, min_s=1e-3, num_samples=3),
        Row(PREFILL, SKIPPED, note='out of memory, "really"'),
    ],
)
def test_a_row_reads_back(row):
    record = as_record(row)
    assert list(record) == list(COLUMNS)
    assert from_record(record) == row


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"m": "many"}, 'm: "many" is no number'),
        ({"median_s": "x"}, 'median_s: "x" is no number'),
        ({"median_s": ""}, "a measured row needs a time above 0"),
        ({"median_s": "0"}, "a measured row needs a time above 0"),
        ({"status": "guessed"}, "Allowed: measured, skipped"),
        ({"precision": "fp3"}, "Allowed: bf16, fp8"),
        ({"kernel": None}, "column kernel is missing"),
    ],
)
def test_a_wrong_record_is_refused(change, message):
    record = as_record(Row(GEMM, MEASURED, median_s=1e-3))
    with pytest.raises(ValueError, match=message):
        from_record(record | change)
