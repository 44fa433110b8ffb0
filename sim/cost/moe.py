"""Mixture of experts: how many distinct experts a batch visits, and how long they take."""

from __future__ import annotations

import numpy as np

from sim.cost.gemm import smooth_max
from sim.cost.kernels import ExpertKernel
from sim.cost.residual import FLAT
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import Matrix
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import ExpertFit
from sim.spec.model import ModelSpec


def distinct_experts(tokens: Floats, num_experts: Floats | float, num_experts_per_tok: Floats | float) -> Floats:
    r"""Expected number of distinct experts that a batch visits, of the shape of `tokens`.

    Notes
    -----
    .. math:: E \left(1 - (1 - k/E)^T\right)

    Each token visits k of E experts, independently and evenly (*assumed*: real routing is skewed and visits fewer).
    """
    return np.asarray(num_experts * (1.0 - (1.0 - np.divide(num_experts_per_tok, num_experts)) ** tokens))


def expert_form_s(
    tokens: Floats,
    shape: tuple[Floats | float, Floats | float, Floats | float],
    size: Floats | float,
    expert_parallel_size: Floats | float,
    fit: ExpertFit,
    gpu: GpuSpec,
) -> Floats:
    r"""Time of one MoE layer's routed experts on one GPU by the form alone [s].

    Parameters
    ----------
    tokens : tokens T of the batch
    shape : hidden size, experts a token visits, experts of the layer
    size : weights of one expert on a GPU
    expert_parallel_size : GPUs (groups) that the experts are spread over; each sees its even share
    fit, gpu : efficiencies of the experts' precision, ceilings

    Notes
    -----
    .. math::
        t = t_0 + \frac{E}{g} t_e + \left[\left(\frac{2 k T w}{g F f_e}\right)^p
            + \left(\frac{E(1-(1-k/E)^T) w b}{g B b_e}\right)^p\right]^{1/p} + \frac{2 c k T h}{g B}

    w weights of one expert on the GPU, b bytes a weight, g expert-parallel size, c passes of the permutation.
    """
    hidden, per_token, experts = shape
    routed = per_token * tokens / expert_parallel_size
    visited = distinct_experts(tokens, experts, per_token) / expert_parallel_size
    compute_s = 2.0 * routed * size / (gpu.peak_flops_per_s(fit.peak) * fit.compute_frac)
    memory_s = visited * size * fit.weight_bytes / (gpu.memory_bandwidth_bytes_per_s * fit.bandwidth_frac)
    permute_s = fit.permute_passes * routed * hidden * 2 / gpu.memory_bandwidth_bytes_per_s
    start_s = fit.launch_s + fit.expert_s * experts / expert_parallel_size
    return np.asarray(start_s + smooth_max(compute_s, memory_s, fit.sharpness) + permute_s)


def residual_coordinates(
    tokens: Floats,
    per_token: Floats | float,
    experts: Floats | float,
    size: Floats | float,
    expert_parallel_size: Floats | float,
) -> tuple[Floats, Floats | float, Floats | float]:
    """Place in a table of shapes in general: log2 of tokens an expert, weights an expert, experts on a GPU."""
    each = np.maximum(tokens, 1.0) * per_token / experts
    return np.log2(each), np.log2(size), np.log2(np.divide(experts, expert_parallel_size))


def experts_s(
    tokens: Floats,
    model: ModelSpec,
    matrices: tuple[Matrix, ...],
    kernel: ExpertKernel,
    gpu: GpuSpec,
    expert_parallel_size: int = 1,
    scale: float = 1.0,
) -> Floats:
    r"""Time of one MoE layer's routed experts on one GPU [s], router and permutation included.

    Parameters
    ----------
    tokens : tokens T of the batch, any shape
    model : the architecture
    matrices : one expert as a GPU holds it
    kernel : form and tables of the experts' precision
    gpu : ceilings
    expert_parallel_size : GPUs (groups) that the experts are spread over; each sees its even share
    scale : an engine's own factor on the time [1]

    Notes
    -----
    .. math:: s \max\left(t\, e^{R}, t_{floor}\right)

    R is the residual of the shape itself where it was timed, else that of shapes like it. The floor is the FLOPs at the
    largest throughput ever measured, and one token's experts read at the bandwidth.
    """
    fit, ep = kernel.fit, expert_parallel_size
    size = float(sum(matrix.size for matrix in matrices))
    k, experts = float(model.num_experts_per_tok), float(model.num_experts)
    time_s = expert_form_s(tokens, (float(model.hidden_size), k, experts), size, ep, fit, gpu)
    known = kernel.by_shape.get(
        (model.hidden_size, model.moe_intermediate_size, model.num_experts_per_tok, model.num_experts)
    )
    if known is not None:
        split = model.moe_intermediate_size / matrices[-1].depth
        time_s = time_s * known.factor(np.log2(np.maximum(tokens, 1.0)), np.log2(split), np.log2(ep))
    elif kernel.residual is not FLAT:
        time_s = time_s * kernel.residual.factor(*residual_coordinates(tokens, k, experts, size, ep))
    flops_s = 2.0 * k * tokens / ep * size / (gpu.peak_flops_per_s(fit.peak) * fit.ceiling_frac)
    read_s = k / ep * size * fit.weight_bytes / gpu.memory_bandwidth_bytes_per_s
    return scale * np.maximum(time_s, np.maximum(flops_s, np.where(tokens > 0, read_s, 0.0)))
