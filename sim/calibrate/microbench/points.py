"""Points and rows of a measurement folder: the one place that says what its columns mean."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Final

VALUE_BYTES: Final = {"bf16": 2, "fp8": 1}
"""Bytes of one operand by precision [B]; results are written in bf16."""
RESULT_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Point:
    """One thing to measure: an operator at a precision and a shape; fields that an operator has not are 0."""

    operator: str
    precision: str = "bf16"
    variant: str = ""
    m: int = 0
    n: int = 0
    k: int = 0
    batch_size: int = 0
    new_tokens: int = 0
    context_tokens: int = 0
    num_heads: int = 0
    num_key_value_heads: int = 0
    head_dim: int = 0
    num_gpus: int = 1
    message_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a point: its time, and the state of the device while it was taken."""

    point: Point
    status: str
    kernel: str = ""
    note: str = ""
    median_s: float | None = None
    iqr_s: float | None = None
    min_s: float | None = None
    num_samples: int = 0
    clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle: str = ""


MEASURED: Final = "measured"
SKIPPED: Final = "skipped"

COLUMNS: Final = {
    "operator": "gemm, prefill_attention, decode_attention, add, rms_norm, silu_and_mul, copy, launch or all_reduce",
    "precision": "of the operands: bf16 or fp8; results are bf16",
    "variant": "copy: device_to_device, host_to_device, device_to_host; launch: what is launched how",
    "m": "rows of the left side, or tokens [1]",
    "n": "columns of the result, or width [1]",
    "k": "inner dimension of a product [1]",
    "batch_size": "sequences [1]",
    "new_tokens": "queries of each sequence [tokens]",
    "context_tokens": "keys of each sequence, the new ones included [tokens]",
    "num_heads": "query heads [1]",
    "num_key_value_heads": "key-value heads [1]",
    "head_dim": "width of a head [1]",
    "num_gpus": "GPUs that take part [1]",
    "message_bytes": "bytes copied, or bytes that each GPU contributes [B]",
    "status": "measured, or skipped with the reason in note",
    "kernel": "implementation that ran: the quickest that the device offers for this shape",
    "note": "why a point was skipped",
    "median_s": "median time of one call [s]",
    "iqr_s": "third less first quartile of the samples [s]",
    "min_s": "quickest sample [s]",
    "num_samples": "samples taken [1]",
    "clock_mhz": "SM clock, mean while the point was measured [MHz]; empty: not known",
    "memory_clock_mhz": "memory clock, likewise [MHz]",
    "power_w": "board power, likewise [W]",
    "temperature_c": "GPU temperature, likewise [degrees C]",
    "throttle": "reasons that held the clock down meanwhile, joined by +; empty: none",
}
"""Columns of `measurements.csv`, in order, with their units; a row is a call of one operator."""


def flops(point: Point) -> float:
    """Floating-point operations of one call [FLOP]; causal attention counts the pairs that it needs."""
    if point.operator == "gemm":
        return 2.0 * point.m * point.n * point.k
    per_pair = 4.0 * point.num_heads * point.head_dim
    if point.operator == "prefill_attention":
        before = point.context_tokens - point.new_tokens
        pairs = point.new_tokens * before + point.new_tokens * (point.new_tokens + 1) / 2
        return per_pair * point.batch_size * pairs
    if point.operator == "decode_attention":
        return per_pair * point.batch_size * point.context_tokens
    return 0.0


def moved_bytes(point: Point) -> float:
    """Bytes that one call must move at least: every operand once, the result once [B].

    A copy inside the device reads and writes; one over the bus crosses it once; an all-reduce of m bytes among g GPUs
    sends 2 (g - 1) / g m over each link, as NCCL's tests count it.
    """
    value_bytes = VALUE_BYTES[point.precision]
    if point.operator == "gemm":
        return value_bytes * (point.n * point.k + point.m * point.k) + RESULT_BYTES * point.m * point.n
    if point.operator in ("prefill_attention", "decode_attention"):
        queries = 2 * point.new_tokens * point.num_heads
        keys = 2 * point.context_tokens * point.num_key_value_heads
        return float(value_bytes * point.batch_size * point.head_dim * (queries + keys))
    if point.operator in ("add", "silu_and_mul"):
        return 3.0 * value_bytes * point.m * point.n
    if point.operator == "rms_norm":
        return value_bytes * point.n * (2.0 * point.m + 1)
    if point.operator == "copy":
        return point.message_bytes * (2.0 if point.variant == "device_to_device" else 1.0)
    if point.operator == "all_reduce":
        return point.message_bytes * 2.0 * (point.num_gpus - 1) / point.num_gpus
    return 0.0


def as_record(row: Row) -> dict[str, str]:
    """Return a row as text by column; what is not known is empty."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row) if field.name != "point"}
    record = dataclasses.asdict(row.point) | fields
    return {name: _text(record[name]) for name in COLUMNS}


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)


_INTEGERS: Final = frozenset(field.name for field in dataclasses.fields(Point) if field.type == "int") | {"num_samples"}
_FLOATS: Final = frozenset(field.name for field in dataclasses.fields(Row) if field.type == "float | None")
_POINT: Final = frozenset(field.name for field in dataclasses.fields(Point))


def from_record(record: dict[str, str]) -> Row:
    """Return the row that `as_record` wrote.

    Raises
    ------
    ValueError
        A column is missing or holds no number where one must be; a measured row has no positive time.
    """
    values: dict[str, str | int | float | None] = {}
    for name in COLUMNS:
        text = record.get(name)
        if text is None:
            raise ValueError(f"column {name} is missing")
        try:
            values[name] = _value(name, text)
        except ValueError:
            raise ValueError(f'{name}: "{text}" is no number') from None
    row = Row(
        point=Point(**{name: values[name] for name in _POINT}),  # type: ignore[arg-type]
        **{name: value for name, value in values.items() if name not in _POINT},  # type: ignore[arg-type]
    )
    if row.status not in (MEASURED, SKIPPED):
        raise ValueError(f'status: "{row.status}" is not allowed. Allowed: {MEASURED}, {SKIPPED}')
    if row.point.precision not in VALUE_BYTES:
        raise ValueError(f'precision: "{row.point.precision}" is not allowed. Allowed: {", ".join(VALUE_BYTES)}')
    if row.status == MEASURED and not (row.median_s is not None and row.median_s > 0):
        raise ValueError("median_s: a measured row needs a time above 0")
    return row


def _value(name: str, text: str) -> str | int | float | None:
    if name in _INTEGERS:
        return int(text)
    if name in _FLOATS:
        return float(text) if text else None
    return text
