"""A GPU's entry with what was measured: the largest rates that a point reached, and what the device says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sim.calibrate.microbench.folder import Measurements
from sim.calibrate.microbench.points import Row, flops, moved_bytes
from sim.errors import SpecError
from sim.spec.hardware import GpuSpec

ENTRIES: Final = {
    "NVIDIA H200": "h200-sxm-141gb",
    "NVIDIA H100 80GB HBM3": "h100-sxm-80gb",
    "NVIDIA H100 PCIe": "h100-pcie-80gb",
    "NVIDIA A100-SXM4-80GB": "a100-sxm-80gb",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
}
"""What a device calls itself -> its entry in the catalogue."""
BEYOND_CACHE: Final = 8
"""A point says something of the memory only if it moves this many times the L2 cache: results may stay in it."""


def entry_of(measurements: Measurements) -> str:
    """Return the catalogue's entry of the device that was measured.

    Raises
    ------
    SpecError
        It was a processor, or a GPU that the catalogue does not have.
    """
    gpu = str(measurements.provenance.get("gpu"))
    if not measurements.provenance.get("num_gpus"):
        raise SpecError(f"{measurements.folder}: a dry run on a processor says nothing of a GPU")
    if gpu not in ENTRIES:
        raise SpecError(
            f'{measurements.folder}: the catalogue has no "{gpu}". Give the entry that is nearest to it with --like: '
            f"{', '.join(ENTRIES.values())}. What was not measured is taken from that one"
        )
    return ENTRIES[gpu]


def with_ceilings(gpu: GpuSpec, measurements: Measurements, name: str) -> GpuSpec:
    """Return the entry `gpu` under another name, with the ceilings that were measured.

    What microbenchmarks cannot see (links to other nodes, idle power, the label) stays as it is in `gpu`.
    """
    changes: dict[str, Any] = {"name": name}
    for field, value, how in _measured(measurements):
        before = getattr(gpu, field)
        note = f"{how}; {gpu.name} has {before:g} ({before.kind})" if before is not None else how
        changes[field] = {"value": value, "source": measurements.source, "kind": "measured", "note": note}
    return gpu.replace_all(changes)


def _measured(measurements: Measurements) -> Iterator[tuple[str, float, str]]:
    """Yield field, value and how it was found, for each ceiling that the points or the device itself tell."""
    known = measurements.provenance
    for precision, field in (("bf16", "bf16_flops_per_s"), ("fp8", "fp8_flops_per_s")):
        products = [row for row in measurements.measured if row.point.operator == "gemm"]
        if best := _fastest(products, precision, flops):
            yield field, best[0], f"largest rate of a product, {_shape(best[1])}"
    least = BEYOND_CACHE * float(known.get("l2_bytes") or 0)
    over_bus = [row for row in measurements.measured if "host" in row.point.variant and row.point.operator == "copy"]
    in_memory = [
        row
        for row in measurements.measured
        if row not in over_bus and row.point.operator != "all_reduce" and moved_bytes(row.point) >= least
    ]
    if best := _fastest(in_memory, None, moved_bytes):
        yield "memory_bandwidth_bytes_per_s", best[0], f"largest rate of any call, {_shape(best[1])}"
    if best := _fastest(over_bus, None, moved_bytes):
        yield "pcie_bytes_per_s", best[0], f"largest rate of a copy, {_shape(best[1])}"
    for key, field in (
        ("sm_version", "sm_version"),
        ("num_sms", "num_sms"),
        ("memory_bytes", "hbm_bytes"),
        ("l2_bytes", "l2_bytes"),
        ("power_limit_w", "tdp_w"),
    ):
        if known.get(key):
            yield field, float(known[key]), "as the device says"


def _fastest(rows: list[Row], precision: str | None, amount: Any) -> tuple[float, Row] | None:
    rates = [
        (amount(row.point) / row.median_s, row)
        for row in rows
        if row.median_s and amount(row.point) > 0 and precision in (None, row.point.precision)
    ]
    return max(rates, key=lambda pair: pair[0], default=None)


def _shape(row: Row) -> str:
    point = row.point
    if point.operator == "gemm":
        return f"m={point.m} n={point.n} k={point.k}"
    if point.operator == "copy":
        return f"{point.variant} of {point.message_bytes} B"
    return f"{point.operator} of {moved_bytes(point):.3g} B"
