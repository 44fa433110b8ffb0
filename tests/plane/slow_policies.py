"""Replicas of the readable model under the other batch policies; docs/policies has their rules, here by number."""

from slow_replica import Batch, Block, Replica
from slow_sequence import Sequence

from sim.plane.world import Pool


def most_at_once(pool: Pool, prompt_tokens: int, most_tokens: int) -> int:
    """The most tokens that a request may need in a single step: 1 where its chunks can be of any size."""
    if pool.batch_policy in ("reserve_full", "static"):
        return prompt_tokens
    return 1 if pool.enable_chunked_prefill else most_tokens


class ReserveFull(Replica):
    """A request is admitted if all that it may come to need is there, besides what the running ones may."""

    def __init__(self, index: int, pool: Pool, state: str) -> None:
        super().__init__(index, pool, state)
        self.chunks_prompts = False  # rule 2

    def most_blocks(self, seq: Sequence) -> int:
        """Blocks that it holds at its end: the last token is never computed."""
        return -(-(seq.most_tokens - 1) // self.pool.block_size)

    def has_room(self, seq: Sequence, hits: list[Block], free: int) -> bool:  # rule 1
        promised = sum(self.most_blocks(other) - len(other.blocks) for other in self.running)
        return self.most_blocks(seq) - len(hits) <= free - promised


class Static(ReserveFull):
    """A batch is put together when nothing runs, and nobody joins it."""

    def form(self, batch: Batch) -> None:
        if self.running:  # rule 1
            self.schedule_running(batch)
        else:
            self.schedule_waiting(batch)


class PrefillFirst(Replica):
    """A step carries prefill only, as long as there is any that fits; else it is a decode step."""

    def form(self, batch: Batch) -> None:
        chunks = [seq for seq in self.running if seq.mid_prefill]
        assert chunks in ([], self.running[-1:])
        if all(self.goes_on(seq, batch) for seq in chunks):
            self.schedule_waiting(batch)  # rule 3
        if not batch.entries:  # rule 4
            batch.hold = True
            self.schedule_running(batch)

    def goes_on(self, seq: Sequence, batch: Batch) -> bool:  # rule 2
        """Give the prompt in progress its next chunk, if there are blocks for it."""
        n = min(seq.num_tokens - seq.num_computed, batch.budget)
        if self.num_missing(seq, seq.num_computed + n) > self.blocks.num_free:
            return False
        self.extend(seq, n)
        batch.add(seq, n)
        return True


REPLICAS = {"vllm_v1": Replica, "reserve_full": ReserveFull, "static": Static, "prefill_first": PrefillFirst}
