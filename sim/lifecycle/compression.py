"""After alignment: smaller weights, smaller models, with the loss of quality that others published.

A student learns from its teacher's predictions: 2 N of the teacher and 6 Ns of the student for each token. Quality is a
proxy: the relative change of a benchmark's score, of other models than this one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sim.lifecycle.figures import Figure, Stage, computed, inputs, stated
from sim.lifecycle.plan import Plan
from sim.lifecycle.pretraining import dollars
from sim.lifecycle.scaling import training_flops
from sim.spec.lifecycle import Smaller
from sim.spec.ranged import Ranged, given


@dataclass(frozen=True)
class Scheme:
    """A type of weights."""

    weight_bytes: float
    """Bytes a weight [B], its scales included."""
    quality: Ranged
    """Relative change of benchmark scores against bf16."""
    note: str = ""


SCHEMES: Final[Mapping[str, Scheme]] = {
    "fp8": Scheme(
        1.0,
        given(
            0.0,
            "arXiv:2411.02355: W8A8 in fp8, 500,000 evaluations of Llama 3.1: effectively lossless",
            "published",
            -0.005,
            0.005,
        ),
        "range: assumed",
    ),
    "int8": Scheme(
        1.0,
        given(-0.02, "arXiv:2411.02355: W8A8 in int8, 1 to 3 %", "published", -0.03, -0.01),
        "Llama 3 70B, weights alone: 79.18 to 77.90 points (-1.6 %), 8B: 68.69 to 68.54 (-0.2 %), Neural Magic's cards",
    ),
    "int4": Scheme(
        0.5 + 2.0 / 128,
        given(-0.02, "arXiv:2411.02355: W4A16 rivals 8 bits", "published", -0.04, 0.0),
        "range: assumed; perplexity of Llama 2 70B 3.32 to 3.41, 7B 5.47 to 5.60 (AWQ, g128, arXiv:2306.00978)",
    ),
    "nvfp4": Scheme(
        0.5 + 1.0 / 16,
        given(
            74.0 / 78.9 - 1,
            "Llama 3.1 8B, mean of 4 tasks 78.9 to 74.0, rounded to nearest (ISTA-DASLab's FPQuant card)",
            "published",
        ),
        "a small model: larger ones lose less",
    ),
    "nvfp4-qat": Scheme(
        0.5 + 1.0 / 16,
        given(
            76.1 / 78.9 - 1,
            "Llama 3.1 8B, mean of 4 tasks 78.9 to 76.1, quantization-aware training (FPQuant card)",
            "published",
        ),
        "a small model: larger ones lose less",
    ),
}
"""What is published of types of weights; bf16 has 2 B and 0."""


def distillation_flops(teacher: float, student: float, tokens: float) -> float:
    """Compute of a student that learns from its teacher's predictions [FLOP]: (2 N + 6 Ns) D."""
    return tokens * (2.0 * teacher + 6.0 * student)


def stage(plan: Plan, tokens: Ranged) -> Stage:
    """Return what smaller weights and smaller models save and cost."""
    return Stage("compression", "After stage 5: compression", tuple(_figures(plan, tokens)))


def _figures(plan: Plan, tokens: Ranged) -> Iterator[Figure]:
    block, total = plan.spec.compression, plan.counts.total
    for name in block.quantization:
        scheme = SCHEMES[name]
        yield Figure(
            f"{name}: weights",
            scheme.weight_bytes * total / 1e9,
            "GB",
            f"computed: {scheme.weight_bytes:g} B x parameters",
        )
        yield stated(f"{name}: quality", scheme.quality, "change of benchmark scores", scheme.note)
    hours = []
    for what, small in (("distillation", block.distillation), ("pruning", block.pruning)):
        if small is not None:
            figures = tuple(_smaller(plan, what, small, tokens))
            yield from figures
            hours += [figure for figure in figures if figure.name == f"{what}: GPU-hours"]
    if hours:
        total_hours = computed(
            "all: GPU-hours", "GPU-hours", "sum", lambda *parts: float(sum(parts)), *(figure.number for figure in hours)
        )
        yield total_hours
        yield dollars("all: dollars", total_hours.number, plan.alignment.usd_per_gpu_hour)


def _smaller(plan: Plan, name: str, small: Smaller, tokens: Ranged) -> Iterator[Figure]:
    """Yield what one smaller model takes, beside training it from nothing on all tokens."""
    rented, teacher = plan.alignment, plan.compute_parameters
    yield from inputs(name, small)
    flops = computed(
        f"{name}: compute",
        "FLOP",
        "(2 N + 6 Ns) D",
        lambda n, d: distillation_flops(teacher, n, d),
        small.parameters,
        small.tokens,
    )
    yield flops
    yield computed(f"{name}: GPU-hours", "GPU-hours", "C / (3600 peak MFU)", rented.hours, flops.number, rented.mfu)
    yield computed(
        f"{name}: compute against from nothing",
        "times",
        "(2 N + 6 Ns) D / 6 Ns D of pretraining",
        lambda n, d, all_tokens: distillation_flops(teacher, n, d) / training_flops(n, all_tokens),
        small.parameters,
        small.tokens,
        tokens,
    )
    yield computed(
        f"{name}: loss from nothing",
        "nat a token",
        "E + A / N^alpha + B / D^beta",
        lambda law, n, d: law.loss(n, d),
        plan.law,
        small.parameters,
        tokens,
        source=plan.law.source,
        note="a proxy: what the smaller model would reach alone on all tokens; no law of distillation is used",
    )
