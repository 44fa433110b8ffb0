"""Precisions: which kernel fit and how many bytes a choice of weights, activations and cache means."""

from __future__ import annotations

from dataclasses import dataclass

from sim.cost.kernels import ExpertKernel, GemmKernel, Kernels
from sim.errors import Problem, SpecError
from sim.spec.model import ModelSpec

VALUE_BYTES = {"bf16": 2.0, "fp8": 1.0}
"""Bytes of one cached value by precision of the cache."""
_SAME = {"fp16": "bf16"}
"""Precisions with the kernels of another: the tensor cores are equally fast in both 16-bit types."""


@dataclass(frozen=True)
class Precisions:
    """The choices of one profile and the fits that belong to them."""

    weights: str
    activations: str
    kv: str
    linear: GemmKernel
    """Attention, dense MLP and shared experts."""
    plain: GemmKernel
    """What is never quantised: the output head."""
    experts: ExpertKernel | None
    """Routed experts; None for a dense model."""
    value_bytes: float
    """Bytes of one cached value [B]."""


def resolve_precisions(
    model: ModelSpec, kernels: Kernels, weights: str, activations: str | None, kv: str
) -> Precisions:
    """Return the fits for a choice of precisions.

    Parameters
    ----------
    model, kernels : what runs where
    weights : bf16, fp16, fp8, fp8_block (a scale for each block), int8, int4 (linear layers and experts) or mxfp4
        (experts alone, the rest bf16)
    activations : bf16 or fp8; None: fp8 for fp8 weights where the GPU multiplies in fp8, else bf16
    kv : bf16, fp16 or fp8; auto: bf16

    Raises
    ------
    SpecError
        A precision is unknown, has no fit on this GPU, or the three do not go together.
    """
    problems: list[Problem] = []
    chosen = _SAME.get(weights, weights)
    linear_name = "bf16" if chosen == "mxfp4" else chosen
    if weights == "mxfp4" and not model.is_moe:
        problems.append(_problem("weights", f"mxfp4 quantises experts, {model.name} has none. Try int4"))
    linear = kernels.gemm.get(linear_name)
    if linear is None:
        known = ", ".join(["fp16", *kernels.gemm, "mxfp4"])
        problems.append(_problem("weights", f'"{weights}" has no fit on {kernels.name}; fitted: {known}'))
    experts = _experts(kernels, chosen) if model.is_moe else None
    if model.is_moe and experts is None and linear is not None:
        known = ", ".join(kernels.experts)
        problems.append(_problem("weights", f"experts in {weights} have no fit on {kernels.name}; fitted: {known}"))

    wanted = _SAME.get(activations, activations) if activations is not None else None
    implied = "fp8" if linear is not None and linear.fit.peak == "fp8" else "bf16"
    if wanted == "bf16" and implied == "fp8":
        linear = kernels.gemm.get("int8")  # one byte a weight, multiplied in bf16: the same work
        if linear is None or model.is_moe:
            what = "fp8 weights with bf16 activations have no fit" + (" for experts" if model.is_moe else "")
            problems.append(_problem("activations", f"{what} on {kernels.name}. Try activations=fp8"))
    elif wanted is not None and wanted != implied and linear is not None:
        what = f"{weights} weights are multiplied in {implied} on {kernels.name}, not in {activations}"
        problems.append(_problem("activations", what))

    cache = "bf16" if kv in ("auto", "fp16") else kv
    if cache not in kernels.decode_attention or cache not in VALUE_BYTES:
        known = ", ".join(["auto", "fp16", *kernels.decode_attention])
        problems.append(_problem("kv_cache_dtype", f'"{kv}" has no fit on {kernels.name}; fitted: {known}'))
    SpecError.raise_if(problems)
    if linear is None:
        raise AssertionError("a missing fit was reported above")
    return Precisions(weights, wanted or implied, cache, linear, kernels.gemm["bf16"], experts, VALUE_BYTES[cache])


def _experts(kernels: Kernels, chosen: str) -> ExpertKernel | None:
    """Return the experts' kernel for a precision of the weights.

    fp8 experts have block scales where these are timed: so have most that are published (DeepSeek-V3, Qwen3).
    """
    block = kernels.experts.get("fp8_block") if chosen == "fp8" else None
    return block or kernels.experts.get(chosen)


def _problem(path: str, message: str) -> Problem:
    return Problem(message, path=path)
