"""Limits of use: what a client, a tier or a single user may send in a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from sim.spec.base import Key, PerMinute, PositiveInt, PositiveSeconds, Spec


class RateLimit(Spec):
    """Token buckets of requests and, if wanted, of input and output tokens.

    A request that finds one of them too empty ends as rate_limited. Providers limit their APIs so, each organisation by
    itself: Anthropic by token buckets of requests, input and output tokens per minute (its page on rate limits), OpenAI
    by requests and tokens per minute.
    """

    requests_per_minute: PerMinute
    """Rate at which the bucket of requests fills [1/min]."""
    burst: PositiveInt
    """Size of that bucket [requests]: so many may come at once."""
    input_tokens_per_minute: PerMinute | None = None
    """Rate at which the bucket of input tokens fills [1/min]. Default: no such limit."""
    input_token_burst: PositiveInt | None = None
    """Size of that bucket [tokens]; a longer prompt is never let in. Default: what a minute fills."""
    output_tokens_per_minute: PerMinute | None = None
    """Rate at which the bucket of output tokens fills [1/min]. Default: no such limit."""
    output_token_burst: PositiveInt | None = None
    """Size of that bucket [tokens]. Default: what a minute fills."""
    output_tokens_charged: Literal["expected", "max_output_tokens"] = "expected"
    """Output tokens that a request is charged when it is let in, for what it will be answered nobody knows then; when
    it ends the difference to what it was answered is given back or taken. expected: what requests of its kind are
    answered on average. max_output_tokens: the tier's longest answer, as OpenAI's API counts `max_tokens`. Default
    expected."""
    cached_tokens_count: bool = True
    """Whether prompt tokens read from the prefix cache count; if not, they are given back when the request ends (as
    Anthropic's API does not count cache reads). Default true."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield sizes of buckets that are not there."""
        for kind in ("input", "output"):
            if getattr(self, f"{kind}_token_burst") is not None and getattr(self, f"{kind}_tokens_per_minute") is None:
                yield f"{kind}_token_burst", f"needs {kind}_tokens_per_minute: the rate at which the bucket fills"
        if self.output_tokens_per_minute is None and self.output_tokens_charged != "expected":
            yield "output_tokens_charged", "needs output_tokens_per_minute: nothing is charged without it"


class UserLimit(Spec):
    """What one user may send: token buckets of his own, and messages in a window of time."""

    rate_limit: RateLimit | None = None
    """The user's own token buckets. Default: none."""
    messages: PositiveInt | None = None
    """Messages that a user may send in a window, attempts at one message each counted. Default: any number."""
    window: PositiveSeconds | None = None
    """How long the window lasts [s], such as 5 h: it begins with the first message, and the first one after its end
    begins another."""
    fall_back: Key | None = None
    """Path that serves what is sent beyond that, a smaller model's: a name in fleet.paths. Default: none, such messages
    end as rate_limited."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield windows and messages that lack each other, and a limit that limits nothing."""
        if self.messages is not None and self.window is None:
            yield "window", "missing: the time in which so many messages may be sent, such as 5 h"
        for name in ("window", "fall_back"):
            if self.messages is None and getattr(self, name) is not None:
                yield name, "needs messages: how many may be sent"
        if self.messages is None and self.rate_limit is None:
            yield "", "limits nothing: give messages and window, or a rate_limit"


def charge_problems(at: str, limit: RateLimit | None, max_output_tokens: int | None) -> Iterator[tuple[str, str]]:
    """Yield a charge of the longest answer where there is none, or where no bucket could ever pay it."""
    if limit is None or limit.output_tokens_charged == "expected" or limit.output_tokens_per_minute is None:
        return
    place = f"{at}.output_tokens_charged"
    if max_output_tokens is None:
        yield place, "needs the tier's max_output_tokens: that is what a request is charged"
    elif (burst := limit.output_token_burst or limit.output_tokens_per_minute) < max_output_tokens:
        yield (
            place,
            f"charges {max_output_tokens} tokens and the bucket holds {burst:g}: no request would ever be let in",
        )
