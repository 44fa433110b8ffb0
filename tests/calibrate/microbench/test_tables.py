"""Measurements in the columns of operator tables."""

import csv

import pytest

from sim.calibrate.microbench.tables import tables, write_tables


def test_each_point_keeps_its_shape_and_time(measured, tmp_path):
    found = tables(measured, "mine")
    assert set(found) == {"gemm", "context_attention", "generation_attention", "custom_allreduce"}
    by_operator = {row.point.operator: row for row in measured.measured}

    row = next(row for row in measured.measured if row.point.operator == "gemm" and row.point.precision == "fp8")
    assert {
        "gemm_dtype": "fp8",
        "m": row.point.m,
        "n": row.point.n,
        "k": row.point.k,
        "system": "mine",
        "framework": "torch",
        "version": "2.13.0",
        "kernel_source": "torch",
        "latency_ms": pytest.approx(row.median_s * 1e3),
    } in found["gemm"]

    point = by_operator["decode_attention"].point
    record = found["generation_attention"][-1]
    assert record["isl"] + record["step"] - 1 == point.context_tokens
    assert (record["batch_size"], record["num_key_value_heads"]) == (point.batch_size, point.num_key_value_heads)

    point = by_operator["all_reduce"].point
    assert found["custom_allreduce"][-1]["message_size"] * 2 == point.message_bytes

    files = write_tables(measured, tmp_path, "mine")
    assert [path.name for path in files] == [
        "aic_context_attention.csv",
        "aic_custom_allreduce.csv",
        "aic_gemm.csv",
        "aic_generation_attention.csv",
    ]
    with files[2].open() as file:
        assert len(list(csv.DictReader(file))) == len(found["gemm"])
