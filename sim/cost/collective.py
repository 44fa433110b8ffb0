"""Transfers between GPUs: all-reduce, point to point, all-to-all; each a latency plus bytes over bandwidth."""

from __future__ import annotations

import numpy as np

from sim.cost.kernels import Collective, Kernels
from sim.cost.residual import FLAT
from sim.cost.step_times import Floats
from sim.errors import SpecError
from sim.spec.hardware import GpuSpec


def collective_s(message_bytes: Floats, collective: Collective, gpu: GpuSpec) -> Floats:
    r"""Time of one collective of `message_bytes` inside a node [s].

    Notes
    -----
    .. math:: t = \left(\alpha + \frac{m}{B} \frac{l_0}{l}\right) e^{R(\log_2 m)}

    The alpha-beta (Hockney) model and the measurements' residual; B counts message bytes once, so a ring's factor
    2 (g - 1) / g is inside it. It goes with the link's bandwidth l, measured at l_0.
    """
    fit = collective.fit
    link = link_bytes_per_s(gpu, same_node=True)
    faster = link / (fit.link_bytes_per_s or link)
    time_s = fit.latency_s + message_bytes / (fit.bytes_per_s * faster)
    if collective.residual is not FLAT:
        time_s = time_s * collective.residual.factor(np.log2(np.maximum(message_bytes, 1.0)))
    return np.asarray(time_s)


def all_reduce_s(message_bytes: Floats, num_gpus: int, gpu: GpuSpec, kernels: Kernels, extra_s: float = 0.0) -> Floats:
    """Time of one all-reduce of `message_bytes` among the GPUs of a node [s]; none for one GPU.

    Measured for 2, 4 and 8 GPUs inside CUDA graphs: the framework's own kernel, beyond its sizes NCCL's.
    """
    if num_gpus == 1:
        return np.zeros_like(message_bytes)
    collective = kernels.all_reduce.get(num_gpus)
    if collective is None:
        known = ", ".join(str(size) for size in (1, *sorted(kernels.all_reduce)))
        raise SpecError(f"tensor_parallel_size={num_gpus}: all-reduce is measured for {known} GPUs. Take one of these")
    return extra_s + collective_s(message_bytes, collective, gpu)


def link_bytes_per_s(gpu: GpuSpec, *, same_node: bool) -> float:
    """Bandwidth of one GPU towards a peer in one direction [B/s]: NVLink, else PCIe, or the network between nodes."""
    if not same_node:
        return float(gpu.internode_bytes_per_s)
    return float(gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s)


def point_to_point_s(message_bytes: Floats, gpu: GpuSpec, kernels: Kernels, *, same_node: bool) -> Floats:
    """Time to hand `message_bytes` to the next pipeline stage [s]: latency + bytes / link bandwidth."""
    rate = link_bytes_per_s(gpu, same_node=same_node) * kernels.link_frac
    return np.asarray(kernels.link_latency_s + message_bytes / rate)


def all_to_all_s(message_bytes: Floats, num_gpus: int, gpu: GpuSpec, kernels: Kernels) -> Floats:
    """Time of one all-to-all in which every GPU sends `message_bytes` in all [s]; none for one GPU.

    NCCL's, where it is measured among so many GPUs of a node. Else latency and bytes over the link: a share (g - 1) / g
    of what a GPU sends leaves it, if tokens and experts are spread evenly (*assumed*). A group larger than a node goes
    over the network, an upper bound for what stays inside.
    """
    if num_gpus == 1:
        return np.zeros_like(message_bytes)
    measured = kernels.all_to_all.get(num_gpus)
    if measured is not None and num_gpus <= gpu.gpus_per_node:
        return collective_s(message_bytes, measured, gpu)
    rate = link_bytes_per_s(gpu, same_node=num_gpus <= gpu.gpus_per_node) * kernels.link_frac
    return np.asarray(kernels.link_latency_s + message_bytes * (num_gpus - 1) / num_gpus / rate)


def dispatch_bytes(hidden_bytes: Floats, num_experts_per_tok: int, expert_gpus: int) -> Floats:
    """Bytes that go out to experts on other GPUs, of the `hidden_bytes` of a whole batch [B].

    All-to-all: each token goes to k of g GPUs, k T h / g in all; all-gather: every token goes everywhere, T h. An
    engine has both (vLLM: DeepEP; allgather_reducescatter); whichever moves less is taken.
    """
    return hidden_bytes * min(num_experts_per_tok / expert_gpus, 1.0)
