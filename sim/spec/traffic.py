"""Who sends requests: a population of users, a recorded trace, or a load generator (open or closed loop)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sim.spec.base import (
    Key,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveRate,
    Seconds,
    Spec,
    Text,
)
from sim.spec.distribution import TokenDistribution
from sim.spec.trace import TraceTraffic


class ProgramTraffic(Spec):
    """Requests sent by programs (an API, agents): skewed over clients, bursty in time."""

    workload: Text
    """Lengths and daily curve: name of an entry in workloads/."""
    tier: Key
    """Tier that these clients belong to."""
    tokens_per_chat_token: NonNegativeNumber = 1.0
    """Tokens a day relative to those of the chat users; both count all prompts in full (system prompt, history, cached
    or not) and all answers. Default 1: *assumed*; no public number exists, so sweep 0.25 to 4."""
    num_clients: Annotated[PositiveInt, Field(le=10_000_000)] = 1000
    """Clients that share the traffic. Default 1000: *assumed*."""
    client_rate_sigma: NonNegativeNumber = 2.0
    """Standard deviation of ln(rate) over clients. Default 2.0: middle of 1.6 to 2.7 in ServeGen (arXiv:2505.09999)."""
    burstiness_cv: PositiveNumber = 1.5
    """Median over clients of the coefficient of variation of a client's inter-arrival times (gamma). Default 1.5: 1.0
    to 2.0 in ServeGen, weighted by rate."""
    burstiness_cv_p90: PositiveNumber = 6.2
    """90th percentile over clients of the same. Default 6.2: ServeGen's m-large service; 5 to 27 over its services."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a percentile below the median."""
        if self.burstiness_cv_p90 < self.burstiness_cv:
            median = self.burstiness_cv
            yield "burstiness_cv_p90", f"must be >= burstiness_cv ({median:g}), got {self.burstiness_cv_p90:g}"


class PopulationTraffic(Spec):
    """People who hold conversations, by tier, over the hours of a day; and programs beside them."""

    kind: Literal["population"]
    """A population of users."""
    monthly_users: Annotated[PositiveInt, Field(le=10_000_000_000)]
    """Users who come at least once a month, such as 10M."""
    daily_active_frac: PositiveFraction = 0.25
    """Fraction of the monthly users who come on a given day. Default 0.25: between 0.10 (Gemini, court exhibit) and
    0.40 (Sensor Tower); ChatGPT 160M of 600M = 0.27."""
    messages_per_active_user_per_day: PositiveNumber = 8.0
    """Mean over all tiers. Default 8: from 2.5e9 messages a day of 700M weekly users (ChatGPT, 2025)."""
    turns_per_conversation: Annotated[PositiveNumber, Field(ge=1, le=10_000)] = 3.0
    """Mean number of user messages in a conversation. Default 3.0: WildChat 2.5, ShareGPT 3.5."""
    curve: Text = "azure-conv-2024"
    """Key of a 24-hour curve of the workload data. Default: weekdays of the Azure 2024 conversation trace."""
    workload: Text = "interactive-chat"
    """Lengths, gaps and languages: name of an entry in workloads/."""
    api: ProgramTraffic | None = None
    """Programs that call the API. Default: none."""
    agents: ProgramTraffic | None = None
    """Agents, whose calls come in chains. Default: none."""


class OpenLoopTraffic(Spec):
    """Requests at a given rate, whatever the fleet does (as `vllm bench serve --request-rate`)."""

    kind: Literal["open_loop"]
    """A load generator that does not wait for answers."""
    rate_per_s: Annotated[PositiveRate, Field(le=1e9)]
    """Mean request rate [1/s], such as 10 or "600 req/min"."""
    burstiness: PositiveNumber = 1.0
    """Shape of the gamma inter-arrival times: 1 is a Poisson process, smaller is burstier. Default and meaning:
    `vllm bench serve --burstiness`."""
    num_requests: PositiveInt | None = None
    """Stop after so many requests. Default: go on until the horizon."""
    num_prompts: PositiveInt | None = None
    """Distinct prompts, sent in turn, each with an answer length of its own (as load generators with a small data set
    do). Default: no prompt is sent twice."""
    input_sequence_length: TokenDistribution
    """Prompt length [tokens], without the tier's system prompt."""
    output_sequence_length: TokenDistribution
    """Answer length [tokens]."""
    tier: Key = "default"
    """Tier that all requests belong to."""


class ClosedLoopTraffic(Spec):
    """A fixed number of users, each of whom sends the next request when the last is answered."""

    kind: Literal["closed_loop"]
    """A load generator that waits for answers."""
    concurrency: Annotated[PositiveInt, Field(le=10_000_000)]
    """Number of users (as `vllm bench serve --max-concurrency`)."""
    requests_per_user: Annotated[PositiveInt, Field(le=1_000_000_000)]
    """Requests that each user sends, one after the other."""
    reissue_delay_s: Seconds = 0.0
    """Time from an answer's end to the user's next request [s]. Default 0: at once, as benchmark clients do."""
    reissue_interval_s: Seconds = 0.0
    """Time that the client, one process for all users, needs to send a request [s]: first requests go out so far apart,
    a further one so long after the later of its user's last answer and the further request sent before it. Default:
    none."""
    input_sequence_length: TokenDistribution
    """Prompt length [tokens], without the tier's system prompt."""
    output_sequence_length: TokenDistribution
    """Answer length [tokens]."""
    tier: Key = "default"
    """Tier that all users belong to."""


Traffic: TypeAlias = Annotated[
    PopulationTraffic | TraceTraffic | OpenLoopTraffic | ClosedLoopTraffic, Field(discriminator="kind")
]

__all__ = [
    "ClosedLoopTraffic",
    "OpenLoopTraffic",
    "PopulationTraffic",
    "ProgramTraffic",
    "TraceTraffic",
    "Traffic",
]
