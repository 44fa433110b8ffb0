"""People: monthly users, of whom some come on a day and hold conversations over its hours.

Every draw belongs to a user, or to a user's k-th conversation of a day, so populations are nested: more users, or other
numbers for one tier, leave everyone else's draws alone; a day that brings less has the first of the same conversations.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.activity import Activity, ActivityTables
from sim.traffic.arrivals import ARRIVAL, MAX_CHUNK_ROWS, Chunk, TrafficClass
from sim.traffic.crowd import Crowd
from sim.traffic.daily import DailyRate, Delay
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import Table, table_mean
from sim.traffic.order import time_order
from sim.traffic.part_day import DAY_NS, SLICE_NS, PartDay
from sim.traffic.people import People, chosen, thresholds
from sim.traffic.rows import fill
from sim.traffic.summary import Volume, described
from sim.traffic.timeline import Expected, LocalTime, expected

BLOCK_USERS = 16_384  # users whose day is drawn at once: a size that stays in the processor's cache
KEPT_TABLES = 2  # of the numbers of conversations: those of a weekday and of a day on the weekend
_ZERO = np.uint64(0)


class Tokens(NamedTuple):
    """Expected tokens of a whole conversation, all turns together."""

    prompt: float
    """Of its prompts in full, cached or not."""
    output: float
    user: float
    """New tokens of its users' messages."""


@dataclass(frozen=True, eq=False)
class Use:
    """What people use the product for: its share of the conversations, and the quantile table of their turns."""

    name: str
    share: float
    turns: Table
    delay: Delay


@dataclass(frozen=True, eq=False)
class Population:
    """Conversations of a population of users; a Source.

    Parameters
    ----------
    people
        Their regions and languages.
    num_users
        Monthly users.
    activity
        Who comes on a usual day, and how often.
    uses
        What for.
    classes
        One for each tier of `activity` and each use: all uses of the first tier come first.
    languages
        Names of the languages.
    buckets, bucket_of
        Token buckets, and the row of each tier's, or -1.
    regions
        When people come.
    crowds
        Those who come on top.
    start_s, horizon_s
        Conversations begin in [start_s, horizon_s); a negative start is a run-in.
    """

    people: People
    num_users: int
    activity: Activity
    uses: tuple[Use, ...]
    classes: tuple[TrafficClass, ...]
    languages: tuple[str, ...]
    buckets: NDArray[np.void]
    bucket_of: NDArray[np.int32]
    regions: tuple[LocalTime, ...]
    crowds: tuple[Crowd, ...]
    start_s: float
    horizon_s: float

    @property
    def messages(self) -> DailyRate:
        """Rate of messages over a usual day (UTC), all regions together."""
        shares = self.people.region_frac
        local = [region.messages.shifted(-round(region.utc_offset_h * 60)) for region in self.regions]
        return DailyRate(sum(s * rate.by_minute for s, rate in zip(shares, local, strict=True)))

    @property
    def tokens_per_day(self) -> float:
        """Expected prompt and output tokens of the conversations of a usual day; prompts in full, cached or not."""
        found = 0.0
        for index, tokens in enumerate(self._tokens):
            tier, use = divmod(index, len(self.uses))
            found += float(self._conversations_per_day[tier]) * self.uses[use].share * (tokens.prompt + tokens.output)
        return found

    @cached_property
    def _conversations_per_day(self) -> NDArray[np.float64]:
        """Expected conversations of each tier on a usual day."""
        return np.asarray(self.num_users * self.activity.tier_frac * self.activity.rate_per_day)

    @cached_property
    def _tokens(self) -> list[Tokens]:
        """Expected tokens of a conversation of each class, over the languages."""
        shares, found = self.people.language_share, []
        for index, kind in enumerate(self.classes):
            turns = self.uses[index % len(self.uses)].turns
            factors = np.ones(1) if kind.length_factor is None else kind.length_factor
            weights = np.ones(1) if kind.length_factor is None else shares
            each = [
                (*conversation_tokens(kind, turns, float(factor)), _user_tokens(kind, turns, float(factor)))
                for factor in factors
            ]
            found.append(Tokens(*(float(column @ weights) for column in np.array(each).T)))
        return found

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers."""
        shares, delays = self.people.region_frac, [use.delay for use in self.uses]
        regions = [expected(region, self.crowds, delays, self.horizon_s) for region in self.regions]
        starts = sum(share * region.starts for share, region in zip(shares, regions, strict=True))
        messages = sum(share * region.messages for share, region in zip(shares, regions, strict=True))
        activity, volumes = self.activity, []
        for index, (kind, tokens) in enumerate(zip(self.classes, self._tokens, strict=True)):
            tier, use = divmod(index, len(self.uses))
            per_day = float(self._conversations_per_day[tier]) * self.uses[use].share
            conversations, requests = per_day * float(starts), per_day * float(messages[use])
            # So many conversations' worth of messages are sent, of those that began before as of those that begin.
            whole = requests / table_mean(self.uses[use].turns)
            volumes.append(
                Volume(
                    kind.name,
                    kind.tier,
                    conversations=conversations,
                    requests=requests,
                    prompt_tokens=whole * tokens.prompt,
                    output_tokens=whole * tokens.output,
                    user_tokens=whole * tokens.user,
                )
            )
        per_day = float(self._conversations_per_day.sum())
        use_share = np.array([use.share for use in self.uses])
        hours = {
            region.name: per_day * float(share) * use_share @ found.by_hour
            for region, share, found in zip(self.regions, shares, regions, strict=True)
        }
        total = np.sum(list(hours.values()), axis=0)
        tiers = list(dict.fromkeys(kind.tier for kind in self.classes))
        return described(
            "population",
            volumes,
            total / total.mean(),
            monthly_users=self.num_users,
            daily_active_users=self.num_users * activity.active_frac,
            activity_sigma=activity.sigma,
            tier_user_frac=dict(zip(tiers, map(float, activity.tier_frac), strict=True)),
            use_share={use.name: use.share for use in self.uses},
            language_share=dict(zip(self.languages, map(float, self.people.language_share), strict=True)),
            regions=[
                _region(region, float(share), found, hours[region.name])
                for region, share, found in zip(self.regions, shares, regions, strict=True)
            ],
        )

    def chunks(self) -> Iterator[Chunk]:
        """Conversation starts, sorted by time."""
        first, last = int(self.start_s * 1e9 // SLICE_NS), int(-(-self.horizon_s * 1e9 // SLICE_NS))
        days = [region.days(self.start_s, self.horizon_s) for region in self.regions]
        stop = max(each.stop for each in days)
        ahead_ns = max(round(region.offset_s * 1e9) for region in self.regions)
        parts: list[PartDay] = []
        tables: dict[tuple[float, ...], ActivityTables] = {}
        for day in range(min(each.start for each in days), stop):
            for part in self._parts(day, tables):
                for begin in range(0, self.num_users, BLOCK_USERS):
                    part.draw(begin, min(begin + BLOCK_USERS, self.num_users), first, last)
                part.pack()
                parts.append(part)
            # The next day begins first where local time is most ahead; until then all is known.
            until = last if day == stop - 1 else min(last, ((day + 1) * DAY_NS - ahead_ns) // SLICE_NS)
            for index in range(first, until):
                yield from self._sorted(index, parts)
            first = max(first, until)
            parts = [part for part in parts if part.slices]

    def _parts(self, day: int, tables: dict[tuple[float, ...], ActivityTables]) -> Iterator[PartDay]:
        """A local day's conversations, usual and of each crowd, still to be drawn; `tables` are used again."""
        here = np.array([day in region.days(self.start_s, self.horizon_s) for region in self.regions])
        usual = np.array([float(region.calendar.factors(day, day + 1)[0]) for region in self.regions])
        yield self._part(day, 0, np.where(here, usual, 0.0), tuple(region.starts for region in self.regions), tables)
        for number, crowd in enumerate(self.crowds, 1):
            rates = [DailyRate(region.crowd_starts(crowd, day)) for region in self.regions]
            extra = np.where(here, usual * [rate.by_minute.mean() for rate in rates], 0.0)
            if extra.any():
                # Where nobody comes there are no times; any others stand in.
                pairs = zip(rates, extra, self.regions, strict=True)
                times = tuple(rate if many else region.starts for rate, many, region in pairs)
                yield self._part(day, number, extra, times, tables)

    def _part(
        self,
        day: int,
        crowd: int,
        factors: NDArray[np.float64],
        rates: tuple[DailyRate, ...],
        tables: dict[tuple[float, ...], ActivityTables],
    ) -> PartDay:
        distinct = tuple(sorted(set(factors[factors > 0.0].tolist())))
        if distinct not in tables:
            if len(tables) >= KEPT_TABLES:
                tables.clear()
            tables[distinct] = self.activity.tables(distinct)
        return PartDay(
            people=self.people,
            day=day,
            crowd=crowd,
            tables=tables[distinct],
            factor=np.array([distinct.index(factor) if factor > 0.0 else -1 for factor in factors.tolist()]),
            times_s=np.stack([rate.times_s for rate in rates]),
            offset_ns=np.array([round(region.offset_s * 1e9) for region in self.regions]),
        )

    def _sorted(self, index: int, parts: list[PartDay]) -> Iterator[Chunk]:
        """One slice's conversations in order of time; of equal times, the usual first, then by user."""
        taken = [part.take(index) for part in parts]
        ns, users, region, numbers = (np.concatenate(column) for column in zip(*taken, strict=True))
        order = time_order(ns - index * SLICE_NS)
        times_s: NDArray[np.float64] = ns[order] / 1e9
        low, high = np.searchsorted(times_s, (self.start_s, self.horizon_s))
        for begin in range(low, high, MAX_CHUNK_ROWS):
            part = slice(begin, min(begin + MAX_CHUNK_ROWS, high))
            rows = order[part]
            yield Chunk(self._arrivals(times_s[part], users[rows], region[rows], numbers[rows]))

    def _arrivals(
        self,
        times_s: NDArray[np.float64],
        users: NDArray[np.uint64],
        region: NDArray[np.int64],
        conversations: NDArray[np.int64],
    ) -> NDArray[np.void]:
        seed, rows = self.people.seed, np.zeros(len(users), dtype=ARRIVAL)
        tier = self.activity.tier(seed, users)
        rows["t_s"], rows["user"], rows["conversation"] = times_s, users, conversations
        rows["bucket"] = self.bucket_of[tier]
        rows["language"] = self.people.language(users, region)
        use = np.zeros(len(rows), dtype=np.int64)
        if len(self.uses) > 1:
            word = draws.bits(draws.key(seed, draws.APP), users, conversations.view(np.uint64), _ZERO)
            use = chosen(thresholds([each.share for each in self.uses]), word)
        rows["class_id"] = tier * len(self.uses) + use
        # What a conversation of a use is like is the same in every tier, but for the factors of its tier's model.
        for index, each in enumerate(self.uses):
            mine = slice(None) if len(self.uses) == 1 else np.flatnonzero(use == index)
            part = rows[mine]
            factor = None if self._factors is None else self._factors[part["class_id"], part["language"]]
            fill(part, seed, each.turns, self.classes[index], factor)
            rows[mine] = part
        return rows

    @cached_property
    def _factors(self) -> NDArray[np.float64] | None:
        """Factor of lengths of each class and language; None where languages are not told apart."""
        factors = [kind.length_factor for kind in self.classes]
        return np.array([each for each in factors if each is not None]) if factors[0] is not None else None


def _user_tokens(kind: TrafficClass, turns: Table, factor: float) -> float:
    """Expected new tokens of a whole conversation in one language."""
    first = kind.user_tokens if kind.first_user_tokens is None else kind.first_user_tokens
    return table_mean(factor * first) + (table_mean(turns) - 1.0) * table_mean(factor * kind.user_tokens)


def _region(region: LocalTime, share: float, found: Expected, by_hour: NDArray[np.float64]) -> dict[str, Any]:
    """One region's inputs in numbers."""
    return {
        "name": region.name,
        "user_frac": share,
        "utc_offset_h": region.utc_offset_h,
        "weekend_frac": region.calendar.weekend_frac,
        "usual_days": found.starts,
        "hourly_requests": [float(value) for value in by_hour],
    }
