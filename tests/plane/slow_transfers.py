"""The readable model's links, and its second tier of KV cache: a list of blocks by last use."""

import math
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slow_sequence import Sequence

from sim.plane.world import HostTier, Pool

MOST_LOADS = 8
"""Loads of one visit; ours."""


@dataclass(eq=False)
class Link:
    """Carries one transfer after the other."""

    number: int
    bytes_per_s: float
    latency_s: float
    push: Callable[[float, int], None]
    """Makes an event: time, number of the link."""
    queue: deque[tuple[float, Any]] = field(default_factory=deque)
    """(time of arrival, who loads) of what is under way."""
    free_at_s: float = -math.inf
    num_bytes: float = 0.0

    def load_s(self, num_bytes: float, now: float) -> float:
        """How long a transfer would take, queue included."""
        return max(self.free_at_s - now, 0.0) + (num_bytes / self.bytes_per_s + self.latency_s)

    def post(self, seq: Sequence, num_bytes: float, now: float, sent: tuple[float, float] = (0.0, 1.0)) -> None:
        """Carry so many bytes; `sent`: time for which they were under way already, and the least part that remains."""
        took_s, (ahead_s, least_frac) = num_bytes / self.bytes_per_s, sent
        self.free_at_s = max(self.free_at_s, now) + max(took_s * least_frac, took_s - ahead_s)
        self.num_bytes += num_bytes
        self.queue.append((self.free_at_s + self.latency_s, seq))
        if len(self.queue) == 1:
            self.push(self.queue[0][0], self.number)

    def arrived(self) -> Sequence:
        """Who has what they waited for."""
        _, seq = self.queue.popleft()
        if self.queue:
            self.push(self.queue[0][0], self.number)
        return seq


@dataclass
class Counts:
    """Tokens, by what became of them."""

    prompt_tokens: int = 0
    found_tokens: int = 0
    loaded_tokens: int = 0
    slower_tokens: int = 0
    written_tokens: int = 0
    evicted_tokens: int = 0
    expired_tokens: int = 0
    refused_tokens: int = 0


class Store:
    """Blocks by last use. Of one use the last block comes first, so nothing is kept without what is before it."""

    def __init__(self, tier: HostTier) -> None:
        self.tier = tier
        self.held: OrderedDict[Any, float] = OrderedDict()
        self.hashes: dict[Any, int] = {}

    def chain(self, seq: Sequence, count: int, size: int) -> list[int]:
        """Numbers that stand for the first blocks of a text."""
        numbers: list[int] = []
        for place in range(count):
            tokens = seq.content.tokens(place * size, (place + 1) * size)
            name = (numbers[-1] if numbers else None, tokens)
            numbers.append(self.hashes.setdefault(name, len(self.hashes)))
        return numbers

    def expire(self, now: float) -> int:
        count = 0
        while self.held and next(iter(self.held.values())) < now - self.tier.ttl_s:
            self.held.popitem(last=False)
            count += 1
        return count

    def find(self, chain: list[int]) -> int:
        """How many of the leading blocks are there."""
        return next((n for n, number in enumerate(chain) if number not in self.held), len(chain))

    def use(self, chain: list[int], now: float) -> None:
        for number in reversed(chain):
            self.held[number] = now
            self.held.move_to_end(number)


class Host:
    """A replica's end of the second tier."""

    def __init__(self, pool: Pool, tier: HostTier, store: Store, link: Link, counts: Counts) -> None:
        self.pool, self.tier, self.store, self.link, self.counts = pool, tier, store, link, counts
        self.keeps_prompts_only = tier.ttl_s < float("inf")

    def compute_s(self, cached: int, upto: int) -> float:
        """How long the prefill of these tokens takes, if steps carry nothing else."""
        times, budget, n = self.pool.step_times, self.pool.max_num_batched_tokens, upto - cached
        total_s = 0.0
        for chunk in [budget] * (n // budget) + [n % budget] * (n % budget > 0):
            total_s += float(times.batch_s[chunk]) + times.prefill_step_s + float(times.sample_s[0])
        return total_s + times.pair_s * sum(cached + j + 1 for j in range(n))

    def loadable(self, seq: Sequence, cached: int, now: float) -> int:
        """Leading tokens to load up to; `cached` where there is nothing to load."""
        seq.found_tokens = seq.slower_tokens = 0
        if seq.prompt_tokens < self.tier.min_tokens:
            return cached
        size = self.pool.block_size
        self.counts.expired_tokens += size * self.store.expire(now)
        upto = seq.found_tokens = size * self.store.find(self.store.chain(seq, seq.num_tokens // size, size))
        if upto <= cached:
            return cached
        if self.link.load_s((upto - cached) * self.pool.kv_bytes_per_token, now) < self.compute_s(cached, upto):
            return upto
        seq.slower_tokens = upto - cached
        return cached

    def load(self, seq: Sequence, cached: int, upto: int, now: float) -> None:
        size = self.pool.block_size
        self.counts.loaded_tokens += upto - cached
        self.store.use(self.store.chain(seq, seq.found_tokens // size, size), now)
        self.link.post(seq, (upto - cached) * self.pool.kv_bytes_per_token, now)

    def forget(self) -> None:
        """The replica goes off."""
        if not self.tier.is_shared:
            self.store.held.clear()

    def admitted(self, seq: Sequence) -> None:
        self.counts.slower_tokens += seq.slower_tokens
        seq.slower_tokens = 0
        if not seq.counted:
            seq.counted = True
            self.counts.prompt_tokens += seq.prompt_tokens
            self.counts.found_tokens += min(seq.found_tokens, seq.prompt_tokens)

    def write(self, seq: Sequence, now: float) -> None:
        """A sequence lets go of its blocks."""
        size, store = self.pool.block_size, self.store
        known = min(seq.num_computed, seq.num_tokens)
        if self.keeps_prompts_only:
            known = min(known, seq.prompt_tokens)
        if known < size or seq.prompt_tokens < self.tier.min_tokens:
            return
        self.counts.expired_tokens += size * store.expire(now)
        chain = store.chain(seq, known // size, size)
        there = store.find(chain)
        room = self.tier.num_blocks - (len(store.held) if self.keeps_prompts_only else there)
        new = chain[there:][:room]
        self.counts.written_tokens += size * len(new)
        self.counts.refused_tokens += size * (len(chain) - there - len(new))
        for number in chain[:there]:
            store.held.move_to_end(number)  # in use: they are not in the way
        while len(store.held) + len(new) > self.tier.num_blocks:
            store.held.popitem(last=False)
            self.counts.evicted_tokens += size
        store.use(chain[:there] + new, now)
