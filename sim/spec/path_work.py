"""What a visit of a path may do beyond reading a prompt and answering: docs/paths.md has the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from sim.spec.base import Fraction, NonNegativeInt, Spec, Text
from sim.spec.classifier import Rates
from sim.spec.distribution import TimeDistribution, TokenDistribution

if TYPE_CHECKING:
    from sim.spec.visit import Visit

BELONGS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("classify",),
    "mode": ("classify",),
    "chunk_tokens": ("classify",),
    "carry_over_tokens": ("classify",),
    "release": ("classify",),
    "template_tokens": ("classify",),
    "block_frac": ("classify",),
    "classifier": ("classify",),
    "true_positive_rate": ("classify",),
    "false_positive_rate": ("classify",),
    "rates_by_language": ("classify",),
    "refusal_tokens": ("classify",),
    "output_tokens": ("classify", "generate"),
    "escalate_frac": ("classify", "generate"),
    "prompt_extra_tokens": ("generate",),
    "keep_in_history": ("generate", "delay"),
    "duration": ("delay",),
    "adds_tokens": ("delay",),
}
"""Kinds of visit that a field belongs to; the others belong to all."""


class VerdictFields(Spec):
    """How often a classifier is right, and what becomes of those whom it blocks."""

    classifier: Text | None = None
    """Of a classifier: name of an entry in models/_classifiers.yaml. Its rates, and the lengths of its instructions and
    verdict, hold where none are given here. Default: none."""
    true_positive_rate: Fraction | None = None
    """Fraction of unsafe requests (`unsafe_frac` of a tier) that a classifier blocks. Default: that of `classifier`;
    without one, `block_frac` holds for all."""
    false_positive_rate: Fraction | None = None
    """Fraction of the other requests that it blocks: false refusals. Default: that of `classifier`."""
    rates_by_language: dict[Text, Rates] = Field(default_factory=dict)
    """Rates where they are known to differ: {language: {true_positive_rate, false_positive_rate}}. Default: those of
    `classifier`."""
    refusal_tokens: TokenDistribution | None = None
    """Length [tokens] of the answer that says so to whom a classifier blocks, written by the path's last visit.
    Default: none, a ready-made text that costs nothing."""


class WorkFields(Spec):
    """Who makes a visit, and what it leaves for those after it."""

    frac: Fraction = 1.0
    """Fraction of requests that make the visit. Default 1; always 1 of the visit that answers."""
    output_tokens: TokenDistribution | None = None
    """Length of its output [tokens]. Of a classifier: its verdict (default 1). Of a generate visit before the last: a
    draft that the visits after it read (default: as long as the answer)."""
    prompt_extra_tokens: NonNegativeInt = 0
    """Instructions that a generate visit finds behind everything else [tokens], such as: criticise the answer above.
    Default 0."""
    keep_in_history: bool = False
    """Whether what a visit adds is part of the conversation's later prompts: a draft with its instructions, what a
    delay brings, the instructions of the answer. Default false: only messages and answers are."""
    escalate_frac: Fraction | None = None
    """Fraction of requests for which the answer of this visit, or of the generate visit before it, will not do: they go
    on to the next; the others have their answer, which was withheld until then (with 0 on a generate visit it streams).
    Default: none decides here."""
    duration: TimeDistribution | None = None
    """Of a delay: how long it takes [s]."""
    adds_tokens: TokenDistribution | None = None
    """Of a delay: length of the text that it brings, behind all before it [tokens]: passages, a tool's result.
    Default: none."""


def visit_problems(visit: Visit) -> Iterator[tuple[str, str]]:
    """Yield what a visit lacks, and what is not of its kind."""
    if visit.kind == "delay":
        if visit.duration is None:
            yield "duration", "missing; a visit of kind delay needs it"
        if visit.pool is not None:
            yield "pool", "not used by a visit of kind delay; remove it"
    elif visit.pool is None:
        yield "pool", f"missing; a visit of kind {visit.kind} needs it"
    for name, kinds in BELONGS.items():
        if visit.kind not in kinds and getattr(visit, name) != default_of(type(visit), name):
            others = " or ".join(kinds)
            yield name, f"belongs to a visit of kind {others}; remove it or set kind: {kinds[0]}"
    rates = (visit.true_positive_rate, visit.false_positive_rate)
    if visit.classifier is None and (rates[0] is None) != (rates[1] is None):
        missing = "true_positive_rate" if rates[0] is None else "false_positive_rate"
        yield missing, "missing; give both rates, or name a classifier that has them"
    has_rates = visit.classifier is not None or rates != (None, None)
    if visit.rates_by_language and not has_rates:
        yield "rates_by_language", "needs true_positive_rate and false_positive_rate for the other languages"
    if has_rates and visit.block_frac > 0.0:
        yield "block_frac", "give block_frac, or the rates of a classifier; not both"


def default_of(spec: type[Spec], name: str) -> Any:
    """What a field is where it is not given."""
    return spec.model_fields[name].get_default(call_default_factory=True)


def path_problems(paths: Mapping[str, Sequence[Visit]]) -> Iterator[tuple[str, str]]:
    """Yield paths that do not answer, and visits that decide on nothing."""
    for name, visits in paths.items():
        for index, problem in _path_problems([visit.kind for visit in visits], visits):
            field, _, message = problem.partition(": ")
            yield f"paths.{name}.{index}.{field}", message


def _path_problems(kinds: list[str], visits: Sequence[Visit]) -> Iterator[tuple[int, str]]:
    """Yield (visit, "field: what is wrong")."""
    is_split = kinds[-2:] == ["prefill", "decode"]
    last = len(kinds) - 1
    first_answer = last - is_split
    stray = [index for index, kind in enumerate(kinds[:first_answer]) if kind in ("prefill", "decode")]
    if kinds[-1] != "generate" and not is_split:
        stray.append(last)
    if stray:
        why = "" if stray[0] == last else "; before these come classify, delay and generate visits only"
        yield stray[0], f"kind: a path ends with a generate visit, or with prefill then decode{why}"
        return
    for index in range(first_answer, last + 1):
        if visits[index].frac < 1.0:
            yield index, "frac: must be 1: every request makes the visit that answers"
    if visits[last].output_tokens is not None:
        yield last, "output_tokens: the traffic says how long answers are; this is for generate visits before the last"
    if visits[last].escalate_frac is not None:
        yield last, "escalate_frac: no visit comes after this one to go on to; remove it"
    if is_split:
        for index, visit in enumerate(visits[:first_answer]):
            if visit.kind == "generate":
                yield index, "kind: no generate visit comes before prefill and decode: not simulated together"
            if visit.refusal_tokens is not None:
                yield index, "refusal_tokens: not simulated where the answer is split into prefill and decode"
    yield from _decisions(visits[:last])


def _decisions(visits: Sequence[Visit]) -> Iterator[tuple[int, str]]:
    """Yield visits that decide where there is no answer, or not always, and drafts that are decided on."""
    is_undecided = False
    for index, visit in enumerate(visits):
        is_undecided |= visit.kind == "generate"
        if visit.escalate_frac is None:
            continue
        if not is_undecided:
            yield (
                index,
                "escalate_frac: there is no answer to decide on; each needs a generate visit before it",
            )
        if visit.kind == "classify" and visit.frac < 1.0:
            yield index, "frac: must be 1 where escalate_frac is given: every answer is decided on"
        is_undecided = False
    until = len(visits)
    for index in range(len(visits) - 1, -1, -1):
        if visits[index].kind == "generate":
            decided = any(other.escalate_frac is not None for other in visits[index:until])
            if decided and visits[index].output_tokens is not None:
                yield (
                    index,
                    "output_tokens: the traffic says how long an answer is that is decided on; remove it",
                )
            until = index
