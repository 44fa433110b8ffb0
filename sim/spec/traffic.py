"""Who sends requests: a population, a recorded trace, a workload, or a load generator (open or closed loop)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from sim.spec.base import Key, PositiveInt, PositiveNumber, PositiveRate, Seconds, Spec
from sim.spec.distribution import TokenDistribution
from sim.spec.population import PopulationTraffic, ProgramTraffic
from sim.spec.sessions import SessionTraffic
from sim.spec.trace import TraceTraffic


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
    PopulationTraffic | TraceTraffic | OpenLoopTraffic | ClosedLoopTraffic | SessionTraffic,
    Field(discriminator="kind"),
]

__all__ = [
    "ClosedLoopTraffic",
    "OpenLoopTraffic",
    "PopulationTraffic",
    "ProgramTraffic",
    "SessionTraffic",
    "TraceTraffic",
    "Traffic",
]
