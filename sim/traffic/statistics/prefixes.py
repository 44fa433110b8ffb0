"""What prompts could reuse of earlier ones: by how long a cache keeps a block, and by how many it holds.

The rules are those of `sim.traffic.reuse`. A prompt uses its leading blocks whenever it uses a later one, so the
blocks used within some time are always leading ones: one list of last uses serves every time to live at once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.traffic.reuse import LeastRecentlyUsed

TTL_S = (30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)
CACHE_BLOCKS = (1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_FOR_EVER_S = float(np.finfo(np.float64).max)  # a block never used is older still


class Prefixes:
    """A stream of prompts, given as blocks, on caches that are empty at first.

    Parameters
    ----------
    block_tokens
        [tokens]
    ttl_s, cache_blocks
        Times to live [s], and sizes in blocks of caches that drop what was used longest ago.
    """

    def __init__(
        self,
        block_tokens: int,
        ttl_s: Sequence[float] = TTL_S,
        cache_blocks: Sequence[int] = CACHE_BLOCKS,
    ) -> None:
        self.block_tokens = block_tokens
        self.num_requests = self.num_blocks = self.prompt_tokens = 0
        self._ttl_s = np.append(np.asarray(ttl_s), _FOR_EVER_S)
        self._used_s: dict[int, float] = {}
        self._caches = [(size, LeastRecentlyUsed(size)) for size in cache_blocks]
        self._tokens = np.zeros(len(self._ttl_s) + len(self._caches), dtype=np.int64)
        self._blocks = np.zeros_like(self._tokens)
        self._num_with_hit = 0

    def touch(self, t_s: float, blocks: Sequence[int]) -> None:
        """Let blocks be used at a time, by somebody who does not count."""
        self._used_s.update(dict.fromkeys(blocks, t_s))
        for _, cache in self._caches:
            cache.use(blocks)

    def add(self, t_s: float, prompt_tokens: int, blocks: Sequence[int]) -> None:
        """Take the next prompt, in order of time; its last block may not be full."""
        used_s = self._used_s
        ages = [t_s - used_s.get(block, -np.inf) for block in blocks]
        hits = np.searchsorted(ages, self._ttl_s, side="right").tolist()
        used_s.update(dict.fromkeys(blocks, t_s))
        hits += [cache.use(blocks) for _, cache in self._caches]
        self._blocks += hits
        self._tokens += np.minimum(np.multiply(hits, self.block_tokens), prompt_tokens)
        self.num_requests += 1
        self.num_blocks += len(blocks)
        self.prompt_tokens += prompt_tokens
        self._num_with_hit += hits[len(self._ttl_s) - 1] > 1

    def described(self, sample_frac: float = 1.0) -> dict[str, Any]:
        """Shares of tokens and blocks that caches held; sizes are those for all requests, not only a sample of them."""
        tokens = (self._tokens / max(self.prompt_tokens, 1)).tolist()
        blocks = (self._blocks / max(self.num_blocks, 1)).tolist()
        rows = [{"token_frac": a, "block_frac": b} for a, b in zip(tokens, blocks, strict=True)]
        num_ttl = len(self._ttl_s) - 1
        return {
            "block_tokens": self.block_tokens,
            "num_requests": self.num_requests,
            "sample_frac": sample_frac,
            "num_blocks": self.num_blocks,
            "num_distinct_blocks": len(self._used_s),
            "beyond_first_block_frac": self._num_with_hit / max(self.num_requests, 1),
            "unlimited": rows[num_ttl],
            "by_ttl": [{"ttl_s": float(ttl), **row} for ttl, row in zip(self._ttl_s[:-1], rows, strict=False)],
            "by_cache_size": [
                {"cache_tokens": round(size * self.block_tokens / sample_frac), **row}
                for (size, _), row in zip(self._caches, rows[num_ttl + 1 :], strict=True)
            ],
        }
