"""A population: people by region and tier over days and weeks, and the programs beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field

from sim.spec.base import (
    Fraction,
    Key,
    NonNegativeNumber,
    PositiveFraction,
    PositiveInt,
    PositiveNumber,
    PositiveSeconds,
    Seconds,
    Spec,
    Text,
    quantity,
)

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Shares = Annotated[dict[Text, PositiveFraction], Field(min_length=1)]
MAX_EVENTS = 15
"""Events of a population: each has numbers of its own for its conversations."""


def shares_problem(shares: Mapping[str, float], what: str) -> str | None:
    """What is wrong with shares that should sum to 1, if anything."""
    total = math.fsum(shares.values())
    return None if math.isclose(total, 1.0, abs_tol=1e-9) else f"{what} must sum to 1, got {total:.12g}"


class ProgramTraffic(Spec):
    """Requests sent by programs (an API, agents): skewed over clients, bursty in time."""

    workload: Text
    """Lengths and daily curve: name of an entry in workloads/."""
    tier: Key
    """Tier that these clients belong to."""
    tokens_per_chat_token: NonNegativeNumber = 1.0
    """Tokens a day relative to those of the chat users on a weekday; both count all prompts in full (system prompt,
    history, cached or not) and all answers. Default 1: *assumed*; no public number exists, so sweep 0.25 to 4."""
    num_clients: Annotated[PositiveInt, Field(le=10_000_000)] = 1000
    """Clients that share the traffic. Default 1000: *assumed*."""
    client_rate_sigma: NonNegativeNumber = 2.0
    """Standard deviation of ln(rate) over clients. Default 2.0: middle of 1.6 to 2.7 in ServeGen (arXiv:2505.09999)."""
    burstiness_cv: PositiveNumber = 1.5
    """Median over clients of the coefficient of variation of a client's inter-arrival times. Default 1.5: 1.0 to 2.0 in
    ServeGen, weighted by rate."""
    burstiness_cv_p90: PositiveNumber = 6.2
    """90th percentile over clients of the same. Default 6.2: ServeGen's m-large service; 5 to 27 over its services."""
    weibull_frac: Fraction = 0.0
    """Fraction of the clients whose inter-arrival times are Weibull; the others' are gamma. Default 0. ServeGen: gamma
    fits best for 60 to 88 % of the traffic of a service, Weibull for the rest (0.30 for m-large)."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield a percentile below the median."""
        if self.burstiness_cv_p90 < self.burstiness_cv:
            median = self.burstiness_cv
            yield "burstiness_cv_p90", f"must be >= burstiness_cv ({median:g}), got {self.burstiness_cv_p90:g}"


class BatchTraffic(Spec):
    """Jobs of many requests that wait for the trough: done within 24 h of being handed in, at the provider's pace."""

    workload: Text
    """Lengths of the requests: name of an entry in workloads/. Its daily curve is that of handing in."""
    tier: Key
    """Tier that the jobs belong to."""
    tokens_per_chat_token: NonNegativeNumber = 0.25
    """Tokens a day relative to those of the chat users, counted as for `api`. Default 0.25: *assumed*; no public number
    exists."""
    jobs_per_day: Annotated[PositiveNumber, Field(le=1e6)] = 1000.0
    """Mean number of jobs handed in on a day; their mean size follows. Default 1000: *assumed*."""
    job_size_sigma: Annotated[NonNegativeNumber, Field(le=5)] = 2.0
    """Standard deviation of ln(requests in a job). Default 2.0: *assumed*, that of clients' rates in ServeGen."""
    release_from_s: Annotated[Seconds | None, Field(lt=86400)] = Field(default=None, alias="release_from")
    """Time of day (UTC) from which requests of jobs are released, such as 22 h. Default: whenever the chat users' own
    rate is below its mean, in proportion to how far."""
    release_until_s: Annotated[Seconds | None, Field(lt=86400)] = Field(default=None, alias="release_until")
    """Time of day (UTC) until which they are; before `release_from` means on the next day. Default: as there."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield half a window, or an empty one."""
        if (self.release_from_s is None) != (self.release_until_s is None):
            missing = "release_from" if self.release_from_s is None else "release_until"
            yield missing, "missing; a window has two ends (or leave both out)"
        elif self.release_from_s is not None and self.release_from_s == self.release_until_s:
            yield "release_until", "must differ from release_from, or no time is left"


class Region(Spec):
    """People who share a time zone and a daily curve."""

    user_frac: PositiveFraction
    """Fraction of the users who live there; the regions sum to 1."""
    utc_offset_h: Annotated[float, quantity("1"), Field(ge=-12, le=14)]
    """Local time less UTC [h], in whole minutes, such as -5 or 5.5."""
    curve: Text | None = None
    """Key of a 24-hour curve of the workload data, in local time. Default: the population's `curve`."""
    weekend_frac: PositiveNumber | None = None
    """Conversations on Saturdays and Sundays (local days) relative to weekdays. Default: the population's."""
    languages: Shares | None = None
    """Language of the users: {name: share}. Default: the population's `languages`."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield an offset that no minute has, and shares that do not sum to 1."""
        if not (self.utc_offset_h * 60).is_integer():
            yield "utc_offset_h", f"must be whole minutes, got {self.utc_offset_h:g} h"
        if self.languages and (wrong := shares_problem(self.languages, "shares")):
            yield "languages", wrong


class LaunchEvent(Spec):
    """A flash crowd: the people of the population begin more conversations, for a while.

    The extra rate of starts is (peak_factor - 1) times the usual one at its height. It rises on a straight line and
    then decays exponentially.
    """

    kind: Literal["launch"]
    """A launch, or whatever else makes people come at once."""
    at_s: Seconds = Field(alias="at")
    """When it begins, from t = 0 [s]."""
    peak_factor: Annotated[PositiveNumber, Field(gt=1, le=100)]
    """Rate of conversation starts at its height, relative to the usual one at that time of day."""
    rise_s: Seconds = Field(default=3600.0, alias="rise")
    """From its beginning to its height [s]. Default 1 h: *assumed*."""
    decay_s: PositiveSeconds = Field(default=21600.0, alias="decay")
    """Time in which the extra rate falls to 1/e [s]; after ten times as long it is over. Default 6 h: *assumed*."""


class PopulationTraffic(Spec):
    """People who hold conversations, by tier and region, over hours, days and weeks; and programs beside them."""

    kind: Literal["population"]
    """A population of users."""
    monthly_users: Annotated[PositiveInt, Field(le=10_000_000_000)]
    """Users who come at least once a month, such as 10M."""
    daily_active_frac: PositiveFraction = 0.25
    """Fraction of the monthly users who come on a given weekday. Default 0.25: between 0.10 (Gemini, court exhibit) and
    0.40 (Sensor Tower); ChatGPT 160M of 600M = 0.27."""
    messages_per_active_user_per_day: PositiveNumber = 8.0
    """Mean over all tiers, on a weekday. Default 8: from 2.5e9 messages a day of 700M weekly users (ChatGPT, 2025)."""
    turns_per_conversation: Annotated[PositiveNumber, Field(ge=1, le=10_000)] = 3.0
    """Mean number of user messages in a conversation, over all workloads. Default 3.0: WildChat 2.5, ShareGPT 3.5."""
    curve: Text = "azure-conv-2024"
    """Key of a 24-hour curve of the workload data: UTC, or local time where there are regions. Default: weekdays of the
    Azure 2024 conversation trace."""
    curve_exponent: Annotated[PositiveNumber, Field(le=10)] = 1.0
    """Every hour of the curves is raised to this power: above 1 peaks are higher, below 1 lower. Default 1: as
    measured."""
    regions: dict[Key, Region] = Field(default_factory=dict)
    """Regions by name, each on its own local time; together they make the diurnal curve. Default: one, in UTC."""
    languages: Shares | None = None
    """Language of the users: {name: share}, names of the table of languages. Default: not told apart."""
    start_weekday: Weekday = "wednesday"
    """Weekday that begins at t = 0, midnight UTC. Default wednesday."""
    weekend_frac: PositiveNumber = 1.0
    """Conversations on Saturdays and Sundays (local days) relative to weekdays. Default 1: no difference. Planning
    value 0.75 (0.55 to 1.0): Azure's conversation service 0.57, its code service 0.32; consumers dip less."""
    season_frac: PositiveNumber = 1.0
    """Conversations relative to those in term time. Default 1. Summer: 0.67, as term time / summer is 1.5 (1.0 to 2.2:
    OpenRouter's tokens fell by 54 % from May to June 2025)."""
    growth_per_month: Annotated[float, quantity("1"), Field(gt=-1, le=10)] = 0.0
    """Growth of the conversations held on a day, compound, from t = 0 on: (1 + growth)^(days / 30.44). Default 0."""
    events: Annotated[tuple[LaunchEvent, ...], Field(max_length=MAX_EVENTS)] = ()
    """Flash crowds. Default: none."""
    workload: Text | Shares = "interactive-chat"
    """Lengths and gaps: name of an entry in workloads/, or several with their shares of the conversations."""
    api: ProgramTraffic | None = None
    """Programs that call the API. Default: none."""
    agents: ProgramTraffic | None = None
    """Agents, whose calls come in chains. Default: none."""
    batch: BatchTraffic | None = None
    """Batch jobs. Default: none."""

    @property
    def workloads(self) -> dict[str, float]:
        """Share of the conversations by workload."""
        return {self.workload: 1.0} if isinstance(self.workload, str) else dict(self.workload)

    @property
    def programs(self) -> dict[str, ProgramTraffic | BatchTraffic]:
        """What stands beside the people, by name of its field."""
        parts = {"api": self.api, "agents": self.agents, "batch": self.batch}
        return {name: part for name, part in parts.items() if part is not None}

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield shares that do not sum to 1, and languages that only some regions tell apart."""
        if self.regions:
            fractions = {name: region.user_frac for name, region in self.regions.items()}
            if wrong := shares_problem(fractions, "user_frac of the regions"):
                yield "regions", wrong
        if self.languages and (wrong := shares_problem(self.languages, "shares")):
            yield "languages", wrong
        if not isinstance(self.workload, str) and (wrong := shares_problem(self.workload, "shares")):
            yield "workload", wrong
        silent = [name for name, region in self.regions.items() if not region.languages]
        if self.languages is None and 0 < len(silent) < len(self.regions):
            for name in silent:
                yield f"regions.{name}.languages", "missing; other regions have languages (or give traffic.languages)"
