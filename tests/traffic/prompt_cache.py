"""Prompts played against a cache of blocks: the plain reference that simulated caches are held against."""

from collections import OrderedDict
from dataclasses import dataclass

from sim.traffic.reuse import blocks_of

ROWS = 256  # prompts cut into blocks at once


class TimeToLive:
    """Holds a block for `ttl_s` seconds after its last use."""

    def __init__(self, ttl_s):
        self._ttl_s = ttl_s
        self._used_s = OrderedDict()

    def use(self, t_s, blocks):
        """How many leading blocks are held at a time, which never decreases; then all of them are."""
        used_s = self._used_s
        while used_s and t_s - next(iter(used_s.values())) > self._ttl_s:
            used_s.popitem(last=False)
        hits = next((n for n, block in enumerate(blocks) if block not in used_s), len(blocks))
        for block in blocks:
            used_s[block] = t_s
            used_s.move_to_end(block)
        return hits


@dataclass
class Reuse:
    """What was reused, in tokens and in blocks."""

    prompt_tokens: int = 0
    hit_tokens: int = 0
    num_blocks: int = 0
    hit_blocks: int = 0

    @property
    def token_frac(self):
        """Share of the prompts' tokens that were reused."""
        return self.hit_tokens / max(self.prompt_tokens, 1)

    @property
    def block_frac(self):
        """Share of the prompts' blocks that were reused."""
        return self.hit_blocks / max(self.num_blocks, 1)


def reuse(chunks, cache, block_size, *, partial=False, compute_last=False):
    """Play prompts against a cache.

    Parameters
    ----------
    chunks
        Arrivals of one turn each; a row without segments has a text of its own.
    cache
        Empty at the start.
    block_size
        [tokens]
    partial
        Count a prompt's last block also where the prompt does not fill it, as published figures of traces with 512
        tokens a block do: it equals a block that begins alike.
    compute_last
        Never reuse a prompt's last token, so that there is something to compute: vLLM's rule.
    """
    found = Reuse()
    for t_s, tokens, blocks in prompts(chunks, block_size):
        used = blocks if partial else blocks[: tokens // block_size]
        hits = cache.use(t_s, used) if isinstance(cache, TimeToLive) else cache.use(used)
        if compute_last:
            hits = min(hits, (tokens - 1) // block_size)
        found.prompt_tokens += tokens
        found.hit_tokens += min(hits * block_size, tokens)
        found.num_blocks += len(used)
        found.hit_blocks += hits
    return found


def prompts(chunks, block_size):
    """Time [s], tokens and blocks of each prompt; the last block may not be full."""
    for rows, segments in chunks:
        for begin in range(0, len(rows), ROWS):
            part = rows[begin : begin + ROWS]
            num_segments = int(part["num_segments"].sum())
            blocks, num_blocks = blocks_of(part, segments[:num_segments], block_size)
            segments = segments[num_segments:]
            at = 0
            for t_s, tokens, count in zip(part["t_s"], part["user_tokens"], num_blocks, strict=True):
                yield float(t_s), int(tokens), blocks[at : at + count].tolist()
                at += count
