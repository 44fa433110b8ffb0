"""Electrical power of a GPU by how hard its memory and its tensor cores work."""

from __future__ import annotations

import numpy as np

from sim.cost.step_times import Floats
from sim.spec.engine import PowerFit
from sim.spec.hardware import GpuSpec


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
