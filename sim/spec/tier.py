"""Tiers: groups of users with the same rights, limits and targets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sim.spec.base import (
    Fraction,
    Key,
    NonNegativeInt,
    PerMinute,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Spec,
)
from sim.spec.distribution import TimeDistribution
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


class RateLimit(Spec):
    """A token bucket counted in requests; a request that finds it empty ends as rate_limited."""

    requests_per_minute: PerMinute
    """Rate at which the bucket fills [1/min]."""
    burst: PositiveInt
    """Size of the bucket [requests]: so many may come at once."""


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
    patience: TimeDistribution | None = None
    """Time a user waits for the first token before leaving [s]. Default: for ever."""
    reaction: Reaction | None = None
    """What its senders do about failures and late answers; `{}` is an API client's. Default: nothing, the conversation
    goes on with its next turn whatever became of the last."""
    rate_limit: RateLimit | None = None
    """Limit on requests, for each API client or for the tier as a whole. Default: none."""
    slo: Slo | None = None
    """Latency targets. Default: the scenario's `slo`."""
    price: TierPrice | None = None
    """What its users pay. Default: nothing is known of that."""
    path: Key = "default"
    """Path of the tier's requests: a name in fleet.paths."""
