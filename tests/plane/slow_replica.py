"""One replica of the readable model: vLLM's scheduler (synchronous), request by request and block by block.

Only the prefix that a group of requests shares is cached. A cached block knows its group and its place in the group's
chain; `BlockPool.chains[g]` lists the chain's blocks that are in the index, always a run from block 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from slow_step import Entry, step_and_shares

from sim.plane.world import Pool

ACTIVE, DRAINING, OFF = "active", "draining", "off"


@dataclass(eq=False)
class Block:
    """A KV block; unhashed unless it belongs to a group."""

    group: int = -1
    num_users: int = 0
    released: int = -1
    """Number of the release that brought it to no users."""


@dataclass(eq=False)
class Sequence:
    """One visit of a request, as a replica sees it."""

    request: Any
    serial: int
    prompt_tokens: int
    output_tokens: int
    prefix_tokens: int
    group: int
    priority: int
    arrived_s: float
    num_emitted: int = 0
    num_computed: int = 0
    in_prefill: bool = True
    blocks: list[Block] = field(default_factory=list)
    cached_tokens: int | None = None
    """Hits at the first admission; None before it."""
    num_preemptions: int = 0
    scheduled_s: float | None = None

    @property
    def num_tokens(self) -> int:
        """Prompt and the output so far."""
        return self.prompt_tokens + self.num_emitted

    @property
    def order(self) -> tuple[int, float, int]:
        """Place in a waiting queue under the priority policy."""
        return self.priority, self.arrived_s, self.serial


class BlockPool:
    """The blocks of one replica."""

    def __init__(self, pool: Pool, num_groups: int) -> None:
        self.block_size = pool.block_size
        self.caching = pool.enable_prefix_caching
        self.unhashed = [Block() for _ in range(pool.num_gpu_blocks - 1)]  # one is the null block
        self.chains: list[list[Block]] = [[] for _ in range(num_groups)]
        self.num_releases = 0

    @property
    def num_cached(self) -> int:
        return sum(len(chain) for chain in self.chains)

    @property
    def num_free(self) -> int:
        return len(self.unhashed) + sum(block.num_users == 0 for chain in self.chains for block in chain)

    def take(self) -> Block:
        """A free block; if need be the tail of the chain whose tail was released longest ago."""
        if not self.unhashed:
            tails = [chain[-1] for chain in self.chains if chain and chain[-1].num_users == 0]
            oldest = min(tails, key=lambda tail: tail.released)
            self.chains[oldest.group].pop()
            self.unhashed.append(Block())
        block = self.unhashed.pop()
        block.num_users = 1
        return block

    def hits(self, seq: Sequence) -> list[Block]:
        """The cached blocks that this sequence could use; the last token is always computed."""
        if not self.caching:
            return []
        full = min(seq.prefix_tokens // self.block_size, (seq.num_tokens - 1) // self.block_size)
        return self.chains[seq.group][:full]

    def publish(self, seq: Sequence, num_tokens: int) -> None:
        """Index the prefix blocks that become full by `num_tokens`, as long as the sequence holds the whole run before.

        A block that somebody else published first stays private, and so do all after it: the users of a chain then
        never grow in number along it.
        """
        if not self.caching:
            return
        chain = self.chains[seq.group]
        for place in range(seq.num_computed // self.block_size, num_tokens // self.block_size):
            held = sum(block.group >= 0 for block in seq.blocks)
            if place < seq.prefix_tokens // self.block_size and place == len(chain) == held:
                seq.blocks[place].group = seq.group
                chain.append(seq.blocks[place])

    def release(self, seq: Sequence) -> None:
        """Give all blocks of a sequence back."""
        freed = []
        for block in seq.blocks:
            block.num_users -= 1
            if block.group < 0:
                self.unhashed.append(block)
            elif block.num_users == 0:
                freed.append(block)
        if freed:
            self.num_releases += 1
        for block in freed:
            block.released = self.num_releases
        seq.blocks = []


@dataclass(eq=False)
class Step:
    """A step as it was scheduled, and what was left after it."""

    replica: int
    start_s: float
    step_s: float
    end_s: float
    entries: list[Entry]
    shares_s: list[float]
    admitted: list[tuple[int, int, bool]]
    """(serial, cached tokens, resumed)."""
    preempted: list[int]
    num_running: int
    num_waiting: int
    free_blocks: int
    free_blocks_end: int = -1


class Replica:
    """A scheduler, its queues and its blocks."""

    def __init__(self, index: int, pool: Pool, num_groups: int, state: str) -> None:
        self.index, self.pool, self.num_groups, self.state = index, pool, num_groups, state
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.aborted: list[Sequence] = []
        self.blocks = BlockPool(pool, num_groups)
        self.step: Step | None = None
        self.has_event = False
        self.busy_s = 0.0
        self.num_steps = 0
        self.unreported: list[int] = []
        """Victims of empty schedules, told with the next step."""

    @property
    def outstanding(self) -> int:
        return len(self.waiting) + len(self.running)

    def join(self, seq: Sequence) -> None:
        """Put a sequence into the waiting queue."""
        self.waiting.append(seq)
        if self.pool.scheduling_policy == "priority":
            self.waiting.sort(key=lambda other: other.order)

    def leave(self, seq: Sequence) -> None:
        """Take a sequence out, with all it holds."""
        (self.running if seq in self.running else self.waiting).remove(seq)
        self.blocks.release(seq)

    def turn_off_if_drained(self) -> None:
        """A draining replica without requests goes off and forgets its cache."""
        if self.state == DRAINING and self.outstanding == 0:
            self.state = OFF
            self.blocks = BlockPool(self.pool, self.num_groups)

    def num_missing(self, seq: Sequence, num_tokens: int) -> int:
        """Blocks that a sequence lacks to hold `num_tokens`."""
        return max(0, -(-num_tokens // self.pool.block_size) - len(seq.blocks))

    def preempt(self) -> Sequence:
        """Throw one sequence out of `running`, back into `waiting`."""
        if self.pool.scheduling_policy == "priority":
            victim = max(self.running, key=lambda seq: seq.order[:2])  # the first of several equal ones
        else:
            victim = self.running[-1]
        self.leave(victim)
        victim.num_computed, victim.in_prefill = 0, True
        victim.num_preemptions += 1
        if self.pool.scheduling_policy == "priority":
            self.join(victim)
        else:
            self.waiting.insert(0, victim)
        return victim

    def schedule_running(self, entries: list[Entry], preempted: list[int]) -> int:
        """Pass 1; returns the budget that is left [tokens]."""
        budget, i = self.pool.max_num_batched_tokens, 0
        while i < len(self.running) and budget > 0:
            seq = self.running[i]
            n = min(seq.num_tokens - seq.num_computed, budget)
            victim = None
            while victim is not seq and self.num_missing(seq, seq.num_computed + n) > self.blocks.num_free:
                victim = self.preempt()
                preempted.append(victim.serial)
                for entry in [entry for entry in entries if entry.seq is victim]:  # it stood before place i
                    entries.remove(entry)
                    budget += entry.num_tokens
                    i -= 1
            if victim is seq:
                continue  # the next one has moved to place i
            self.extend(seq, n)
            entries.append(Entry(seq, n, seq.num_computed, is_decode=not seq.in_prefill))
            budget -= n
            i += 1
        return budget

    def schedule_waiting(self, entries: list[Entry], admitted: list[tuple[int, int, bool]], budget: int) -> None:
        """Pass 2."""
        pool, block_size = self.pool, self.pool.block_size
        while self.waiting and budget > 0 and len(self.running) < pool.max_num_seqs:
            seq = self.waiting[0]
            hits = self.blocks.hits(seq)
            cached = len(hits) * block_size
            n = seq.num_tokens - cached
            if n > budget and not pool.enable_chunked_prefill:
                return
            n = min(n, budget)
            watermark = int(pool.watermark * pool.num_gpu_blocks) if self.running else 0
            free = self.blocks.num_free - watermark - sum(block.num_users == 0 for block in hits)
            if pool.scheduler_reserve_full_isl and -(-seq.num_tokens // block_size) - len(hits) > free:
                return
            if -(-(cached + n) // block_size) - len(hits) > free:
                return
            self.waiting.pop(0)
            for block in hits:
                block.num_users += 1
            seq.blocks = list(hits)
            seq.num_computed = cached
            self.extend(seq, n)
            self.running.append(seq)
            admitted.append((seq.serial, cached, seq.num_preemptions > 0))
            if seq.cached_tokens is None:
                seq.cached_tokens = cached
            entries.append(Entry(seq, n, cached, is_decode=False))
            budget -= n

    def extend(self, seq: Sequence, n: int) -> None:
        """Take the blocks for n more tokens, and publish those that they fill."""
        for _ in range(self.num_missing(seq, seq.num_computed + n)):
            seq.blocks.append(self.blocks.take())
        self.blocks.publish(seq, seq.num_computed + n)

    def schedule(self, now: float) -> Step | None:
        """Form the next batch; None: nothing to do."""
        entries: list[Entry] = []
        preempted: list[int] = []
        admitted: list[tuple[int, int, bool]] = []
        budget = self.schedule_running(entries, preempted)
        if not preempted:
            self.schedule_waiting(entries, admitted, budget)
        self.unreported += preempted
        if not entries:
            return self.schedule(now) if preempted else None
        for entry in entries:
            seq = entry.seq
            seq.num_computed += entry.num_tokens
            entry.emits = seq.num_computed == seq.num_tokens
            if seq.scheduled_s is None:
                seq.scheduled_s = now
        step_s, shares_s = step_and_shares(self.pool.step_times, entries)
        numbers = (len(self.running), len(self.waiting), self.blocks.num_free)
        self.step = Step(self.index, now, step_s, now + step_s, entries, shares_s, admitted, self.unreported, *numbers)
        self.unreported = []
        return self.step

    def finish_step(self, emit: Callable[[Sequence, float], None], spend: Callable[[Sequence, float], None]) -> None:
        """Process the output of the step that ran: `spend` is told each share, `emit` each new token."""
        step, self.step = self.step, None
        if step is None:
            return
        self.num_steps += 1
        self.busy_s += step.step_s
        for entry, share_s in zip(step.entries, step.shares_s, strict=True):
            spend(entry.seq, share_s)
        for entry in step.entries:
            if entry.emits:
                entry.seq.in_prefill = False
                entry.seq.num_emitted += 1
                emit(entry.seq, step.end_s)
        step.free_blocks_end = self.blocks.num_free
