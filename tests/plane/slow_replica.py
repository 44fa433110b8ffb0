"""One replica of the readable model: vLLM's scheduler as its specification has it, request by request, block by block.

"Section" means a section of that specification (Part B). Left out is what cannot happen here: a request that would
outgrow `max_model_len`, or the blocks of an empty replica, was refused before it came.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from slow_blocks import Block, BlockPool
from slow_loading import Loads
from slow_sequence import GONE, PREEMPTED, RUNNING, Sequence
from slow_step import Entry, Step, step_and_shares

from sim.cost.step_times import StepTimes
from sim.plane.world import Pool

ACTIVE, DRAINING, OFF, DOWN = "active", "draining", "off", "down"
NO_LIMIT = 1 << 62


# The scheduler


@dataclass(eq=False)
class Batch:
    """What schedule() has decided so far."""

    budget: int
    threshold: int
    """Largest chunk of one request [tokens]."""
    hold: bool
    """No prefill in this step."""
    entries: list[Entry] = field(default_factory=list)
    admitted: list[tuple[int, int, bool]] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    prefill: bool = False
    """Prefill was scheduled, though maybe withdrawn."""

    def add(self, seq: Sequence, num_tokens: int) -> None:
        self.entries.append(Entry(seq, num_tokens, seq.num_computed))
        self.budget -= num_tokens

    def withdraw(self, seq: Sequence) -> None:
        for entry in [entry for entry in self.entries if entry.seq is seq]:
            self.entries.remove(entry)
            self.budget += entry.num_tokens


class Replica(Loads):
    """A scheduler, its queues and its blocks."""

    def __init__(self, index: int, pool: Pool, state: str) -> None:
        self.index, self.pool, self.state = index, pool, state
        self.leaves_to = OFF
        self.slowness, self.step_times = 1.0, pool.step_times
        self.seized: list[Block] = []
        self.chunks_prompts = pool.enable_chunked_prefill
        self.waiting, self.running, self.aborted = list[Sequence](), list[Sequence](), list[Sequence]()
        self.blocks, self.in_flight = BlockPool(pool), deque[Step]()
        self.has_event = False
        self.most_in_flight = 2 if pool.async_scheduling else 1
        self.drafts = Counter[str]()
        self.busy_s, self.num_steps = 0.0, 0
        self.num_scheduled = 0
        """Steps that were scheduled: `executed` in section 9."""
        self.last_prefill = -pool.prefill_schedule_interval
        """The number of the last of them that carried prefill."""
        self.saturated = False
        self.num_holds = 0
        """Requests that are gone and whose blocks have yet to be fetched."""
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

    def leave(self, seq: Sequence, now: float) -> None:
        """Take a sequence out, with all it holds."""
        (self.running if seq.status == RUNNING else self.waiting).remove(seq)
        if seq.status == RUNNING:
            self.write(seq, now)
        seq.status = GONE
        self.release(seq)

    def keep(self, seq: Sequence) -> None:
        """Take a sequence out of the batch, but leave its blocks as they are."""
        self.running.remove(seq)
        seq.status = GONE
        self.num_holds += 1

    def turn_off_if_drained(self) -> None:
        """A draining replica with nothing left to do goes off and forgets its cache."""
        if self.state == DRAINING and self.outstanding == 0 and not self.in_flight and not self.num_holds:
            self.turn_off()

    def turn_off(self) -> None:
        """Go, and forget the cache."""
        self.state, self.leaves_to, self.seized = self.leaves_to, OFF, []
        self.blocks = BlockPool(self.pool)
        if self.host is not None:
            self.host.forget()

    # What a sequence does with blocks

    def chain(self, seq: Sequence, count: int) -> list[int]:
        """Hashes of a sequence's first `count` blocks."""
        size = self.pool.block_size
        for place in range(len(seq.hashes), count):
            parent = seq.hashes[-1] if seq.hashes else None
            tokens = seq.content.tokens(place * size, (place + 1) * size)
            seq.hashes.append(self.blocks.hash_of(parent, tokens))
        return seq.hashes[:count]

    def hits(self, seq: Sequence) -> list[Block]:
        """The cached blocks that it could use; its last token is always computed (4.6)."""
        if not self.pool.enable_prefix_caching:
            return []
        return self.blocks.lookup(self.chain(seq, (seq.num_tokens - 1) // self.pool.block_size))

    def reach(self, num_tokens: int) -> int:
        """Tokens that there must be blocks for, to compute up to `num_tokens`."""
        return num_tokens

    def num_missing(self, seq: Sequence, num_tokens: int) -> int:
        """Blocks that it lacks to compute up to `num_tokens`."""
        return max(0, -(-self.reach(num_tokens) // self.pool.block_size) - len(seq.blocks))

    def extend(self, seq: Sequence, n: int) -> None:
        """Take the blocks for n more tokens, and publish those that they fill, though not yet computed."""
        for _ in range(self.num_missing(seq, seq.num_computed + n)):
            seq.blocks.append(self.blocks.take())
        self.publish(seq, seq.num_computed + n)

    def publish(self, seq: Sequence, num_tokens: int) -> None:
        """Publish its blocks that lie within `num_tokens`, as far as their tokens are known (4.5)."""
        full = min(num_tokens, seq.num_tokens) // self.pool.block_size
        if not self.pool.enable_prefix_caching or full <= seq.num_published:
            return
        for block, hash_ in list(zip(seq.blocks, self.chain(seq, full), strict=False))[seq.num_published :]:
            self.blocks.publish(block, hash_)
        seq.num_published = full

    def release(self, seq: Sequence) -> None:
        """Give its blocks back."""
        self.blocks.release(seq.blocks)
        seq.blocks, seq.num_published, seq.num_computed = [], 0, 0

    # Sections 6 and 8: preemption

    def victim(self) -> Sequence:
        """Who is thrown out when blocks are short."""
        if self.pool.scheduling_policy == "priority":
            return max(self.running, key=lambda seq: seq.order[:2])  # the first of several equal ones
        return self.running[-1]

    def preempt(self, seq: Sequence) -> None:
        """Put a running sequence back into `waiting`; what it has in flight will come, but is not in the cache."""
        self.running.remove(seq)
        self.write(seq, self.now)
        self.release(seq)
        seq.status = PREEMPTED
        seq.stale, seq.pending = seq.in_flight, 0
        seq.num_preemptions += 1
        if self.pool.scheduling_policy == "priority":
            self.join(seq)
        else:
            self.waiting.insert(0, seq)

    # Sections 3, 5 and 9: schedule()

    def threshold(self) -> int:
        """Largest chunk of one request in the next step [tokens]."""
        pool = self.pool
        if pool.long_prefill_token_threshold == 0 or self.outstanding <= 1:
            return NO_LIMIT
        if pool.long_prefill_token_threshold_adaptive:
            return max(pool.long_prefill_token_threshold, pool.max_num_batched_tokens // self.outstanding)
        return pool.long_prefill_token_threshold

    def holds_prefill(self) -> bool:
        """Whether the next step leaves prefill to a later one."""
        recent = self.num_scheduled + 1 - self.last_prefill < self.pool.prefill_schedule_interval
        return recent and not self.saturated and not all(seq.mid_prefill for seq in self.running)

    def num_wanted(self, seq: Sequence) -> int:
        """Tokens that a running sequence would compute in the next step."""
        return seq.num_tokens + seq.pending - seq.num_computed

    def schedule_running(self, batch: Batch) -> None:
        """Pass 1."""
        i = 0
        while i < len(self.running) and batch.budget > 0:
            seq = self.running[i]
            n = min(self.num_wanted(seq), batch.threshold, batch.budget)
            ends_in_flight = seq.pending > 0 and seq.num_computed + 2 - seq.pending >= seq.most_tokens
            if n == 0 or ends_in_flight or (batch.hold and seq.mid_prefill):
                i += 1
                continue
            while self.num_missing(seq, seq.num_computed + n) > self.blocks.num_free:
                victim = self.victim()
                if victim is seq and self.give_way(None):
                    batch.preempted.append(victim.serial)
                    continue
                if self.running.index(victim) < i:
                    i -= 1
                self.preempt(victim)
                batch.withdraw(victim)
                batch.preempted.append(victim.serial)
                if victim is seq:
                    break  # the next one has moved to place i
            else:
                self.extend(seq, n)
                batch.add(seq, n)
                batch.prefill |= seq.mid_prefill
                i += 1

    def has_room(self, seq: Sequence, hits: list[Block], free: int) -> bool:
        """Whether free blocks suffice for the whole sequence, if that is asked for (section 5)."""
        return not self.pool.scheduler_reserve_full_isl or self.num_lacking(seq.num_tokens, hits) <= free

    def num_lacking(self, num_tokens: int, hits: list[Block]) -> int:
        """Blocks of `num_tokens` beside the cached ones."""
        return -(-num_tokens // self.pool.block_size) - len(hits)

    def schedule_waiting(self, batch: Batch) -> None:
        """Pass 2: it stops at the first that cannot be admitted."""
        pool, block_size = self.pool, self.pool.block_size
        most_seqs = pool.max_num_active_seqs or pool.max_num_seqs
        while (seq := self.first_ready()) and batch.budget > 0 and len(self.running) < most_seqs:
            hits = [] if seq.blocks else self.hits(seq)
            cached = seq.num_computed + len(hits) * block_size
            watermark = int(pool.watermark * pool.num_gpu_blocks) if self.running else 0
            free = self.blocks.num_free - watermark - sum(block.num_users == 0 for block in hits)
            held = seq.blocks or hits
            if self.host is not None and not seq.blocks:
                if not self.has_room(seq, held, free):
                    return
                if (upto := self.may_load(seq, cached)) > cached:
                    at_most = max(pool.max_num_seqs, pool.max_num_active_seqs)
                    if self.num_lacking(upto, held) > free or len(self.holders()) >= at_most:
                        return
                    self.load(seq, hits, upto)
                    continue
            n = min(seq.num_tokens - cached, batch.threshold)
            if n > batch.budget and not self.chunks_prompts:
                return
            n = min(n, batch.budget)
            if batch.hold and cached < seq.num_tokens - 1:
                return
            if not self.has_room(seq, held, free) or self.num_lacking(self.reach(cached + n), held) > free:
                return
            self.waiting.remove(seq)
            if not seq.blocks:
                self.blocks.touch(hits)
                seq.blocks, seq.num_published, seq.num_computed = list(hits), len(hits), cached
            if self.host is not None:
                self.host.admitted(seq)
            self.extend(seq, n)
            self.running.append(seq)
            batch.add(seq, n)
            batch.prefill |= cached < seq.num_tokens - 1
            batch.admitted.append((seq.serial, cached, seq.status == PREEMPTED))
            seq.status = RUNNING
            if seq.cached_tokens is None:
                seq.cached_tokens = cached

    def form(self, batch: Batch) -> None:
        """Both passes."""
        self.schedule_running(batch)
        if not batch.preempted:
            self.schedule_waiting(batch)
            if not batch.hold:
                self.saturated = bool(self.waiting)

    def schedule(self) -> Batch:
        """A batch, and what it leaves behind; one without entries is no step."""
        batch = Batch(self.pool.max_num_batched_tokens, self.threshold(), self.holds_prefill())
        self.form(batch)
        if batch.prefill:
            self.last_prefill = self.num_scheduled + 1
        self.num_scheduled += bool(batch.entries)
        self.unreported += batch.preempted
        for entry in batch.entries:
            seq = entry.seq
            seq.num_computed += entry.num_tokens
            seq.in_flight += entry.num_tokens
            seq.mid_prefill = seq.num_computed < seq.num_tokens + seq.pending
            entry.emits = not seq.mid_prefill
            seq.pending += entry.emits and self.pool.async_scheduling
        return batch

    # Sections 2, 7 and 10: steps

    def fill(self, now: float) -> list[Step]:
        """Schedule until enough steps are in flight or nothing can be computed; the steps that came of it."""
        found: list[Step] = []
        self.now = now
        while len(self.in_flight) < self.most_in_flight:
            batch = self.schedule()
            if batch.entries:
                found.append(self.begin(batch, now))
            elif self.in_flight or not (batch.preempted or self.make_way()):
                break  # else: again, which has an end, since each time fewer are running
        return found

    def time(self, entries: list[Entry], now: float) -> tuple[float, float, float, list[float]]:
        """When a step formed now starts, the busy time that it adds, when it ends, each entry's share of that time."""
        start_s = self.in_flight[-1].end_s if self.in_flight else now
        step_s, shares_s = self.cost(self.step_times, entries)
        return start_s, step_s, start_s + step_s, shares_s

    def cost(self, times: StepTimes, entries: list[Entry]) -> tuple[float, list[float]]:
        """How long a step takes, and each entry's share."""
        step_s, shares_s = step_and_shares(times, entries)
        return step_s * self.slowness, [share_s * self.slowness for share_s in shares_s]

    def begin(self, batch: Batch, now: float) -> Step:
        """The step of a batch."""
        start_s, step_s, end_s, shares_s = self.time(batch.entries, now)
        for entry in batch.entries:
            if entry.seq.scheduled_s is None:
                entry.seq.scheduled_s = start_s
        step = Step(
            self.index, now, start_s, step_s, end_s, batch.entries, shares_s, batch.admitted, self.unreported,
            len(self.running), len(self.waiting), self.blocks.num_free, self.blocks.num_cached,
        )  # fmt: skip
        self.unreported = []
        self.in_flight.append(step)
        return step

    def num_new(self, _entry: Entry) -> int:
        return 1

    def process_output(self, emit: Callable[[Sequence, float], None]) -> None:
        """The oldest step in flight has ended: deliver its tokens, in the order of its schedule."""
        step = self.in_flight.popleft()
        self.num_steps += 1
        for entry in step.entries:
            seq = entry.seq
            if seq.status == GONE:
                continue  # aborted after this was scheduled
            seq.in_flight -= entry.num_tokens
            preempted = seq.stale > 0
            if preempted:
                seq.stale -= entry.num_tokens
            if entry.emits:
                seq.num_new = self.num_new(entry)
                seq.num_emitted += seq.num_new
                if not preempted and self.pool.async_scheduling:
                    seq.pending -= 1
                    self.publish(seq, seq.num_computed - seq.in_flight)
                emit(seq, step.end_s)
                if seq.status == GONE:
                    step.finished.append(seq.serial)
        step.free_blocks_end = self.blocks.num_free
