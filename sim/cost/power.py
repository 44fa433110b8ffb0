"""Electrical power of a replica by how hard its memory and its tensor cores work."""

from __future__ import annotations

import numpy as np

from sim.cost.machine import Machine
from sim.cost.memory import PLAIN_BYTES
from sim.cost.moe import distinct_experts
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import attention_matrices, head_matrix, linear_flops_per_token, mlp_matrices
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import PowerFit


def busy_w(memory_frac: Floats, compute_frac: Floats, fit: PowerFit, gpu: GpuSpec) -> Floats:
    r"""Power of one GPU while a step runs [W].

    Parameters
    ----------
    memory_frac : bytes moved over time and peak bandwidth [1]
    compute_frac : FLOPs done over time and the peak of their precision [1]
    fit : weights of the two, fitted to measured power
    gpu : idle power and board limit

    Notes
    -----
    .. math:: P = P_{idle} + (P_{tdp} - P_{idle})\left(1 - e^{-(a + b u_{mem} + c u_{flop})}\right)

    Rises with use and saturates at the board limit, which the GPU enforces itself.
    """
    drive = fit.base + fit.memory * memory_frac + fit.compute * compute_frac
    return np.asarray(gpu.idle_w + (gpu.tdp_w - gpu.idle_w) * -np.expm1(-drive))


def read_bytes(tokens: Floats, machine: Machine) -> Floats:
    """Weights that all GPUs of a replica read in one step [B]: everything once a rank, experts only if visited."""
    m, p, layout = machine.model, machine.precisions, machine.layout
    tp = layout.tensor_parallel_size
    attention = sum(matrix.size for matrix in attention_matrices(m, tp))
    dense = sum(matrix.size for matrix in mlp_matrices(m, m.intermediate_size, tp))
    shared = sum(matrix.size for matrix in mlp_matrices(m, m.shared_expert_intermediate_size, tp))
    linear = m.num_hidden_layers * attention + m.num_dense_layers * dense + m.num_moe_layers * shared
    fixed = (linear * p.linear.fit.weight_bytes + head_matrix(m, tp).size * PLAIN_BYTES) * layout.stage_gpus
    if p.experts is None:
        return np.full_like(tokens, fixed)
    visited = distinct_experts(tokens, m.num_experts, m.num_experts_per_tok)
    expert = sum(matrix.size for matrix in mlp_matrices(m, m.moe_intermediate_size)) * p.experts.fit.weight_bytes
    return np.asarray(fixed + m.num_moe_layers * visited * expert)


def power_w(tokens: Floats, step_s: Floats, machine: Machine, *, busy_stages: int = 1) -> Floats:
    """Power of the replica while a step of T tokens runs, outside attention [W].

    Bytes and time are those of the weights and the sampling. Of the stages of a pipeline `busy_stages` work at a time
    (on as many batches), the others idle.
    """
    gpu, stage_gpus = machine.gpu, machine.layout.stage_gpus
    gpu_s = stage_gpus * busy_stages * np.where(step_s > 0, step_s, np.inf)
    memory_frac = read_bytes(tokens, machine) / (gpu_s * gpu.memory_bandwidth_bytes_per_s)
    peak = gpu.peak_flops_per_s(machine.precisions.linear.fit.peak)
    compute_frac = tokens * linear_flops_per_token(machine.model) / (gpu_s * peak)
    busy = busy_w(memory_frac, compute_frac, machine.kernels.power, gpu)
    return np.where(tokens > 0, _replica_w(busy, machine, busy_stages), machine.num_gpus * gpu.idle_w)


def attention_w(machine: Machine, *, busy_stages: int = 1) -> float:
    """Power of the replica during attention [W]: it reads the cache, or multiplies, near its ceilings at any batch."""
    gpu = machine.gpu
    return float(
        _replica_w(gpu.idle_w + (gpu.tdp_w - gpu.idle_w) * machine.kernels.power.attention, machine, busy_stages)
    )


def _replica_w(busy: Floats | float, machine: Machine, busy_stages: int) -> Floats | float:
    """Power of all stages where so many are busy and the others idle [W]."""
    idle_stages = machine.layout.pipeline_parallel_size - busy_stages
    return machine.layout.stage_gpus * (busy_stages * busy + idle_stages * machine.gpu.idle_w)
