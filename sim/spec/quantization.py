"""`quantization_config` of a checkpoint -> the type of its quantised weights, and which weights those are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

Scheme: TypeAlias = Literal["fp8", "int8", "int4", "mxfp4"]
"""Type of quantised weights: 8-bit float, 8- or 4-bit integer, 4-bit float with a shared exponent a block of 32."""
Modules: TypeAlias = Literal["linear", "experts"]
"""Which weights: every linear layer but the output head, or the routed experts alone."""

_BY_METHOD: Final[dict[str, Scheme]] = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4"}
_BY_TYPE: Final[dict[tuple[str, int], Scheme]] = {("float", 8): "fp8", ("int", 8): "int8", ("int", 4): "int4"}
_KNOWN: Final = "fp8, fbgemm_fp8, mxfp4, awq, gptq, bitsandbytes, compressed-tensors, modelopt (FP8)"


def read_quantization(settings: Any, *, moe: bool) -> tuple[Scheme, Modules]:
    """Return type and extent of a checkpoint's quantisation.

    Parameters
    ----------
    settings
        The value of `quantization_config`.
    moe
        True if the model has routed experts, which may be all that is quantised.

    Returns
    -------
    tuple
        Type of the quantised weights, and which weights those are.

    Raises
    ------
    ValueError
        The method is not known; the message names those that are.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"expected a block of settings, got {settings!r}")  # noqa: TRY004  (a user's mistake)
    scheme = _scheme(settings)
    kept = [str(name) for key in ("modules_to_not_convert", "ignore") for name in settings.get(key) or ()]
    only_experts = moe and any("self_attn" in name for name in kept)
    return scheme, "experts" if only_experts else "linear"


def _scheme(settings: Mapping[str, Any]) -> Scheme:
    """Return the type of the quantised weights."""
    method = str(settings.get("quant_method") or _producer(settings) or "")
    if method in _BY_METHOD:
        return _BY_METHOD[method]
    if method in ("awq", "gptq"):
        return _of(method, "int", settings.get("bits", settings.get("w_bit")))
    if method == "bitsandbytes":
        return _of(method, "int", 4 if settings.get("load_in_4bit") else 8)
    if method == "compressed-tensors":
        groups = settings.get("config_groups") or {}
        weights = [group.get("weights") or {} for group in groups.values() if isinstance(group, Mapping)]
        kinds = {_of(method, str(w.get("type", "int")), w.get("num_bits")) for w in weights}
        if len(kinds) == 1:
            return kinds.pop()
        raise ValueError(f"compressed-tensors with {len(kinds)} types of weights is not supported, only one")
    if method == "modelopt" and str(settings.get("quant_algo")).upper() == "FP8":
        return "fp8"
    algorithm = f" with quant_algo {settings['quant_algo']}" if "quant_algo" in settings else ""
    raise ValueError(f"quant_method {method or 'missing'}{algorithm} is not supported. Supported: {_KNOWN}.")


def _producer(settings: Mapping[str, Any]) -> Any:
    producer = settings.get("producer")
    return producer.get("name") if isinstance(producer, Mapping) else None


def _of(method: str, kind: str, bits: Any) -> Scheme:
    if (kind, bits) not in _BY_TYPE:
        raise ValueError(f"{method} with {bits}-bit {kind} weights is not supported. Supported: {_KNOWN}.")
    return _BY_TYPE[kind, bits]
