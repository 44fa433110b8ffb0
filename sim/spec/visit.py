"""The stops on a request's path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from sim.spec.base import Fraction, Key, NonNegativeInt, PositiveInt
from sim.spec.companions import field_problems
from sim.spec.path_work import VerdictFields, WorkFields, visit_problems


class Visit(WorkFields, VerdictFields):
    """One stop on a request's path."""

    pool: Key | None = None
    """Pool that serves the visit; a delay has none."""
    kind: Literal["classify", "generate", "prefill", "decode", "delay"] = "generate"
    """classify: read the prompt, emit a verdict, then block or go on; behind the visit that answers, check the answer.
    generate: answer; before the last visit, write a draft, or an answer that may do. prefill, then decode: answer in
    two pools, see `fleet.kv_transfer`. delay: a tool or a search, at no pool. Default generate."""
    prompt: Literal["user", "full", "answer", "exchange"] = "full"
    """What a classifier reads: the user's message, the whole prompt, or (exchange) the message and all that was said
    since, as a judge does; of a check, the answer, or the exchange. Default full."""
    mode: Literal["serial", "gate", "stream"] = "serial"
    """When a classifier runs: see docs/companions.md. serial: before the next visit; of a check, on the whole answer,
    before any of it is shown. gate: beside the visits after it, and the client gets nothing before its verdict. stream:
    of a check, piece by piece while the answer is written. Default serial."""
    template_tokens: NonNegativeInt = 0
    """Length of a classifier's own instructions [tokens]; prefix-cached in its pool. Default 0, or those of
    `classifier`."""
    block_frac: Fraction = 0.0
    """Fraction of requests that a classifier blocks; where it reads along, at any token of the answer with equal chance
    (assumed). Default 0."""
    chunk_tokens: PositiveInt = 200
    """Tokens of the answer in a piece. Default 200: NeMo Guardrails' `chunk_size`."""
    carry_over_tokens: NonNegativeInt = 50
    """Tokens before a piece that are read again with it. Default 50: NeMo Guardrails' `context_size`."""
    release: Literal["stream_first", "hold_back"] = "stream_first"
    """When the client gets a piece. stream_first: as it is written. hold_back: after its verdict. Default stream_first:
    as NeMo Guardrails."""
    feature: Key | None = None
    """What its cost is booked as. Default: input_check of a classifier before the first visit that answers,
    output_check of one behind it, answer of any other."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what a visit lacks, and what is not of its kind or mode."""
        yield from visit_problems(self)
        yield from field_problems(self)
