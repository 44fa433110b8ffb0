"""Measured points against a catalogue's kernels: how far the predictions are, by operator and precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.calibrate.microbench.folder import Measurements
from sim.calibrate.microbench.points import Point, Row, moved_bytes
from sim.cost.attention import decode_form_s, prefill_form_s
from sim.cost.collective import all_reduce_s
from sim.cost.gemm import gemm_s
from sim.cost.kernels import Kernels
from sim.lifecycle.shapes import Matrix
from sim.spec.hardware import GpuSpec


@dataclass(frozen=True, slots=True)
class Compared:
    """Predictions of one operator in one precision against what was measured."""

    operator: str
    precision: str
    num_points: int
    median_frac: float
    """Median of |predicted / measured - 1| [1]."""
    p90_frac: float
    """90th percentile of it [1]."""
    bias_frac: float
    """Median of predicted / measured - 1 [1]; above 0: the prediction is the slower."""
    worst: str
    """Shape of the point that is farthest off."""

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {name: getattr(self, name) for name in self.__slots__}


def compare(measurements: Measurements, kernels: Kernels, gpu: GpuSpec) -> list[Compared]:
    """Return the comparison of each operator that was measured and that the kernels have."""
    pairs: dict[tuple[str, str], list[tuple[float, Row]]] = {}
    for row in measurements.measured:
        predicted_s = predict_s(row.point, kernels, gpu)
        if predicted_s is not None and row.median_s is not None:
            key = (row.point.operator, row.point.precision)
            pairs.setdefault(key, []).append((predicted_s / row.median_s - 1.0, row))
    return [_compared(*key, found) for key, found in sorted(pairs.items())]


def _compared(operator: str, precision: str, found: list[tuple[float, Row]]) -> Compared:
    errors = np.array([error for error, _ in found])
    size = np.abs(errors)
    worst = found[int(size.argmax())]
    return Compared(
        operator,
        precision,
        len(found),
        float(np.median(size)),
        float(np.quantile(size, 0.9)),
        float(np.median(errors)),
        f"{shape(worst[1].point)}: {worst[0]:+.0%}",
    )


def predict_s(point: Point, kernels: Kernels, gpu: GpuSpec) -> float | None:
    """Time of a point by fitted kernels [s]; None where they have none for it."""
    if point.operator == "gemm" and point.precision in kernels.gemm:
        matrix = Matrix("", point.k, point.n)
        return float(gemm_s(np.array([float(point.m)]), matrix, kernels.gemm[point.precision], gpu)[0])
    if point.operator == "decode_attention" and point.precision in kernels.decode_attention:
        return _decode_s(point, kernels, gpu)
    if point.operator == "prefill_attention" and point.precision in kernels.prefill_attention:
        return _prefill_s(point, kernels, gpu)
    if point.operator == "all_reduce" and point.num_gpus in kernels.all_reduce:
        return float(all_reduce_s(np.array([float(point.message_bytes)]), point.num_gpus, gpu, kernels)[0])
    return None


def _decode_s(point: Point, kernels: Kernels, gpu: GpuSpec) -> float:
    kernel = kernels.decode_attention[point.precision]
    n, h = np.array([float(point.batch_size)]), float(point.num_key_value_heads)
    read_bytes = n * point.context_tokens * 2.0 * h * point.head_dim * kernel.fit.value_bytes
    form_s = decode_form_s(n, h, read_bytes, 0.0, kernel.fit, gpu)
    residual = kernel.residual.factor(*_coordinates(point.batch_size * h, point.context_tokens, point, kernel.residual))
    floor_s = read_bytes / gpu.memory_bandwidth_bytes_per_s
    return float(np.maximum(form_s * residual, floor_s)[0])


def _prefill_s(point: Point, kernels: Kernels, gpu: GpuSpec) -> float:
    kernel = kernels.prefill_attention[point.precision]
    heads = (float(point.num_heads), float(point.num_key_value_heads), float(point.head_dim))
    tokens = np.array([float(point.new_tokens)])
    form_s = prefill_form_s(float(point.batch_size), tokens, heads, kernel.fit, gpu)
    work = point.batch_size * point.num_heads
    return float((form_s * kernel.residual.factor(*_coordinates(work, point.new_tokens, point, kernel.residual)))[0])


def _coordinates(work: float, tokens: int, point: Point, residual: Any) -> tuple[float, ...]:
    """Return where a point lies in a table of attention: work, length, query heads a key-value head, width of one."""
    at = (work, tokens, point.num_heads / point.num_key_value_heads, point.head_dim)
    return tuple(float(np.log2(value)) for value in at)[: len(residual.axes)]


def shape(point: Point) -> str:
    """A point's shape as text."""
    if point.operator == "gemm":
        return f"m={point.m} n={point.n} k={point.k}"
    if point.operator == "all_reduce":
        return f"{point.message_bytes} B among {point.num_gpus}"
    if point.num_heads:
        heads = f"{point.num_heads}/{point.num_key_value_heads} heads of {point.head_dim}"
        return f"{point.batch_size} x {point.context_tokens} tokens, {heads}"
    return f"{moved_bytes(point):.3g} B"
