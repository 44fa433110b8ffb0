"""Matrix products: a launch plus a smooth roofline."""

from __future__ import annotations

import numpy as np

from sim.cost.shapes import Matrix
from sim.cost.step_times import Floats
from sim.spec.engine import GemmFit
from sim.spec.hardware import GpuSpec

RESULT_BYTES = 2
"""Bytes of one result: products write bf16 in every precision."""


def compute_rate(fit: GemmFit, gpu: GpuSpec, scale: float = 1.0) -> float:
    """Throughput of a large product [FLOP/s]: peak times efficiency, at most the largest ever measured."""
    return min(gpu.peak_flops_per_s(fit.peak) * fit.compute_frac * scale, fit.ceiling_flops_per_s)


def memory_rate(fit: GemmFit, gpu: GpuSpec, scale: float = 1.0) -> float:
    """Memory throughput of a thin product [B/s]: bandwidth times efficiency, at most the bandwidth."""
    return gpu.memory_bandwidth_bytes_per_s * min(fit.bandwidth_frac * scale, 1.0)


def gemm_s(
    tokens: Floats,
    matrix: Matrix,
    fit: GemmFit,
    gpu: GpuSpec,
    compute_scale: float = 1.0,
    bandwidth_scale: float = 1.0,
) -> Floats:
    r"""Time of the product of `tokens` rows with one weight matrix on one GPU [s].

    Parameters
    ----------
    tokens : rows T of the left side [tokens], any shape
    matrix : the weights, k inputs x n outputs
    fit : efficiencies of the weights' precision
    gpu : ceilings
    compute_scale, bandwidth_scale : an engine's own factors on the two sides [1]

    Returns
    -------
    array of the shape of `tokens` [s]

    Notes
    -----
    .. math::
        t = t_0 + \left[\left(\frac{2Tnk}{F f_e}\right)^p
            + \left(\frac{b_w nk + b_a Tk + 2Tn}{B b_e} + \kappa k\right)^p\right]^{1/p}

    A roofline (Williams et al., CACM 52(4), 2009) with its corner rounded by p, a launch time t0, and a term for the
    walk of one output tile along k. Fitted to operator timings; the errors stand beside the coefficients.
    """
    k, n = matrix.depth, matrix.width
    compute_s = 2.0 * tokens * n * k / compute_rate(fit, gpu, compute_scale)
    moved_bytes = fit.weight_bytes * n * k + fit.activation_bytes * tokens * k + RESULT_BYTES * tokens * n
    memory_s = moved_bytes / memory_rate(fit, gpu, bandwidth_scale) + fit.depth_s * k
    return np.asarray(fit.launch_s + smooth_max(compute_s, memory_s, fit.sharpness))


def smooth_max(a: Floats, b: Floats, sharpness: float) -> Floats:
    """Return (a^p + b^p)^(1/p), scaled so that small numbers do not underflow; both >= 0."""
    largest = np.maximum(a, b)
    scale = np.where(largest > 0, largest, 1.0)
    return np.asarray(scale * ((a / scale) ** sharpness + (b / scale) ** sharpness) ** (1.0 / sharpness))
