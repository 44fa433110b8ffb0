"""Mixture of experts: how many distinct experts a batch visits, and how long they take."""

from __future__ import annotations

import numpy as np

from sim.cost.gemm import smooth_max
from sim.cost.shapes import Matrix
from sim.cost.step_times import Floats
from sim.spec.engine import ExpertFit
from sim.spec.hardware import GpuSpec
from sim.spec.model import ModelSpec


def distinct_experts(tokens: Floats, num_experts: int, num_experts_per_tok: int) -> Floats:
    r"""Expected number of distinct experts that a batch visits, of the shape of `tokens`.

    Notes
    -----
    .. math:: E \left(1 - (1 - k/E)^T\right)

    Each token visits k of E experts, independently and evenly (*assumed*: real routing is skewed and visits fewer).
    """
    return np.asarray(num_experts * (1.0 - (1.0 - num_experts_per_tok / num_experts) ** tokens))


def experts_s(
    tokens: Floats,
    model: ModelSpec,
    matrices: tuple[Matrix, ...],
    fit: ExpertFit,
    gpu: GpuSpec,
    expert_parallel_size: int = 1,
) -> Floats:
    r"""Time of one MoE layer's routed experts on one GPU [s], router and permutation included.

    Parameters
    ----------
    tokens : tokens T of the batch, any shape
    model : the architecture
    matrices : one expert as a GPU holds it
    fit : efficiencies of the experts' precision
    gpu : ceilings
    expert_parallel_size : GPUs (groups) that the experts are spread over; each sees its even share

    Notes
    -----
    .. math::
        t = t_0 + \left[\left(\frac{2 k T w}{g F f_e}\right)^p
            + \left(\frac{E(1-(1-k/E)^T) w b}{g B b_e}\right)^p\right]^{1/p} + \frac{2 c k T h}{g B}

    w weights of one expert on the GPU, b bytes a weight, g expert-parallel size, c passes of the permutation.
    """
    size = sum(matrix.size for matrix in matrices)
    routed = model.num_experts_per_tok * tokens / expert_parallel_size
    visited = distinct_experts(tokens, model.num_experts, model.num_experts_per_tok) / expert_parallel_size
    compute_s = 2.0 * routed * size / (gpu.peak_flops_per_s(fit.peak) * fit.compute_frac)
    memory_s = visited * size * fit.weight_bytes / (gpu.memory_bandwidth_bytes_per_s * fit.bandwidth_frac)
    permute_s = fit.permute_passes * routed * model.hidden_size * 2 / gpu.memory_bandwidth_bytes_per_s
    return np.asarray(fit.launch_s + smooth_max(compute_s, memory_s, fit.sharpness) + permute_s)
