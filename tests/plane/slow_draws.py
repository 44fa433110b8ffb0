"""The readable model's own draws: counter-based random numbers in plain Python integers.

The composition of words is that of `sim.traffic.draws`, written again on purpose; `test_slow_model` holds the two
together. `mix` is the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

import math
from collections.abc import Sequence

USER_TOKENS, OUTPUT_TOKENS, GAP, PATIENCE, BLOCK, ROUTE = 6, 7, 8, 9, 10, 11  # streams
CONTENT, AFFINITY, ACCEPT, RETRY, LEAVE, BACKOFF = 19, 20, 21, 22, 23, 24
MADE, DELAY, DELAY_TOKENS, VISIT_OUTPUT, ESCALATE, REFUSAL, UNSAFE = range(63, 70)
ROUTER = 72

WORD = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(z: int) -> int:
    """The finaliser of SplitMix64."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
    return z ^ (z >> 31)


def bits(seed: int, stream: int, user: int, conversation: int, index: int) -> int:
    """64 random bits of (seed, stream) and the entity (user, conversation, index)."""
    word = mix((mix((seed + GOLDEN) & WORD) + stream * GOLDEN) & WORD)
    for part in (index, conversation, user):
        word = mix((word + part * GOLDEN) & WORD)
    return word


def uniform(word: int) -> float:
    """The uniform variate in (0, 1) of 64 random bits."""
    return ((word >> 12) + 0.5) * 2.0**-52


def lookup(table: Sequence[float], u: float) -> float:
    """A quantile table at u, linear between its entries."""
    x = u * (len(table) - 1)
    i = min(int(x), len(table) - 2)
    low, high = float(table[i]), float(table[i + 1])
    return low + (x - i) * (high - low)


def tokens(table: Sequence[float], u: float, factor: float = 1.0) -> int:
    """A token count drawn from a quantile table: so many times as long, rounded, at least one."""
    return max(1, math.floor(factor * lookup(table, u) + 0.5))


def whole_ns(t_s: float) -> float:
    """A time [s] rounded to whole nanoseconds."""
    return math.floor(t_s * 1e9 + 0.5) / 1e9
