"""Transfers between GPUs: all-reduce, point to point, all-to-all; each a latency plus bytes over bandwidth."""

from __future__ import annotations

import numpy as np

from sim.cost.step_times import Floats
from sim.errors import SpecError
from sim.spec.engine import KernelSpec
from sim.spec.hardware import GpuSpec


def all_reduce_s(message_bytes: Floats, num_gpus: int, kernels: KernelSpec, extra_s: float = 0.0) -> Floats:
    r"""Time of one all-reduce of `message_bytes` among the GPUs of a node [s]; none for one GPU.

    Notes
    -----
    .. math:: t = \alpha + m / B

    The alpha-beta (Hockney) model; alpha and B are fitted for 2, 4 and 8 GPUs to custom all-reduce kernels inside
    CUDA graphs. B counts message bytes once, so the ring's factor 2 (g - 1) / g is inside it.
    """
    if num_gpus == 1:
        return np.zeros_like(message_bytes)
    fit = kernels.all_reduce.get(num_gpus)
    if fit is None:
        known = ", ".join(str(size) for size in (1, *sorted(kernels.all_reduce)))
        raise SpecError(f"tensor_parallel_size={num_gpus}: all-reduce is measured for {known} GPUs. Take one of these")
    return np.asarray(fit.latency_s + extra_s + message_bytes / fit.bytes_per_s)


def link_bytes_per_s(gpu: GpuSpec, *, same_node: bool) -> float:
    """Bandwidth of one GPU towards a peer in one direction [B/s]: NVLink, else PCIe, or the network between nodes."""
    if not same_node:
        return float(gpu.internode_bytes_per_s)
    return float(gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s)


def point_to_point_s(message_bytes: Floats, gpu: GpuSpec, kernels: KernelSpec, *, same_node: bool) -> Floats:
    """Time to hand `message_bytes` to the next pipeline stage [s]: latency + bytes / link bandwidth."""
    rate = link_bytes_per_s(gpu, same_node=same_node) * kernels.link_frac
    return np.asarray(kernels.link_latency_s + message_bytes / rate)


def all_to_all_s(message_bytes: Floats, num_gpus: int, gpu: GpuSpec, kernels: KernelSpec) -> Floats:
    """Time of one all-to-all in which every GPU sends `message_bytes` in all [s]; none for one GPU.

    A share (g - 1) / g of what a GPU sends leaves it, if tokens and experts are spread evenly (*assumed*). A group
    larger than a node goes over the network, an upper bound for what stays inside.
    """
    if num_gpus == 1:
        return np.zeros_like(message_bytes)
    rate = link_bytes_per_s(gpu, same_node=num_gpus <= gpu.gpus_per_node) * kernels.link_frac
    return np.asarray(kernels.link_latency_s + message_bytes * (num_gpus - 1) / num_gpus / rate)


def dispatch_bytes(hidden_bytes: Floats, num_experts_per_tok: int, expert_gpus: int) -> Floats:
    """Bytes that go out to experts on other GPUs, of the `hidden_bytes` of a whole batch [B].

    All-to-all: each token goes to k of g GPUs, k T h / g in all; all-gather: every token goes everywhere, T h. An
    engine has both (vLLM: DeepEP; allgather_reducescatter); whichever moves less is taken.
    """
    return hidden_bytes * min(num_experts_per_tok / expert_gpus, 1.0)
