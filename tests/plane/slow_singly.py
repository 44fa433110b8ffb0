"""Replicas of the readable model with pipeline stages or speculation; docs/policies/vllm_v1.md has their rules."""

import math
from itertools import accumulate
from operator import mul

import slow_draws as draws
from slow_policies import REPLICAS
from slow_replica import Batch, Replica
from slow_sequence import Sequence
from slow_step import Entry

from sim.plane.world import Pool


class Pipeline(Replica):
    """As many steps in flight as stages, in the order of their starts; one token of a sequence at a time (rule 6)."""

    def __init__(self, index: int, pool: Pool, state: str) -> None:
        super().__init__(index, pool, state)
        self.most_in_flight = pool.pipeline_parallel_size
        self.stage_free_s = -math.inf
        """When the first stage is free again."""

    def time(self, entries: list[Entry], now: float) -> tuple[float, float, float, list[float]]:
        start_s = max(now, self.stage_free_s)
        step_s, shares_s = self.cost(self.step_times, entries)
        stage_s, _ = self.cost(self.pool.stage_times, entries)
        self.stage_free_s = start_s + min(stage_s, step_s)
        before_s = self.in_flight[-1].end_s if self.in_flight else start_s
        end_s = max(start_s + step_s, before_s)
        busy_s = end_s - before_s
        return start_s, busy_s, end_s, [share_s * busy_s / step_s for share_s in shares_s]


class Speculating(Replica):
    """Drafts behind the last token of who decodes, some of which are accepted (rule 7)."""

    def __init__(self, index: int, pool: Pool, state: str, seed: int) -> None:
        super().__init__(index, pool, state)
        self.seed = seed

    def num_wanted(self, seq: Sequence) -> int:
        drafts = 0 if seq.mid_prefill else len(self.pool.accept_frac)
        return min(super().num_wanted(seq) + drafts, self.pool.max_model_len - 1 - seq.num_computed)

    def reach(self, num_tokens: int) -> int:
        return min(num_tokens + self.pool.num_lookahead_tokens, self.pool.max_model_len)

    def schedule(self) -> Batch:
        batch = super().schedule()
        for entry in batch.entries:
            entry.drafts = max(0, entry.before + entry.num_tokens - entry.seq.num_tokens)
        return batch

    def num_new(self, entry: Entry) -> int:
        seq, accepted = entry.seq, 0
        if entry.drafts > 0:
            who = seq.request.record
            index = who["turn"] * 2**32 + seq.num_emitted
            u = draws.uniform(draws.bits(self.seed, draws.ACCEPT, who["user"], who["conversation"], index))
            chances = list(accumulate(self.pool.accept_frac, mul))[: entry.drafts]
            accepted = sum(u < chance for chance in chances)
            self.drafts.update(times=1, drafted=entry.drafts, accepted=accepted)
        tokens = min(1 + accepted, seq.output_tokens - seq.num_emitted)
        seq.num_computed = seq.num_tokens + tokens - 1  # the rest is taken back
        return tokens


def make_replica(index: int, pool: Pool, state: str, seed: int) -> Replica:
    """The replica that plays a pool."""
    if pool.accept_frac:
        return Speculating(index, pool, state, seed)
    if pool.pipeline_parallel_size > 1:
        return Pipeline(index, pool, state)
    return REPLICAS[pool.batch_policy](index, pool, state)


def most_tokens(pool: Pool, num_tokens: int) -> int:
    """Tokens that a request needs blocks for at most, which computes `num_tokens` in the end."""
    return min(num_tokens + len(pool.accept_frac) + pool.num_lookahead_tokens, pool.max_model_len)
