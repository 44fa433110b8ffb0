"""Measurements as operator tables: the columns in which aiconfigurator-core and the fits of kernels keep them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from sim.calibrate.microbench.folder import Measurements
from sim.calibrate.microbench.points import Point, Row

FRAMEWORK: Final = "torch"
TYPES: Final = {"bf16": "bfloat16", "fp8": "fp8"}
Record = dict[str, str | int | float]


def _gemm(point: Point) -> Record:
    return {"gemm_dtype": TYPES[point.precision], "m": point.m, "n": point.n, "k": point.k}


def _attention(point: Point) -> Record:
    return {
        "attn_dtype": TYPES[point.precision],
        "kv_cache_dtype": TYPES[point.precision],
        "batch_size": point.batch_size,
        "isl": point.new_tokens,
        "num_heads": point.num_heads,
        "num_key_value_heads": point.num_key_value_heads,
        "head_dim": point.head_dim,
        "window_size": 0,
        "step": 0,
    }


def _decode(point: Point) -> Record:
    # A query against isl + step - 1 keys, its own among them.
    return _attention(point) | {"isl": 1, "step": point.context_tokens}


def _all_reduce(point: Point) -> Record:
    return {
        "allreduce_dtype": TYPES[point.precision],
        "num_gpus": point.num_gpus,
        "message_size": point.message_bytes // 2,  # elements of two bytes
        "op_name": "all_reduce",
    }


OPERATORS: Final[Mapping[str, tuple[str, Callable[[Point], Record]]]] = {
    "gemm": ("gemm", _gemm),
    "prefill_attention": ("context_attention", _attention),
    "decode_attention": ("generation_attention", _decode),
    "all_reduce": ("custom_allreduce", _all_reduce),
}
"""Operator -> name of its table, and its columns; what has no table (copies, launches) is not in it."""


def tables(measurements: Measurements, system: str) -> dict[str, list[Record]]:
    """Return the rows of each table that was measured; `latency_ms` is the time of a call [ms]."""
    version = str(measurements.provenance.get("torch", ""))
    found: dict[str, list[Record]] = {}
    for row in measurements.measured:
        if row.point.operator in OPERATORS:
            name, columns = OPERATORS[row.point.operator]
            found.setdefault(name, []).append(_record(row, columns(row.point), system, version))
    return found


def _record(row: Row, columns: Record, system: str, version: str) -> Record:
    # One name for all kernels of an operator: which of them runs depends on the shape, as inside an engine.
    head: Record = {"system": system, "framework": FRAMEWORK, "version": version, "kernel_source": FRAMEWORK}
    return head | columns | {"latency_ms": (row.median_s or 0.0) * 1e3}


def write_tables(measurements: Measurements, folder: str | Path, system: str) -> list[Path]:
    """Write `aic_<table>.csv` for each table that was measured; return the files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, records in sorted(tables(measurements, system).items()):
        path = folder / f"aic_{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(records)
        written.append(path)
    return written
