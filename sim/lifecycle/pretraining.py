"""Stage 3, pretraining: what a budget buys, and what it costs in dollars, energy and carbon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sim.lifecycle.data import effective
from sim.lifecycle.figures import Figure, Stage, computed, stated
from sim.lifecycle.scaling import LAWS, inference_flops_per_token, lifetime, lifetime_optimum, training_flops
from sim.lifecycle.shapes import training_attention_flops_per_token
from sim.spec.ranged import Ranged

if TYPE_CHECKING:
    from sim.lifecycle.plan import Plan

SIX: Final = "arXiv:2001.08361: 6 FLOP a parameter and token"


def training_tokens(plan: Plan) -> Figure:
    """Return the tokens that the model is trained on: given, the optimum for its size, or what the budget buys."""
    tokens, block, rented = plan.spec.data.tokens, plan.spec.pretraining, plan.pretraining
    if isinstance(tokens, Ranged):
        return stated("training tokens", tokens, "tokens")
    if tokens == "chinchilla":
        law = plan.law
        return computed(
            "training tokens",
            "tokens",
            "(beta B N^alpha / alpha A)^(1 / beta)",
            lambda fit, n: fit.optimal_tokens(n),
            law,
            plan.loss_parameters,
            source=law.source,
        )
    return computed(
        "training tokens",
        "tokens",
        "GPU-hours (1 - reserve) 3600 peak MFU / 6 N",
        lambda hours, reserve, mfu: rented.flops(hours * (1 - reserve), mfu) / (6 * plan.compute_parameters),
        block.gpu_hours,
        block.instability_reserve_frac,
        rented.mfu,
        source=SIX,
    )


def gpu_hours(plan: Plan, tokens: Ranged) -> Figure:
    """Return the GPU-hours of the run, the reserve included: the budget, or what the tokens take."""
    block, rented = plan.spec.pretraining, plan.pretraining
    if plan.spec.data.tokens == "budget" and block.gpu_hours is not None:
        return stated("GPU-hours", block.gpu_hours, "GPU-hours")
    return computed(
        "GPU-hours",
        "GPU-hours",
        "6 N D / (3600 peak MFU (1 - reserve))",
        lambda d, mfu, reserve: rented.hours(training_flops(plan.compute_parameters, d), mfu) / (1 - reserve),
        tokens,
        rented.mfu,
        block.instability_reserve_frac,
        source=SIX,
    )


def usd_to_train(plan: Plan, parameters: float, tokens: float) -> float:
    """Return what training another size on other tokens would cost on this plan's GPUs, reserve included [USD].

    The cost of training that `sim.lifecycle.scaling.lifetime_optimum` takes beside dollars a token served.
    """
    rented = plan.pretraining
    hours = rented.hours(training_flops(parameters, tokens), rented.mfu)
    return hours / (1 - plan.spec.pretraining.instability_reserve_frac) * rented.usd_per_gpu_hour


def scaling_stage(plan: Plan, hours: Ranged) -> Stage:
    """Return the three answers: the best tokens for the size, those the budget buys, and the best size for it."""
    return Stage("scaling", "Stage 2: how many parameters, how many tokens", tuple(_answers(plan, hours)))


def _answers(plan: Plan, hours: Ranged) -> Iterator[Figure]:
    rented, n, spec = plan.pretraining, plan.loss_parameters, plan.spec
    budget = computed(
        "compute of the budget",
        "FLOP",
        "GPU-hours 3600 peak MFU",
        rented.flops,
        hours,
        rented.mfu,
        note="the whole of it, no reserve kept",
    )
    yield budget
    for law in LAWS.values():
        yield computed(
            f"best tokens for this size ({law.name})",
            "tokens",
            "(beta B N^alpha / alpha A)^(1 / beta)",
            lambda fit, size: fit.optimal_tokens(size),
            law,
            n,
            source=law.source,
        )
    yield computed(
        "tokens that the budget buys at this size",
        "tokens",
        "C / 6 N",
        lambda flops: flops / (6 * plan.compute_parameters),
        budget.number,
        source=SIX,
    )
    for law in LAWS.values():
        for place, (what, unit) in enumerate((("parameters", "1"), ("tokens", "tokens"))):
            yield computed(
                f"best {what} for the budget ({law.name})",
                unit,
                ("G (C / 6)^(beta / (alpha + beta))", "C / 6 N")[place],
                lambda fit, flops, place=place: fit.optimum(flops)[place],
                law,
                budget.number,
                source=law.source,
            )
    if spec.serving.tokens_per_month > 0:
        yield from _for_a_life(plan, budget)


def _for_a_life(plan: Plan, budget: Figure) -> Iterator[Figure]:
    """Yield the size that reaches the same loss at the least compute of training and serving."""
    law, n = plan.law, float(plan.loss_parameters)
    loss = law.loss(n, budget.value / (6 * plan.compute_parameters))
    demand = float(plan.spec.serving.tokens_per_month) * float(plan.spec.release.life_months)
    best, now = lifetime_optimum(law, loss, demand), lifetime(law, loss, n, demand)
    source = f"computed: least 6 N D + 2 N demand with L(N, D) = {loss:.4f} (arXiv:2401.00448), {law.name}"
    yield Figure("demand over its life", demand, "tokens", "computed: tokens a month x months of life")
    yield Figure("best parameters for its life", best.parameters, "1", source)
    yield Figure("best tokens for its life", best.tokens, "tokens", source)
    yield Figure("compute saved by it", 1 - best.total / now.total, "of training and serving", source)
    share = inference_flops_per_token(n) * demand / now.total
    yield Figure("share of serving in the compute of its life", share, "1", "computed: 2 N demand / all")


def stage(plan: Plan, tokens: Ranged, hours: Ranged) -> Stage:
    """Return the run: compute, time, loss, dollars, energy, carbon."""
    return Stage("pretraining", "Stage 3: pretraining", tuple(_figures(plan, tokens, hours)))


def _figures(plan: Plan, tokens: Ranged, hours: Ranged) -> Iterator[Figure]:
    block, rented, n = plan.spec.pretraining, plan.pretraining, plan.loss_parameters
    yield Figure("training tokens", float(tokens), "tokens", tokens.source, tokens.low, tokens.high)
    yield computed("tokens a parameter", "1", "D / N", lambda d, size: d / size, tokens, n)
    yield computed(
        "compute",
        "FLOP",
        "6 N D",
        lambda d: training_flops(plan.compute_parameters, d),
        tokens,
        source=SIX,
        note="N: all parameters of a dense model, those that a token visits of a mixture of experts",
    )
    yield Figure(
        "attention left out of it",
        training_attention_flops_per_token(plan.model, block.context_tokens)
        / training_flops(plan.compute_parameters, 1),
        "of 6 N D",
        "computed: 3 (s / 2) layers 2 h (d_qk + d_v) / 6 N (arXiv:2204.02311, appendix B, halved for causality)",
        note=f"s = {block.context_tokens:,} tokens",
    )
    yield computed(
        "over-training",
        "times the best tokens",
        "D / best D for this size",
        lambda fit, d, size: d / fit.optimal_tokens(size),
        plan.law,
        tokens,
        n,
        source=plan.law.name,
    )
    for law in LAWS.values():
        yield computed(
            f"predicted loss ({law.name})",
            "nat a token",
            "E + A / N^alpha + B / D^beta",
            lambda fit, size, d: fit.loss(size, effective(plan, d)),
            law,
            n,
            tokens,
            source=law.source,
            note="a proxy: of the fit's own data and tokenizer; D counts repeats as in stage 1",
        )
    yield stated("MFU", rented.mfu, "1", "over all GPU-hours, of the peak in bf16")
    yield Figure("peak", rented.peak_flops_per_s, "FLOP/s", rented.gpu.bf16_flops_per_s.source, note=rented.gpu.name)
    yield Figure("GPU-hours", float(hours), "GPU-hours", hours.source, hours.low, hours.high)
    yield stated("instability reserve", block.instability_reserve_frac, "of the GPU-hours")
    if block.num_gpus is not None:
        yield computed("days", "days", "GPU-hours / GPUs / 24", lambda h: h / block.num_gpus / 24, hours)
    yield stated("price", rented.usd_per_gpu_hour, "USD/GPU-hour")
    yield dollars("dollars", hours, rented.usd_per_gpu_hour)
    energy = computed(
        "energy",
        "kWh",
        "GPU-hours (power_frac limit + rest of the server) PUE / 1000",
        lambda h, part: h * (part * rented.gpu.tdp_w + plan.site.host_w_per_gpu) * plan.site.pue / 1000,
        hours,
        block.power_frac,
        source=f"PUE {plan.site.pue:g}: {plan.site.pue.source}",
        note=f"limit {rented.gpu.tdp_w:g} W: {rented.gpu.tdp_w.source}",
    )
    yield energy
    yield computed(
        "energy bill",
        "USD",
        "kWh x price",
        lambda kwh: kwh * plan.site.usd_per_kwh,
        energy.number,
        source=plan.site.usd_per_kwh.source,
        note="in the price of rented GPUs already",
    )
    yield computed(
        "carbon",
        "t CO2e",
        "kWh x grid",
        lambda kwh: kwh * plan.site.carbon_g_per_kwh / 1e6,
        energy.number,
        source=plan.site.carbon_g_per_kwh.source,
    )


def dollars(name: str, hours: Ranged, price: Ranged) -> Figure:
    """Return what GPU-hours cost."""
    return computed(name, "USD", "GPU-hours x price", lambda h, usd: h * usd, hours, price, source=price.source)
