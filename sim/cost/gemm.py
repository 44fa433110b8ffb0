"""Matrix products: a launch plus a smooth roofline, times what a table of measurements adds to it."""

from __future__ import annotations

import numpy as np

from sim.cost.kernels import GemmKernel
from sim.cost.residual import FLAT
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import Matrix
from sim.spec.hardware import GpuSpec
from sim.spec.kernels import GemmFit

RESULT_BYTES = 2
"""Bytes of one result: products write bf16 in every precision."""


def compute_rate(fit: GemmFit, gpu: GpuSpec) -> float:
    """Throughput of a large product by the form [FLOP/s]: peak times efficiency, at most the largest ever measured."""
    return float(gpu.peak_flops_per_s(fit.peak)) * min(fit.compute_frac, fit.ceiling_frac)


def memory_rate(fit: GemmFit, gpu: GpuSpec) -> float:
    """Memory throughput of a thin product by the form [B/s]: bandwidth times efficiency."""
    return float(gpu.memory_bandwidth_bytes_per_s) * fit.bandwidth_frac


def gemm_form_s(rows: Floats, width: Floats | float, depth: Floats | float, fit: GemmFit, gpu: GpuSpec) -> Floats:
    r"""Time of the product of `rows` x `depth` inputs with `depth` x `width` weights by the form alone [s].

    Notes
    -----
    .. math::
        t = t_0 + \left[\left(\frac{2Tnk}{F f_e}\right)^p
            + \left(\frac{b_w nk + b_a Tk + 2Tn}{B b_e} + \kappa k\right)^p\right]^{1/p}

    A roofline (Williams et al., CACM 52(4), 2009) with its corner rounded by p, a launch time t0, and a term for the
    walk of one output tile along k.
    """
    compute_s = 2.0 * rows * width * depth / (gpu.peak_flops_per_s(fit.peak) * fit.compute_frac)
    memory_s = moved_bytes(rows, width, depth, fit) / memory_rate(fit, gpu) + fit.depth_s * depth
    return np.asarray(fit.launch_s + smooth_max(compute_s, memory_s, fit.sharpness))


def gemm_floor_s(rows: Floats, width: Floats | float, depth: Floats | float, fit: GemmFit, gpu: GpuSpec) -> Floats:
    """Time that no product undercuts [s]: FLOPs at the largest throughput ever measured, bytes at the bandwidth."""
    compute_s = 2.0 * rows * width * depth / (gpu.peak_flops_per_s(fit.peak) * fit.ceiling_frac)
    return np.maximum(compute_s, moved_bytes(rows, width, depth, fit) / gpu.memory_bandwidth_bytes_per_s)


def moved_bytes(rows: Floats, width: Floats | float, depth: Floats | float, fit: GemmFit) -> Floats:
    """Weights, inputs and results of a product, each moved once [B]."""
    return np.asarray(
        fit.weight_bytes * width * depth + fit.activation_bytes * rows * depth + RESULT_BYTES * rows * width
    )


def gemm_s(
    tokens: Floats,
    matrix: Matrix,
    kernel: GemmKernel,
    gpu: GpuSpec,
    scale: float = 1.0,
    compute_extra: float = 0.0,
) -> Floats:
    r"""Time of the product of `tokens` rows with one weight matrix on one GPU [s].

    Parameters
    ----------
    tokens : rows T of the left side [tokens], any shape
    matrix : the weights, k inputs x n outputs
    kernel : form and table of the weights' precision
    gpu : ceilings
    scale : an engine's own factor on the time [1]
    compute_extra : further time that an engine needs to multiply, relative to the fastest ever measured [1]

    Returns
    -------
    array of the shape of `tokens` [s]

    Notes
    -----
    .. math::
        s \max\left(t(T, n, k)\, e^{R(\log_2 T, \log_2 n, \log_2 k)},\; t_{floor}\right)
        + x \frac{2 T n k}{F f_{max}}

    Form `gemm_form_s`, table R of the measurements' residuals, floor `gemm_floor_s`. Whatever the factors, no product
    is faster than the GPU's peak and its bandwidth.
    """
    k, n = float(matrix.depth), float(matrix.width)
    time_s = gemm_form_s(tokens, n, k, kernel.fit, gpu)
    if kernel.residual is not FLAT:
        time_s = time_s * kernel.residual.factor(np.log2(np.maximum(tokens, 1.0)), np.log2(n), np.log2(k))
    time_s = scale * np.maximum(time_s, gemm_floor_s(tokens, n, k, kernel.fit, gpu))
    fastest = gpu.peak_flops_per_s(kernel.fit.peak) * kernel.fit.ceiling_frac
    time_s = time_s + compute_extra * (2.0 * tokens * n * k / fastest)
    peak_s = 2.0 * tokens * n * k / gpu.peak_flops_per_s(kernel.fit.peak)
    reading_s = moved_bytes(tokens, n, k, kernel.fit) / gpu.memory_bandwidth_bytes_per_s
    return np.maximum(time_s, np.maximum(peak_s, reading_s))


def smooth_max(a: Floats, b: Floats, sharpness: float) -> Floats:
    """Return (a^p + b^p)^(1/p), scaled so that small numbers do not underflow; both >= 0."""
    largest = np.maximum(a, b)
    scale = np.where(largest > 0, largest, 1.0)
    return np.asarray(scale * ((a / scale) ** sharpness + (b / scale) ** sharpness) ** (1.0 / sharpness))
