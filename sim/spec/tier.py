"""Tiers: groups of users with the same rights, limits and targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from sim.spec.base import (
    Fraction,
    Key,
    NonNegativeInt,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Spec,
)
from sim.spec.distribution import TimeDistribution
from sim.spec.limits import RateLimit, UserLimit, charge_problems
from sim.spec.money import TierPrice
from sim.spec.reaction import Reaction


class Slo(Spec):
    """Latency targets of one request; a request attains the SLO if it meets every target that is given."""

    ttft_s: PositiveSeconds | None = None
    """Time to first token [s]. Default: no target."""
    tpot_s: PositiveSeconds | None = None
    """Time per output token after the first [s]. Default: no target."""
    e2el_s: PositiveSeconds | None = None
    """End-to-end latency [s]. Default: no target."""


class Tier(Spec):
    """One group of users."""

    user_frac: Fraction = 0.0
    """Fraction of the population's users in this tier; the tiers sum to 1. Default 0, for tiers of programs."""
    relative_use: PositiveNumber = 1.0
    """Messages a user sends relative to a user of a tier with 1. Default 1."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Lower goes first, where a pool's scheduling_policy is priority (vLLM's meaning). Default 0."""
    system_prompt_tokens: NonNegativeInt = 0
    """Length of the system prompt that begins every prompt of the tier [tokens]; prefix-cached. A workload's own
    `system_prompt` and `tools` come after it. Default 0."""
    max_context_tokens: PositiveInt | None = None
    """Longest prompt plus answer [tokens]. Default: the pool's max_model_len."""
    truncation: Literal["auto", "disabled"] = "auto"
    """What becomes of a turn that exceeds it (the name and the words are those of OpenAI's Responses API). auto: the
    oldest history is dropped. disabled: the turn ends as refused, and the conversation goes on without it. Default
    auto: as chat applications do."""
    max_output_tokens: PositiveInt | None = None
    """Longest answer [tokens]; a longer one is cut. Default: no limit."""
    unsafe_frac: Fraction = 0.0
    """Fraction of its messages that are unsafe: classifiers with rates find them, or not. Default 0; public demos saw
    0.05 to 0.105 (LMSYS-Chat-1M, ToxicChat, WildChat), which says little of paid traffic."""
    patience: TimeDistribution | None = None
    """Time a user waits for the first token before leaving [s]. Default: for ever."""
    reaction: Reaction | None = None
    """What its senders do about failures and late answers; `{}` is an API client's. Default: nothing, the conversation
    goes on with its next turn whatever became of the last."""
    rate_limit: RateLimit | None = None
    """Limit on requests and tokens, for each API client or for the tier as a whole. Default: none."""
    user_limit: UserLimit | None = None
    """Limit on what each single user sends. Default: none."""
    weight: PositiveNumber = 1.0
    """Share of a pool's work, in proportion to the weights of the tiers that wait, where its gateway's `order` is fair.
    Default 1."""
    reserved_frac: Fraction = 0.0
    """Part of a pool's places that no other tier may take, where it has a gateway. Default 0."""
    max_queue: NonNegativeInt | None = None
    """Most requests of the tier that wait at a gateway; who comes then is shed. Default: no limit."""
    queue_time_limit: PositiveSeconds | None = None
    """Longest time in a gateway's queue; who waits longer ends as timed_out [s]. Default: no limit."""
    slo: Slo | None = None
    """Latency targets. Default: the scenario's `slo`."""
    price: TierPrice | None = None
    """What its users pay. Default: nothing is known of that."""
    path: Key = "default"
    """Path of the tier's requests: a name in fleet.paths."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield limits that could never let a request in."""
        yield from charge_problems("rate_limit", self.rate_limit, self.max_output_tokens)
        if self.user_limit is not None:
            yield from charge_problems("user_limit.rate_limit", self.user_limit.rate_limit, self.max_output_tokens)
