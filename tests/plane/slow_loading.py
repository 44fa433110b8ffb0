"""What a replica of the readable model does with requests that load KV: vLLM's asynchronous connectors."""

from slow_blocks import Block, BlockPool
from slow_sequence import LOADING, PREEMPTED, WAITING, Sequence
from slow_transfers import MOST_LOADS, Host

from sim.plane.world import Pool


class Loads:
    """The part of a replica that knows of loads and of a second tier of the cache."""

    pool: Pool
    waiting: list[Sequence]
    blocks: BlockPool
    host: Host | None = None
    now = 0.0
    """Time of the schedule."""

    def write(self, seq: Sequence, now: float) -> None:
        """It is about to let go of its blocks: keep what it computed in the second tier."""
        if self.host is not None:
            self.host.write(seq, now)

    def first_ready(self) -> Sequence | None:
        """The first in line that is not loading, and has no output to come from before it was preempted."""
        return next((seq for seq in self.waiting if seq.status != LOADING and seq.stale == 0), None)

    def holders(self) -> list[Sequence]:
        """Those in line that hold blocks."""
        return [seq for seq in self.waiting if seq.blocks]

    def may_load(self, seq: Sequence, cached: int) -> int:
        """Leading tokens to load up to; `cached` where there is nothing to load."""
        if self.host is None or seq.num_loads == MOST_LOADS:
            return cached
        return self.host.loadable(seq, cached, self.now)

    def load(self, seq: Sequence, hits: list[Block], upto: int) -> None:
        """Take blocks for hits and what is to come, and let it come."""
        self.blocks.touch(hits)
        seq.blocks, seq.num_published = list(hits), len(hits)
        seq.blocks += [self.blocks.take() for _ in range(self.num_missing(seq, upto))]
        seq.upto, seq.status = upto, LOADING
        seq.num_loads += 1
        self.host.load(seq, len(hits) * self.pool.block_size, upto, self.now)

    def loaded(self, seq: Sequence) -> None:
        """What it loads is there."""
        seq.status = PREEMPTED if seq.num_preemptions else WAITING
        self.publish(seq, seq.upto)
        seq.num_computed = min(seq.upto, seq.num_tokens - 1)

    def give_way(self, but: Sequence | None) -> bool:
        """Take the blocks from the last in line that has loaded them; whether there is one."""
        for seq in reversed(self.holders()):
            if seq.status != LOADING and seq is not but:
                self.release(seq)
                seq.status = PREEMPTED
                seq.num_preemptions += 1
                return True
        return False

    def make_way(self) -> bool:
        """Nothing runs: whether the first in line was made room for."""
        return all(seq.status != LOADING for seq in self.waiting) and self.give_way(self.first_ready())
