"""Independent: products that others timed, predicted without having been fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np

from sim import catalog
from sim.calibrate.operators.scores import error_of
from sim.cost.calibration import load_kernels
from sim.cost.gemm import gemm_s
from sim.cost.step_times import Floats
from sim.lifecycle.shapes import Matrix
from sim.spec.evidence import FitError

FILE: Final = "vidur_mlp.csv"
DEVICES: Final = {"a100": "a100-sxm-80gb", "h100": "h100-sxm-80gb"}
TARGET: Final = 0.20
"""Median error that is asked for."""
FAMILY: Final = "vllm"
"""Kernels that predict: Vidur timed vLLM's of 2024, cuBLAS in fp16, with the host's launch."""


@dataclass(frozen=True)
class IndependentScore:
    """Error on one GPU and one range of rows."""

    gpu: str
    what: str
    error: FitError
    bias_frac: float
    """Median signed error."""


def score_vidur(path: Path) -> list[IndependentScore]:
    """Predict the products of Vidur's file from the catalogue's kernels; nothing is fitted to them.

    Parameters
    ----------
    path : `mlp.csv` of github:microsoft/vidur, all devices in one file

    Returns
    -------
    for each GPU the score of all rows, and of those of up to 64 tokens, which the launch rules, and of more
    """
    import pandas as pd

    rows = pd.read_csv(path)
    scores = []
    for device, gpu_name in DEVICES.items():
        part = rows[rows["device"] == device]
        if part.empty:
            continue
        kernel, gpu = load_kernels(gpu_name, FAMILY).gemm["bf16"], catalog.load_gpu(gpu_name)
        predicted, measured, tokens = [], [], []
        keys = ["n_head", "n_kv_head", "n_embd", "n_expanded_embd", "use_gated_mlp", "tp"]
        for sizes, shape in part.groupby(keys):
            heads, kv_heads, hidden, width, gated, tp = cast("tuple[int, ...]", sizes)
            head_dim = hidden // heads
            inputs = (2 if gated else 1) * width // tp
            matrices = {
                "attn_pre_proj_ms": Matrix("qkv", hidden, (heads // tp + 2 * max(kv_heads // tp, 1)) * head_dim),
                "attn_post_proj_ms": Matrix("o", hidden // tp, hidden),
                "mlp_up_proj_ms": Matrix("gate_up", hidden, inputs),
                "mlp_down_proj_ms": Matrix("down", width // tp, hidden),
            }
            num_tokens = shape["num_tokens"].to_numpy(dtype=np.float64)
            for column, matrix in matrices.items():
                time_s = shape[column].to_numpy(dtype=np.float64) * 1e-3
                known = time_s > 0
                predicted.append(gemm_s(num_tokens[known], matrix, kernel, gpu))
                measured.append(time_s[known])
                tokens.append(num_tokens[known])
        scores += _scores(gpu_name, *(np.concatenate(one) for one in (predicted, measured, tokens)))
    return scores


def _scores(gpu: str, predicted_s: Floats, measured_s: Floats, tokens: Floats) -> list[IndependentScore]:
    """Return the scores of all rows, of small and of large batches."""
    found = []
    for what, chosen in (("all rows", tokens > 0), ("to 64 tokens", tokens <= 64), ("above 64 tokens", tokens > 64)):
        p, m = predicted_s[chosen], measured_s[chosen]
        found.append(IndependentScore(gpu, what, error_of(p, m), round(float(np.median(p / m - 1.0)), 4)))
    return found
