"""Which points are measured: grids that span serving shapes, in a random order with a fixed seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final

from sim.calibrate.microbench.points import Point, flops, moved_bytes
from sim.errors import SpecError, did_you_mean

SECTIONS: Final = ("gemm", "prefill", "decode", "elementwise", "copy", "launch", "all_reduce")
"""What `--only` chooses from, in the order they are measured."""
MIB: Final = 1024**2

ROWS: Final = (1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 1536, 2048, 3072, 4096, 8192, 16384)
"""Rows m of the products [tokens]: a decode batch to two full prefill chunks."""
MATRICES: Final = (
    *((6144, 4096), (4096, 4096), (28672, 4096), (4096, 14336)),  # Llama-3.1-8B: qkv, o, gate and up, down
    *((10240, 8192), (8192, 8192), (57344, 8192), (8192, 28672)),  # Llama-3.1-70B on one GPU
    *((5120, 8192), (8192, 4096), (28672, 8192), (8192, 14336)),  # on two
    *((1280, 8192), (8192, 1024), (7168, 8192), (8192, 3584)),  # on eight
    *((2048, 2048), (2048, 4096), (512, 2048)),  # smaller models, and slices of them
)
"""(n, k) of the products: widths of the results and inner dimensions."""
HEADS: Final = ((32, 8, 128), (8, 1, 128), (64, 8, 128), (16, 2, 128), (32, 32, 128), (32, 8, 64))
"""(query heads, key-value heads, head width): Llama-3.1-8B, 70B on eight GPUs, on one and on four, no GQA, narrow."""
DECODE_HEADS: Final = ((32, 8, 128), (8, 1, 128), (64, 8, 128), (32, 8, 64))
PROMPTS: Final = ((1, (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)), (4, (128, 512, 2048, 8192)), (16, (512,)))
"""(prompts at once, their lengths [tokens])."""
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS: Final = (128, 512, 1024, 2048, 4096, 8192, 16384, 32768, 131072)
LARGEST_FRAC: Final = 0.3
"""A point's operands take at most this share of the device's memory; fp8 ones are drawn in bf16: thrice that."""
LARGEST_ELEMENTS: Final = 2**31 - 1
"""Elements of an operand at most: beyond, kernels that index with 32 bits refuse, or fail and take the device along."""
COPY_BYTES: Final = tuple(4**power * MIB for power in range(6))  # 1 MiB to 1 GiB
MESSAGE_BYTES: Final = tuple(4**power * 1024 for power in range(1, 10))  # 4 KiB to 256 MiB
LAUNCHES: Final = ("eager_host", "eager_stream", "graph_stream", "graph_host", "event_pair")
"""Host time of a launch, time between kernels launched one by one, between those of a CUDA graph, host time of a whole
graph's replay, and the time between two events with nothing between them."""


@dataclass(frozen=True, slots=True)
class Device:
    """What the plan must know of the device."""

    memory_bytes: float
    precisions: tuple[str, ...] = ("bf16",)
    num_gpus: int = 1


def plan(
    device: Device, *, only: Iterable[str] = (), quick: bool = False, tiny: bool = False, seed: int = 1
) -> dict[str, list[Point]]:
    """Return the points of each section, in a random order that `seed` fixes.

    Parameters
    ----------
    device : what fits, and what it computes in
    only : sections to keep, of `SECTIONS`; none: all
    quick : every third value of each grid: a first look in about two minutes
    tiny : shapes for a processor: the same code paths in seconds

    Raises
    ------
    SpecError
        A section is unknown.
    """
    chosen = tuple(only) or SECTIONS
    SpecError.raise_if(
        f'--only: unknown section "{name}". {did_you_mean(name, SECTIONS)}' for name in chosen if name not in SECTIONS
    )
    step = 3 if quick else 1
    points = _tiny(device) if tiny else _full(device, step)
    order = random.Random(seed)  # noqa: S311  (an order, no secret)
    shuffled: dict[str, list[Point]] = {}
    for name in SECTIONS:
        section = points[name]
        order.shuffle(section)
        if name in chosen:
            shuffled[name] = section
    return shuffled


def _full(device: Device, step: int) -> dict[str, list[Point]]:
    gemm = [
        Point("gemm", precision, m=m, n=n, k=k)
        for precision, (n, k), m in product(device.precisions, MATRICES[::step], ROWS[::step])
    ]
    prefill = [
        _attention("prefill_attention", batch, length, length, heads)
        for heads, (batch, lengths) in product(HEADS[::step], PROMPTS)
        for length in lengths[::step]
    ]
    decode = [
        _attention("decode_attention", batch, 1, context, heads)
        for heads, batch, context in product(DECODE_HEADS[::step], BATCHES[::step], CONTEXTS[::step])
    ]
    elementwise = [
        Point(operator, m=m, n=n)
        for operator, m, n in product(("add", "rms_norm", "silu_and_mul"), ROWS[:: 2 * step], (4096, 8192))
    ]
    points = {
        "gemm": gemm,
        "prefill": prefill,
        "decode": decode,
        "elementwise": elementwise,
        "copy": _copies(COPY_BYTES[::step]),
        "launch": [Point("launch", variant=variant) for variant in LAUNCHES],
        "all_reduce": _all_reduces(device.num_gpus, MESSAGE_BYTES[::step]),
    }
    largest = LARGEST_FRAC * device.memory_bytes
    return {
        name: [point for point in section if moved_bytes(point) <= largest and _elements(point) <= LARGEST_ELEMENTS]
        for name, section in points.items()
    }


def _elements(point: Point) -> int:
    """Elements of a point's largest operand."""
    queries = point.batch_size * point.new_tokens * point.num_heads * point.head_dim
    keys = point.batch_size * point.context_tokens * point.num_key_value_heads * point.head_dim
    return max(point.m * point.n, point.m * point.k, point.n * point.k, queries, keys)


def _tiny(device: Device) -> dict[str, list[Point]]:
    heads = (4, 2, 16)
    return {
        "gemm": [Point("gemm", precision, m=m, n=32, k=16) for precision in device.precisions for m in (1, 16)],
        "prefill": [_attention("prefill_attention", 1, length, length, heads) for length in (16, 64)],
        "decode": [_attention("decode_attention", batch, 1, 64, heads) for batch in (1, 2)],
        "elementwise": [Point(operator, m=4, n=64) for operator in ("add", "rms_norm", "silu_and_mul")],
        "copy": _copies((1024,)),
        "launch": [Point("launch", variant=variant) for variant in LAUNCHES],
        "all_reduce": _all_reduces(device.num_gpus, (1024, 4096)),
    }


def _attention(
    operator: str, batch_size: int, new_tokens: int, context_tokens: int, heads: tuple[int, int, int]
) -> Point:
    num_heads, num_key_value_heads, head_dim = heads
    return Point(
        operator,
        batch_size=batch_size,
        new_tokens=new_tokens,
        context_tokens=context_tokens,
        num_heads=num_heads,
        num_key_value_heads=num_key_value_heads,
        head_dim=head_dim,
    )


def _copies(sizes: tuple[int, ...]) -> list[Point]:
    variants = ("device_to_device", "host_to_device", "device_to_host")
    return [Point("copy", variant=variant, message_bytes=size) for variant, size in product(variants, sizes)]


def _all_reduces(num_gpus: int, sizes: tuple[int, ...]) -> list[Point]:
    groups = [group for group in (2, 4, 8) if group <= num_gpus]
    return [Point("all_reduce", num_gpus=group, message_bytes=size) for group, size in product(groups, sizes)]


def expected_s(point: Point, flops_per_s: float = 5e14, bytes_per_s: float = 2e12) -> float:
    """Rough time that a point takes of the whole budget [s]: set-up and samples, *assumed*; used to share it out."""
    if point.operator == "all_reduce":
        return 2.0  # most of it is the start of the group
    return 0.05 + 15 * max(flops(point) / flops_per_s, moved_bytes(point) / bytes_per_s)
