"""Stage 6, safety: training a model to refuse, once, against classifiers around it, every month.

A classifier of n parameters that reads t tokens of instructions and an exchange of p + o costs n (t + p + o) where the
model costs N (p + o), so its part is their quotient (docs/safety.md). One without a model of its own reads the model's
activations: about 1 % (arXiv:2601.04603).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from sim import catalog
from sim.lifecycle.alignment import post_training
from sim.lifecycle.figures import Figure, Stage, computed, inputs
from sim.lifecycle.plan import Plan
from sim.lifecycle.shapes import parameters
from sim.spec.ranged import given

PROBE_OVERHEAD: Final = given(
    0.01, "arXiv:2601.04603: about 1 % compute, the second stage included", "published", 0.001, 0.02
)
"""Compute of a probe on the model's own activations, over that of the model."""


def stage(plan: Plan, pretraining_flops: float) -> Stage:
    """Return what training costs once, and each classifier every month."""
    figures = tuple(post_training(plan, plan.spec.safety.training, pretraining_flops))
    once = next(figure for figure in figures if figure.name == "all: dollars")
    classifiers = tuple(figure for name in plan.spec.safety.classifiers for figure in _classifier(plan, name, once))
    exchange = tuple(inputs("exchange", plan.spec.safety))
    return Stage("safety", "Stage 6: safety", (*figures, *exchange, *classifiers))


def _classifier(plan: Plan, name: str, once: Figure) -> Iterator[Figure]:
    """Yield compute, dollars and errors of one classifier, and the months after which training was cheaper."""
    block, serving, found = plan.spec.safety, plan.spec.serving, catalog.load_classifier(name)
    if found.model is None:
        source, (low, high) = PROBE_OVERHEAD.source, (PROBE_OVERHEAD.low, PROBE_OVERHEAD.high)
        overhead = Figure(f"{name}: compute", float(PROBE_OVERHEAD), "of the model's", source, low, high)
    else:
        n, template = parameters(catalog.load_model(found.model)).active, found.template_tokens
        overhead = computed(
            f"{name}: compute",
            "of the model's",
            "n (t + p + o) / N (p + o)",
            lambda p, o: n * (template + p + o) / (plan.counts.active * (p + o)),
            block.prompt_tokens,
            block.output_tokens,
            note=f"{n / 1e9:.3g}B parameters, {template} tokens of instructions, nothing cached",
        )
    yield overhead
    errors = f"{found.source}; assumed: {found.assumed}" if found.assumed else found.source
    yield Figure(f"{name}: unsafe texts found", found.recall, "of unsafe", errors)
    yield Figure(f"{name}: safe texts flagged", found.false_positive_rate, "of safe", errors)
    if serving.usd_per_month > 0:
        monthly = computed(
            f"{name}: dollars a month",
            "USD/month",
            "part x bill of serving",
            lambda part, usd: part * usd,
            overhead.number,
            serving.usd_per_month,
        )
        yield monthly
        if once.value > 0:
            yield computed(
                f"{name}: months that cost as much as the training",
                "months",
                "training / dollars a month",
                lambda usd, month: usd / month,
                once.number,
                monthly.number,
                note="cost alone: the two do not do the same",
            )
