"""People: monthly users, of whom some come on a day and hold conversations over its hours.

Every draw belongs to a user, or to a user's k-th conversation of a day, so populations are nested: more users, or other
numbers for one tier, leave everyone else's draws alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sim.traffic import draws
from sim.traffic.activity import MAX_PER_DAY, Activity, ActivityTables
from sim.traffic.arrivals import ARRIVAL, MAX_CHUNK_ROWS, ONE_LANGUAGE, Chunk, TrafficClass
from sim.traffic.daily import DailyRate
from sim.traffic.expect import conversation_tokens
from sim.traffic.lengths import Table, lookup, table_mean
from sim.traffic.order import time_order
from sim.traffic.rows import fill
from sim.traffic.summary import Volume, described
from sim.units import DAY_S

BLOCK_USERS = 16_384  # users whose day is drawn at once: a size that stays in the processor's cache
SLICES = 48  # a day's conversations are kept by half hours and sorted when their time comes
SLICE_S = DAY_S / SLICES
SLICE_NS = round(SLICE_S * 1e9)
# Conversations are numbered by day and order within it; day 0 has number 4096, so that a run-in has numbers too.
FIRST_DAY = 4096
_K_BITS, _K_MASK = np.int64(12), np.int64(MAX_PER_DAY - 1)
_ZERO = np.uint64(0)

# Time within a slice [ns] and number within the user's day, in one word; and the user: 16 bytes a conversation.
Slice: TypeAlias = tuple[int, list[NDArray[np.int64]], list[NDArray[np.uint64]]]


@dataclass(frozen=True, eq=False)
class Population:
    """Conversations of a population of users; a Source.

    Parameters
    ----------
    seed
        Seed of all draws.
    num_users
        Monthly users.
    activity
        Who comes on a day, and how often.
    classes
        One for each tier of `activity`, in its order.
    bucket_of
        Row of `buckets` for each tier, or -1.
    turns
        Quantile table of turns per conversation.
    starts, messages
        Rates over the day of conversation starts, and of the messages that follow from them.
    start_s, horizon_s
        Conversations begin in [start_s, horizon_s); a negative start is a run-in.
    """

    seed: int
    num_users: int
    activity: Activity
    classes: tuple[TrafficClass, ...]
    buckets: NDArray[np.void]
    bucket_of: NDArray[np.int32]
    turns: Table
    starts: DailyRate
    messages: DailyRate
    start_s: float
    horizon_s: float

    @cached_property
    def _tables(self) -> ActivityTables:
        return self.activity.tables()

    @property
    def tokens_per_day(self) -> float:
        """Expected prompt and output tokens of the conversations of a day; prompts in full, cached or not."""
        per_conversation = [sum(conversation_tokens(each, self.turns)) for each in self.classes]
        return self.num_users * float(self.activity.tier_frac * self.activity.rate_per_day @ per_conversation)

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages are not told apart."""
        return ONE_LANGUAGE

    def describe(self) -> dict[str, Any]:
        """The inputs in numbers."""
        activity, volumes = self.activity, []
        turns = table_mean(self.turns)
        days = self.messages.volume(0.0, self.horizon_s)
        for traffic_class, frac, rate in zip(self.classes, activity.tier_frac, activity.rate_per_day, strict=True):
            conversations = self.num_users * float(frac) * float(rate) * days
            prompt, output = conversation_tokens(traffic_class, self.turns)
            volumes.append(
                Volume(
                    traffic_class.name,
                    traffic_class.tier,
                    conversations=conversations,
                    requests=conversations * turns,
                    prompt_tokens=conversations * prompt,
                    output_tokens=conversations * output,
                    user_tokens=conversations * turns * table_mean(traffic_class.user_tokens),
                )
            )
        return described(
            "population",
            volumes,
            self.messages.by_hour,
            monthly_users=self.num_users,
            daily_active_users=self.num_users * activity.active_frac,
            activity_sigma=activity.sigma,
            tier_user_frac={c.tier: float(frac) for c, frac in zip(self.classes, activity.tier_frac, strict=True)},
        )

    def chunks(self) -> Iterator[Chunk]:
        """Conversation starts, sorted by time."""
        for day in range(int(self.start_s // DAY_S), int(-(-self.horizon_s // DAY_S))):
            slices = self._day(day)
            while slices:
                yield from self._sorted(day, *slices.pop(0))

    def _day(self, day: int) -> list[Slice]:
        """One day's conversations by half hours, in order of users."""
        first = max(0, int((self.start_s - day * DAY_S) // SLICE_S))
        last = min(SLICES, int(-(-(self.horizon_s - day * DAY_S) // SLICE_S)))
        slices: list[Slice] = [(index, [], []) for index in range(first, last)]
        times_s, number = self.starts.times_s, np.uint64(day + FIRST_DAY)
        key = draws.key(self.seed, draws.START)
        for begin in range(0, self.num_users, BLOCK_USERS):
            block = np.arange(begin, min(begin + BLOCK_USERS, self.num_users), dtype=np.uint64)
            come, counts = self._tables.conversations(self.seed, block, number)
            users = np.repeat(come, counts)
            k = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
            u = draws.uniform(draws.bits(key, users, (number << np.uint64(12)) + k.view(np.uint64), _ZERO))
            time_s = lookup(times_s, u)
            index = np.minimum((time_s * (1.0 / SLICE_S)).astype(np.uint8), SLICES - 1)
            in_slice_ns = (time_s * 1e9 + 0.5).astype(np.int64) - index.astype(np.int64) * SLICE_NS
            words = (in_slice_ns << _K_BITS) + k
            order = np.argsort(index, kind="stable")
            ends = np.cumsum(np.bincount(index, minlength=SLICES))
            words, users = words[order], users[order]
            for at, word_parts, user_parts in slices:
                part = slice(ends[at - 1] if at else 0, ends[at])
                word_parts.append(words[part])
                user_parts.append(users[part])
        return slices

    def _sorted(
        self, day: int, index: int, word_parts: list[NDArray[np.int64]], user_parts: list[NDArray[np.uint64]]
    ) -> Iterator[Chunk]:
        """One half hour's conversations in order of time, then user."""
        words, users = np.concatenate(word_parts), np.concatenate(user_parts)
        in_slice_ns = words >> _K_BITS
        order = time_order(in_slice_ns)
        begin_ns = day * round(DAY_S * 1e9) + index * SLICE_NS
        times_s: NDArray[np.float64] = (in_slice_ns[order] + begin_ns) / 1e9
        low, high = np.searchsorted(times_s, (self.start_s, self.horizon_s))
        for begin in range(low, high, MAX_CHUNK_ROWS):
            part = slice(begin, min(begin + MAX_CHUNK_ROWS, high))
            rows = order[part]
            conversations = ((day + FIRST_DAY) << 12) + (words[rows] & _K_MASK)
            yield Chunk(self._arrivals(times_s[part], users[rows], conversations))

    def _arrivals(
        self, times_s: NDArray[np.float64], users: NDArray[np.uint64], conversations: NDArray[np.int64]
    ) -> NDArray[np.void]:
        tier = self._tables.tier(self.seed, users)
        rows = np.zeros(len(users), dtype=ARRIVAL)
        rows["t_s"], rows["user"], rows["conversation"] = times_s, users, conversations
        rows["class_id"], rows["bucket"] = tier, self.bucket_of[tier]
        # The lengths are those of the workload, the same for every tier.
        fill(rows, self.seed, self.turns, self.classes[0])
        return rows
