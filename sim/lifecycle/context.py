"""After pretraining: fewer KV heads, longer contexts, where attention is more of the compute than all weights."""

from __future__ import annotations

from collections.abc import Iterator

from sim.lifecycle.figures import Figure, Stage, computed
from sim.lifecycle.plan import Plan
from sim.lifecycle.pretraining import dollars
from sim.lifecycle.shapes import kv_bytes_per_token_layer, training_attention_flops_per_token
from sim.spec.model import ModelSpec
from sim.spec.ranged import Ranged


def training_flops_at(model: ModelSpec, parameters: float, tokens: float, context_tokens: float) -> float:
    """Compute of training at a length of context, attention included [FLOP]."""
    return tokens * (6.0 * parameters + training_attention_flops_per_token(model, context_tokens))


def uptraining_stage(plan: Plan, hours: Ranged) -> Stage | None:
    """Return what fewer KV heads cost, or None where it is not asked for."""
    block, model, rented = plan.spec.uptraining, plan.model, plan.pretraining
    if block is None:
        return None
    taken = computed("GPU-hours", "GPU-hours", "part x GPU-hours of pretraining", lambda f, h: f * h, block.frac, hours)
    full = model.model_copy(update={"num_key_value_heads": model.num_attention_heads})
    saved = kv_bytes_per_token_layer(full, 2.0) / kv_bytes_per_token_layer(model, 2.0)
    figures = (
        Figure(
            "part of pretraining",
            float(block.frac),
            "of its compute",
            block.frac.source,
            block.frac.low,
            block.frac.high,
        ),
        taken,
        dollars("dollars", taken.number, rented.usd_per_gpu_hour),
        Figure("KV cache under full heads", saved, "times this model's", f"computed: from the shape of {model.name}"),
    )
    return Stage("uptraining", "Stage 3: fewer KV heads, trained on", figures)


def context_stage(plan: Plan) -> Stage | None:
    """Return what longer contexts cost, or None where none are asked for."""
    if not plan.spec.context_extension:
        return None
    return Stage("context_extension", "Stage 3: longer contexts", tuple(_context(plan)))


def _context(plan: Plan) -> Iterator[Figure]:
    n, model, rented = plan.compute_parameters, plan.model, plan.pretraining
    hours = []
    for step in plan.spec.context_extension:
        length, name = step.context_tokens, f"{step.context_tokens // 1024}k"
        yield Figure(
            f"{name}: tokens", float(step.tokens), "tokens", step.tokens.source, step.tokens.low, step.tokens.high
        )
        yield Figure(
            f"{name}: attention",
            training_attention_flops_per_token(model, length) / (6 * n),
            "of the compute of the weights",
            "computed: 3 (s / 2) layers 2 h (d_qk + d_v) / 6 N",
        )
        hours.append(
            computed(
                f"{name}: GPU-hours",
                "GPU-hours",
                "D (6 N + attention) / (3600 peak MFU)",
                lambda d, mfu, s=length: rented.hours(training_flops_at(model, n, d, s), mfu),
                step.tokens,
                rented.mfu,
            )
        )
        yield hours[-1]
    total = computed(
        "all: GPU-hours", "GPU-hours", "sum", lambda *parts: float(sum(parts)), *(figure.number for figure in hours)
    )
    yield total
    yield dollars("all: dollars", total.number, rented.usd_per_gpu_hour)
