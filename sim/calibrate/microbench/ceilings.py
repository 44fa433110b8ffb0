"""A GPU's entry with what was measured: the largest rates that a point reached, and what the device says of itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from sim.calibrate.microbench.folder import Measurements
from sim.calibrate.microbench.points import Point, Row, flops, moved_bytes
from sim.errors import SpecError
from sim.spec.hardware import GpuSpec

ENTRIES: Final = {
    "NVIDIA A100 80GB PCIe": "a100-pcie-80gb",
    "NVIDIA A100-SXM4-40GB": "a100-sxm-40gb",
    "NVIDIA A100-SXM4-80GB": "a100-sxm-80gb",
    "NVIDIA A800-SXM4-80GB": "a800-sxm-80gb",
    "NVIDIA GH200 144G HBM3e": "gh200-144gb",
    "NVIDIA GH200 480GB": "gh200-96gb",
    "NVIDIA H100 80GB HBM3": "h100-sxm-80gb",
    "NVIDIA H100 NVL": "h100-nvl-94gb",
    "NVIDIA H100 PCIe": "h100-pcie-80gb",
    "NVIDIA H200": "h200-sxm-141gb",
    "NVIDIA H200 NVL": "h200-nvl-141gb",
    "NVIDIA L40": "l40-48gb",
    "NVIDIA L40S": "l40s-48gb",
}
"""What a device calls itself -> its entry in the catalogue."""
DEVICE_FIELDS: Final = (
    ("sm_version", "sm_version"),
    ("num_sms", "num_sms"),
    ("memory_bytes", "hbm_bytes"),
    ("l2_bytes", "l2_bytes"),
    ("power_limit_w", "tdp_w"),
)
"""Keys of the provenance -> fields of a GPU that they fill."""
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
    """Return the entry `gpu` under another name, with what was measured of the device.

    Where the device is `gpu` itself, its rates stay ceilings, and what was reached is noted beside them: efficiencies
    are shares of the maker's peaks, in this catalogue and wherever utilisation is spoken of. Another device has the
    largest rates that were reached for ceilings; its memory's is set above it, for none reaches its maker's. What
    microbenchmarks cannot see (links to other nodes, idle power, the label) stays as it is in `gpu`.
    """
    from sim.calibrate.operators.attention import READ_CEILINGS

    changes: dict[str, Any] = {"name": name}
    same = ENTRIES.get(str(measurements.provenance.get("gpu"))) == gpu.name
    for field, value, how in largest_rates(measurements):
        before = getattr(gpu, field)
        if same and before is not None:
            note = f"{value:.4g} reached ({value / before:.0%}): {how}; {measurements.source}"
            changes[field] = before.to_dict() | {"note": "; ".join(filter(None, (before.note, note)))}
        else:
            if field == "memory_bandwidth_bytes_per_s":
                generation = int(measurements.provenance.get("sm_version") or max(READ_CEILINGS))
                share = READ_CEILINGS.get(generation, max(READ_CEILINGS.values()))
                value, how = value / share, f"{value:.4g} reached ({how}), assumed to be {share:.0%} of it"
            changes[field] = {"value": value, "source": measurements.source, "kind": "measured", "note": how}
    label = () if same else (("memory_bytes", "nominal_hbm_bytes"),)  # another device's label is not known
    for key, field in (*DEVICE_FIELDS, *label):
        if said := measurements.provenance.get(key):
            note = "as the device says"
            changes[field] = {"value": float(said), "source": measurements.source, "kind": "measured", "note": note}
    return gpu.replace_all(changes)


def largest_rates(measurements: Measurements) -> Iterator[tuple[str, float, str]]:
    """Yield the field of a GPU's ceiling, the largest rate that a point reached, and which point it was."""
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


def _fastest(rows: list[Row], precision: str | None, amount: Callable[[Point], float]) -> tuple[float, Row] | None:
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
