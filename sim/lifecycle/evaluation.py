"""Stages 4 and 6, evaluation: benchmarks at every checkpoint, and people who attack."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from sim.lifecycle.figures import Figure, Stage, computed, inputs
from sim.lifecycle.plan import Plan
from sim.lifecycle.scaling import inference_flops_per_token
from sim.lifecycle.shapes import training_attention_flops_per_token


def stage(plan: Plan) -> Stage:
    """Return what measuring and attacking it costs."""
    return Stage("evaluation", "Stages 4 and 6: evaluation and red-teaming", tuple(_figures(plan)))


def _figures(plan: Plan) -> Iterator[Figure]:
    block, rented = plan.spec.evaluation, plan.alignment
    per_token = inference_flops_per_token(plan.compute_parameters)
    attend = partial(training_attention_flops_per_token, plan.model)
    bills = []
    yield from inputs("all", block)
    for name, one in block.benchmarks.items():
        yield from inputs(name, one)
        hours = computed(
            f"{name}: GPU-hours",
            "GPU-hours",
            "questions x samples x tokens x checkpoints x (2 N + attention) / (3600 peak MFU)",
            lambda count, tokens, samples, times, mfu: rented.hours(
                (per_token + attend(tokens) / 3) * count * tokens * samples * times, mfu
            ),
            one.num_questions,
            one.tokens_per_question,
            one.samples,
            block.num_checkpoints,
            block.mfu,
            note="attention of the questions: a third of that in training",
        )
        yield hours
        bills.append(hours)
    if bills:
        total = computed(
            "benchmarks: GPU-hours",
            "GPU-hours",
            "sum",
            lambda *parts: float(sum(parts)),
            *(one.number for one in bills),
        )
        yield total
        yield Figure("HELM, all its open models (published)", 19_500, "A100-hours", "arXiv:2211.09110")
        bills = [total]
    red = block.red_team
    people, tried = [], []
    if red is not None:
        yield from inputs("red team", red)
        people.append(
            computed(
                "red team: people",
                "USD",
                "people x hours x USD an hour",
                lambda count, hours, usd: count * hours * usd,
                red.num_people,
                red.hours_per_person,
                red.usd_per_hour,
            )
        )
        tried.append(
            computed(
                "red team: GPU-hours",
                "GPU-hours",
                "attacks x tokens x 2 N x 3 / (3600 peak MFU)",
                lambda count, tokens, mfu: rented.hours(3 * per_token * count * tokens, mfu),
                red.num_attacks,
                red.tokens_per_attack,
                block.mfu,
                note="attacker, model and judge of the same size: assumed",
            )
        )
        yield people[0]
        yield tried[0]
    hours_now = [figure.number for figure in (*bills, *tried)]
    yield computed(
        "all: dollars",
        "USD",
        "GPU-hours x price + people",
        lambda usd, *parts: usd * sum(parts[: len(hours_now)]) + sum(parts[len(hours_now) :]),
        rented.usd_per_gpu_hour,
        *hours_now,
        *(figure.number for figure in people),
        source=rented.usd_per_gpu_hour.source,
    )
