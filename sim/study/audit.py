"""The audit of a model's life: each question answered with figures of its lifecycle and a simulated day."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sim.fleet.run import Run, run
from sim.lifecycle.figures import COMPUTED, Figure, computed
from sim.lifecycle.plan import Plan
from sim.lifecycle.stages import Stages, stages_of
from sim.spec import Scenario
from sim.spec.lifecycle import Lifecycle
from sim.study.audit_questions import QUESTIONS, Question
from sim.study.audit_serving import serving_figures, watching_figures
from sim.study.echo import CHOICES, Row, echo
from sim.study.thinning import thinned

SCALE: Final = 0.1
"""Part of the fleet that is played for an audit, a whole day of it."""
SIZING: Final = {"scale": 0.05, "peak_factor": 1.5, "target": 0.9}
"""How the fleets of question 2b are sized; the peak is that of meridian-1's day (*assumed* there)."""
MOST_EPOCHS: Final = 4.0
"""Times that text may be seen and be almost as good as new (Muennighoff et al., arXiv:2305.16264)."""
SEEN_FRACS: Final = (0.01, 0.1, 0.25, 0.5, 0.75)
Z95: Final = 1.96


@dataclass(frozen=True)
class Answer:
    """A question with the figures that bear on it."""

    question: Question
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Audit:
    """A model's life, audited."""

    name: str
    stages: Stages
    answers: tuple[Answer, ...]
    choices: tuple[Row, ...]
    """Dense against a mixture of experts, of question 2b."""
    day: Run
    scale: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the day's records as plain data."""
        return {
            "name": self.name,
            "scale": self.scale,
            "lifecycle": self.stages.to_dict(),
            "answers": [
                {**vars(answer.question), "figures": [figure.to_dict() for figure in answer.figures]}
                for answer in self.answers
            ],
            "choices": [vars(row) for row in self.choices],
            "day": self.day.result,
        }


def audit(spec: Lifecycle, scenario: Scenario, *, scale: float = SCALE, sizing: Mapping[str, float] = SIZING) -> Audit:
    """Audit a model's life.

    Parameters
    ----------
    spec
        How it is made.
    scenario
        How it is served, at full size; of a population.
    scale
        Part of the fleet that is played, for a whole day.
    sizing
        See `sim.study.sizing.size`: for the fleets of question 2b.

    Raises
    ------
    SpecError, CapacityError
        What is wrong with either.
    """
    stages, plan = stages_of(spec), Plan(spec)
    day = run(scenario if scale == 1.0 else thinned(scenario, scale))
    dense_or_experts = [CHOICES[0], CHOICES[-1]]
    choices = tuple(echo(stages, scenario, dense_or_experts, **sizing))
    figures: dict[str, Sequence[Figure]] = {
        **{key: tuple(pick(stages, *wanted)) for key, wanted in WANTED.items()},
        "2b": tuple(compared(choices, sizing)),
        "7a": tuple(serving_figures(day, scenario, scale)),
        "7b": tuple(watching_figures(scenario)),
    }
    extra = {
        "1c": headroom(stages),
        "3b": progress(plan, stages),
        "4a": resolution(stages),
        "6b": exclusion(stages, day, scale),
    }
    answers = tuple(
        Answer(question, (*figures.get(question.key, ()), *extra.get(question.key, ()))) for question in QUESTIONS
    )
    return Audit(spec.name, stages, answers, choices, day, scale)


WANTED: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "1a": (("data", ": tokens"), ("data", ": epochs")),
    "1b": (("data", ": share"), ("data", "tokens")),
    "2a": (("scaling", ""), ("pretraining", "over-training"), ("pretraining", "predicted loss")),
    "3a": (("pretraining", "instability"), ("pretraining", "GPU-hours"), ("pretraining", "dollars")),
    "4a": (("evaluation", "num_questions"), ("evaluation", "GPU-hours")),
    "4b": (("safety", "all: dollars"), ("safety", "dollars a month"), ("pretraining", "dollars")),
    "5a": (("alignment", "sft: "),),
    "5b": (("alignment", ": share"), ("alignment", ": GPUs"), ("alignment", ": dollars")),
    "6a": (("evaluation", "red team"),),
    "6b": (("safety", "unsafe texts found"), ("safety", "safe texts flagged")),
}
"""Figures that bear on a question: stage, and what their names contain, or end in where it begins with a colon."""


def pick(stages: Stages, *wanted: tuple[str, str]) -> Iterator[Figure]:
    """Yield the figures of stages whose names contain a word (see WANTED), each once."""
    seen = set[tuple[str, str]]()
    for stage, word in wanted:
        if stage not in {one.name for one in stages}:
            continue
        for figure in stages[stage].figures:
            fits = figure.name.endswith(word) if word.startswith(": ") else word in figure.name
            if fits and (stage, figure.name) not in seen:
                seen.add((stage, figure.name))
                yield figure


def headroom(stages: Stages) -> Iterator[Figure]:
    """How much of each kind of text a filter may throw away before what is left is seen too often."""
    for figure in stages["data"].figures:
        kind, _, what = figure.name.partition(": ")
        if what == "epochs":
            yield computed(
                f"{kind}: may be thrown away", "of the texts", "1 - epochs / 4", lambda n: 1.0 - n / MOST_EPOCHS,
                figure.number, source="four times: arXiv:2305.16264", note="below 0: seen too often already",
            )  # fmt: skip


def progress(plan: Plan, stages: Stages) -> Iterator[Figure]:
    """How far the loss has come by parts of the tokens."""
    law, parameters = plan.law, plan.loss_parameters
    tokens = stages["pretraining"]["training tokens"]
    for part in SEEN_FRACS:
        yield computed(
            f"loss at {part:.0%} of the tokens", "nat a token", f"{law.name}: E + A / N^alpha + B / D^beta",
            lambda n, d, part=part: law.loss(n, part * d), parameters, tokens.number, source=law.source,
        )  # fmt: skip
    first, last = (law.loss(float(parameters), part * tokens.value) for part in (SEEN_FRACS[0], 1.0))
    half = law.loss(float(parameters), 0.5 * tokens.value)
    yield Figure(
        "gain of the second half of the tokens", (half - last) / (first - last), "of the gain since 1 % of them",
        f"{COMPUTED}: the losses above",
    )  # fmt: skip


def resolution(stages: Stages) -> Iterator[Figure]:
    """What difference a benchmark can tell from chance."""
    for figure in stages["evaluation"].figures:
        name, _, what = figure.name.partition(": ")
        if what == "num_questions":
            yield computed(
                f"{name}: interval of a score of 50 %", "points, either way", "1.96 x 100 x 0.5 / sqrt(questions)",
                lambda n: Z95 * 50.0 / math.sqrt(n), figure.number,
            )  # fmt: skip


def exclusion(stages: Stages, day: Run, scale: float) -> Iterator[Figure]:
    """What attacks without success exclude, and what passes the classifiers of a day."""
    attacks = stages["evaluation"]["red team: num_attacks"]
    yield computed(
        "rate of success that no success excludes", "of attacks like these", "3 / attacks", lambda n: 3.0 / n,
        attacks.number, source="rule of three: 95 % upper bound of a rate of which n trials show nothing",
    )  # fmt: skip
    safety = day.result["sim"].get("safety", {})
    source = f"{COMPUTED}: a simulated day at {scale:g} of full size, divided by that; rates *assumed* in the scenario"
    for name, key in (
        ("unsafe messages answered", "num_unsafe_passed"),
        ("harmless ones refused", "num_false_refusals"),
    ):
        if key in safety:
            yield Figure(name, safety[key] / scale, "requests/day", source)


def compared(rows: Sequence[Row], sizing: Mapping[str, float]) -> Iterator[Figure]:
    """The figures of the fleets of question 2b."""
    source = (
        f"{COMPUTED}: sized for the worst hour at {sizing['scale']:g} of full size, {sizing['target']:.0%} of requests "
        "within their SLO; billed for all hours as for the worst"
    )
    units = {
        "num_gpus": ("GPUs", "GPUs"),
        "p50_ttft_ms": ("p50 ttft", "ms"),
        "p95_ttft_ms": ("p95 ttft", "ms"),
        "p50_itl_ms": ("p50 itl", "ms"),
        "usd_per_1m_output_tokens": ("cost of output", "USD/1M output tokens"),
        "usd_per_user_month": ("cost of a user", "USD/user-month"),
        "usd_per_month": ("bill", "USD/month"),
    }
    for row in rows:
        for key, (title, unit) in units.items():
            value = getattr(row, key)
            if value is not None:
                quality = f"quality: {row.proxy}" if row.instead_of else ""
                yield Figure(f"{row.choice}: {title}", value, unit, source, note=quality)
