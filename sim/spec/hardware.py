"""GpuSpec: what a GPU can do at most, every number with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, cast

from sim.errors import SpecError
from sim.spec.base import Spec, Text
from sim.spec.sourced import Sourced, sourced

_Count = Annotated[Sourced, sourced("1")]
_Flops = Annotated[Sourced, sourced("FLOP/s")]
_Bytes = Annotated[Sourced, sourced("B")]
_BytesPerSecond = Annotated[Sourced, sourced("B/s")]
_Watts = Annotated[Sourced, sourced("W")]

PRECISIONS: Final = {
    "bf16": "bf16_flops_per_s",
    "fp16": "bf16_flops_per_s",
    "fp8": "fp8_flops_per_s",
    "int8": "int8_flops_per_s",
}
"""Precision of a matrix product -> the field that holds its peak (fp16 and bf16 share theirs)."""


class GpuSpec(Spec):
    """One GPU model in its usual node: ceilings and capacities, no efficiencies."""

    name: Text
    """Name in the catalogue, e.g. `h100-sxm-80gb`."""
    vendor: Text
    """Who makes it."""
    sm_version: _Count
    """CUDA compute capability times ten, e.g. 90."""
    num_sms: _Count
    """Streaming multiprocessors."""
    bf16_flops_per_s: _Flops
    """Peak dense bf16 (and fp16) tensor throughput [FLOP/s]."""
    fp8_flops_per_s: _Flops | None = None
    """Peak dense fp8 tensor throughput [FLOP/s]; None: the tensor cores have no fp8."""
    int8_flops_per_s: _Flops | None = None
    """Peak dense int8 tensor throughput [FLOP/s, one operation counted as one]."""
    hbm_bytes: _Bytes
    """Memory that the device reports as its total when a process uses it [B]."""
    nominal_hbm_bytes: _Bytes
    """Memory on the label [B]."""
    memory_bandwidth_bytes_per_s: _BytesPerSecond
    """Peak memory bandwidth [B/s]."""
    l2_bytes: _Bytes
    """Level-2 cache [B]."""
    tdp_w: _Watts
    """Board power limit [W]."""
    idle_w: _Watts
    """Board power with a model loaded and nothing to do [W]."""
    nvlink_bytes_per_s: _BytesPerSecond | None = None
    """NVLink bandwidth of one GPU in one direction [B/s]; None: peers talk over PCIe."""
    pcie_bytes_per_s: _BytesPerSecond
    """PCIe bandwidth in one direction [B/s]."""
    internode_bytes_per_s: _BytesPerSecond
    """Network bandwidth between nodes for each GPU in one direction [B/s]."""
    gpus_per_node: _Count
    """GPUs in one node."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield the rules between fields that are broken."""
        if self.hbm_bytes > self.nominal_hbm_bytes * 1.1:
            yield "hbm_bytes", "the device cannot report more than the label says (10 % for GB and GiB allowed)"
        if self.idle_w >= self.tdp_w:
            yield "idle_w", f"must be below tdp_w = {self.tdp_w:g} W, got {self.idle_w:g} W"

    def peak_flops_per_s(self, precision: str) -> Sourced:
        """Return the peak dense throughput of matrix products in a precision.

        Parameters
        ----------
        precision
            One of `PRECISIONS`: bf16, fp16, fp8, int8.

        Returns
        -------
        Sourced
            Peak throughput [FLOP/s].

        Raises
        ------
        SpecError
            The precision is unknown, or this GPU does not compute in it.
        """
        has = [name for name, field in PRECISIONS.items() if getattr(self, field) is not None]
        peak = getattr(self, PRECISIONS[precision]) if precision in PRECISIONS else None
        if peak is None:
            raise SpecError(f"{self.name} does not compute in {precision}; it has {', '.join(has)}")
        return cast("Sourced", peak)


def read_gpu(text: str, filename: str | None = None) -> GpuSpec:
    """Return the GPU that a YAML text describes; raises SpecError with every problem and its line."""
    return GpuSpec.from_yaml(text, filename)
