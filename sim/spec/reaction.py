"""Reaction: what the people or programs of a tier do about failures and late answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from sim.spec.base import Fraction, NonNegativeInt, PositiveNumber, PositiveSeconds, Spec
from sim.spec.distribution import TimeDistribution

Failure = Literal["rate_limited", "shed", "timed_out", "abandoned", "failed", "refused", "blocked"]
"""Endings of an attempt that failed."""
NOT_MENDED: Final = {
    "refused": "a question that is too long once always is",
    "blocked": "a classifier says the same of the same text",
}
"""Why asking again is no use."""
MAX_RETRIES = 63
"""Most retries of a message; the plane numbers draws by turn x 64 + attempt."""


class Reaction(Spec):
    """What senders do about attempts that fail and answers that come late.

    Its defaults are an API client's: OpenAI's Python SDK tries twice more, 0.375 to 0.5 s after the first failure and
    twice as long after the second (openai-python `_constants.py` and `_base_client.py`; it also obeys a Retry-After
    header, which no pool sends here). What people do, nobody has published: docs/reactions.md has assumed ranges.
    """

    retry_on: tuple[Failure, ...] = ("rate_limited", "shed", "timed_out", "abandoned", "failed")
    """Endings after which the same question is asked again. Default: all that may mend, as the SDK does (its status
    codes 408, 409, 429 and 5xx, lost connections and its own time-out, which is `patience` here). Never refused or
    blocked: the same question would be again."""
    retry_frac: Fraction = 1.0
    """Probability of asking again after each such attempt. Default 1: programs always do."""
    max_retries: Annotated[NonNegativeInt, Field(le=MAX_RETRIES)] = 2
    """Most retries of one message. Default 2: the SDK's DEFAULT_MAX_RETRIES."""
    backoff: TimeDistribution = TimeDistribution(distribution_type="uniform", min=0.375, max=0.5)
    """Time from the end of an attempt to the first retry [s]. Default: the SDK's INITIAL_RETRY_DELAY of 0.5 s, less up
    to a quarter of it, uniformly."""
    backoff_factor: PositiveNumber = 2.0
    """Each further retry takes so many times as long. Default 2: the SDK's."""
    max_backoff: PositiveSeconds | None = 8.0
    """Longest time before a retry [s]. Default 8 s: the SDK's MAX_RETRY_DELAY."""
    leave_frac: Fraction = 0.0
    """Probability that a message that failed for good, for whatever reason, ends its conversation. Default 0: the next
    turn comes all the same."""
    slow_ttft: PositiveSeconds | None = None
    """Time to the first token beyond which an answer is slow, counted from when the message was first sent [s].
    Default: none is."""
    slow_leave_frac: Fraction = 0.0
    """Probability that a slow answer ends its conversation. Default 0."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield retries that are no use, and what says nothing without its companion."""
        for ending in self.retry_on:
            if ending in NOT_MENDED:
                yield "retry_on", f"{ending} is never tried again: {NOT_MENDED[ending]}; remove it"
        if self.slow_leave_frac > 0.0 and self.slow_ttft is None:
            yield "slow_ttft", "missing: slow_leave_frac needs to know which answers are slow, such as 10 s"
