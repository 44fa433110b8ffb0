"""From a point to a call: operands are drawn at random and the implementations that a device offers are listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sim.calibrate.microbench.points import Point

LAUNCHES_PER_CALL: Final = 200
"""Kernels in one sample of the launch points, well below the 1,024 that a CUDA stream queues."""

PATTERN_BYTES: Final = 1024**2
"""Random bytes that a copy's source repeats [B]: drawing a gigabyte on the host takes seconds."""


class NotOffered(Exception):  # noqa: N818  (it is no error: the device just has no such thing)
    """The device or this build of PyTorch has no such operator."""


@dataclass(frozen=True, slots=True)
class Work:
    """A call to time: what runs, how many calls of the operator are in it, and whether the host is what is timed."""

    call: Callable[[], object]
    kernel: str
    calls: int = 1
    on_host: bool = False


def works(torch: Any, point: Point, device: str) -> list[Work]:
    """Return the implementations of a point that may run; the quickest of those that do is measured.

    Raises
    ------
    NotOffered
        The device has no such operator.
    """
    return _BUILDERS[point.operator](torch, point, device)


def _gemm(torch: Any, point: Point, device: str) -> list[Work]:
    left = torch.randn(point.m, point.k, device=device, dtype=torch.bfloat16)
    weights = torch.randn(point.n, point.k, device=device, dtype=torch.bfloat16)
    if point.precision == "bf16":
        result = torch.empty(point.m, point.n, device=device, dtype=torch.bfloat16)
        return [Work(lambda: torch.mm(left, weights.t(), out=result), "torch.mm")]
    left, weights = left.to(torch.float8_e4m3fn), weights.to(torch.float8_e4m3fn)
    one = torch.ones((), device=device)
    kinds = {"scale_a": one, "scale_b": one, "out_dtype": torch.bfloat16, "use_fast_accum": True}

    def scaled() -> object:
        return torch._scaled_mm(left, weights.t(), **kinds)  # noqa: SLF001  (PyTorch has no public fp8 product)

    return [Work(scaled, "torch._scaled_mm, a scale a tensor, fast accumulation")]


def _attention(torch: Any, point: Point, device: str) -> list[Work]:
    def draw(num_heads: int, tokens: int) -> Any:
        shape = (point.batch_size, num_heads, tokens, point.head_dim)
        return torch.randn(*shape, device=device, dtype=torch.bfloat16)

    query = draw(point.num_heads, point.new_tokens)
    key = draw(point.num_key_value_heads, point.context_tokens)
    value = draw(point.num_key_value_heads, point.context_tokens)
    attend = torch.nn.functional.scaled_dot_product_attention
    causal = point.new_tokens > 1
    grouped = point.num_heads != point.num_key_value_heads
    backends = torch.nn.attention.SDPBackend
    offered = (backends.FLASH_ATTENTION, backends.CUDNN_ATTENTION) if device == "cuda" else (backends.MATH,)

    def on(backend: Any) -> Callable[[], object]:
        def call() -> object:
            with torch.nn.attention.sdpa_kernel(backend):
                return attend(query, key, value, is_causal=causal, enable_gqa=grouped)

        return call

    return [Work(on(backend), f"torch sdpa {backend.name.lower()}") for backend in offered]


def _elementwise(torch: Any, point: Point, device: str) -> list[Work]:
    def draw(*shape: int) -> Any:
        return torch.randn(*shape, device=device, dtype=torch.bfloat16)

    functional = torch.nn.functional
    first = draw(point.m, point.n)
    if point.operator == "add":
        second, result = draw(point.m, point.n), torch.empty_like(first)
        return [Work(lambda: torch.add(first, second, out=result), "torch.add")]
    if point.operator == "rms_norm":
        weights = draw(point.n)
        return [Work(lambda: functional.rms_norm(first, (point.n,), weights), "torch rms_norm")]
    gate, result = draw(point.m, point.n), torch.empty_like(first)
    # Two kernels: PyTorch has no fused one without its compiler. The time counts both, the bytes only what must move.
    return [Work(lambda: torch.mul(functional.silu(gate), first, out=result), "torch silu, mul")]


def _copy(torch: Any, point: Point, device: str) -> list[Work]:
    pinned = device == "cuda"
    source_on, target_on = point.variant.split("_to_")

    def buffer(where: str) -> Any:
        if where == "host":
            return torch.zeros(point.message_bytes, dtype=torch.uint8, pin_memory=pinned)
        return torch.zeros(point.message_bytes, dtype=torch.uint8, device=device)

    source, target = buffer(source_on), buffer(target_on)
    pattern = torch.randint(0, 255, (min(point.message_bytes, PATTERN_BYTES),), dtype=torch.uint8)
    source.view(-1, pattern.numel()).copy_(pattern)
    return [Work(lambda: target.copy_(source, non_blocking=True), "torch copy_")]


def _launch(torch: Any, point: Point, device: str) -> list[Work]:
    one = torch.zeros(1, device=device)

    def many() -> None:
        for _ in range(LAUNCHES_PER_CALL):
            one.add_(1.0)

    if point.variant == "eager_host":
        return [Work(many, "torch add_ of one value", LAUNCHES_PER_CALL, on_host=True)]
    if point.variant == "eager_stream":
        return [Work(many, "torch add_ of one value", LAUNCHES_PER_CALL)]
    if device != "cuda":
        raise NotOffered("a processor has neither CUDA graphs nor events")
    if point.variant == "event_pair":
        return [Work(lambda: None, "nothing")]
    graph = torch.cuda.CUDAGraph()
    many()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        many()
    if point.variant == "graph_stream":
        return [Work(graph.replay, "CUDA graph of add_ of one value", LAUNCHES_PER_CALL)]
    return [Work(graph.replay, f"CUDA graph of {LAUNCHES_PER_CALL} add_ of one value", on_host=True)]


_BUILDERS: Final[dict[str, Callable[[Any, Point, str], list[Work]]]] = {
    "gemm": _gemm,
    "prefill_attention": _attention,
    "decode_attention": _attention,
    "add": _elementwise,
    "rms_norm": _elementwise,
    "silu_and_mul": _elementwise,
    "copy": _copy,
    "launch": _launch,
}
