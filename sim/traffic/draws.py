"""Counter-based random draws: every draw is a pure function of (seed, stream, entity).

There is no generator and no state, so the same people come whatever the fleet does to them, in whatever order they
are asked for. Only operators and ufuncs on uint64 are used: the same source works on numpy arrays and, compiled by
numba, on scalars, and gives the same bits.

`mix` is the finaliser of SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014 (the constants are in the public domain).
"""

from typing import TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

# One stream for each question asked of an entity. The numbers are part of a run's identity: never reuse one.
ACTIVE = 1
TIER = 2
NUM_CONVERSATIONS = 3
START = 4
NUM_TURNS = 5
USER_TOKENS = 6
OUTPUT_TOKENS = 7
GAP = 8
PATIENCE = 9
BLOCK = 10
ROUTE = 11
CLIENT_RATE = 12
CLIENT_GAP = 13
REGION = 14
APP = 15
LANGUAGE = 16
SAMPLE = 17  # 18 is spent
CONTENT = 19
AFFINITY = 20
ACCEPT = 21
RETRY = 22
LEAVE = 23
BACKOFF = 24
JOB_SIZE = 30
RELEASE = 31
BURST_BEGIN = 40
BURST_SIZE = 41
BURST_DELAY = 42
THIN = 50
TRACE_GAP = 51
FAULT_TIME = 76
FAULT_REPAIR = 77
RESTART = 78
VISIT_MADE = 63
DELAY = 64
DELAY_TOKENS = 65
VISIT_OUTPUT = 66
ESCALATE = 67
REFUSAL_TOKENS = 68
UNSAFE = 69
ROUTER = 72
PROVISIONING = 83
LOADING = 84
WAKING = 85
INTERRUPTION = 86
SPOT_WAIT = 90

# 2**64 divided by the golden ratio, made odd: the increment of SplitMix64 (same source as `mix`).
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FACTOR_1 = np.uint64(0xBF58476D1CE4E5B9)
FACTOR_2 = np.uint64(0x94D049BB133111EB)
SHIFT_12, SHIFT_27, SHIFT_30, SHIFT_31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)

Words: TypeAlias = np.uint64 | NDArray[np.uint64]
WordsT = TypeVar("WordsT", np.uint64, NDArray[np.uint64])


# Products are written np.multiply and np.add because numpy warns of a scalar operator's overflow, never of a ufunc's;
# here the wrap-around is the point.
def mix(z: WordsT) -> WordsT:
    """The SplitMix64 finaliser: a bijection of 64-bit words that flips each output bit with probability one half."""
    z = np.multiply(z ^ (z >> SHIFT_30), FACTOR_1)
    z = np.multiply(z ^ (z >> SHIFT_27), FACTOR_2)
    return z ^ (z >> SHIFT_31)


def key(seed: int, stream: int) -> np.uint64:
    """One word for a (seed, stream) pair; `stream` is one of the constants above."""
    return mix(np.add(mix(np.add(np.uint64(seed), GOLDEN)), np.multiply(np.uint64(stream), GOLDEN)))


@overload
def bits(key: np.uint64, a: np.uint64, b: np.uint64, c: np.uint64) -> np.uint64: ...  # type: ignore[overload-overlap]
@overload
def bits(key: np.uint64, a: Words, b: Words, c: Words) -> NDArray[np.uint64]: ...
def bits(key, a, b, c):  # type: ignore[no-untyped-def]
    """64 random bits of the entity (a, b, c), by convention (user, conversation, turn or index).

    The innermost mix takes c and the outermost a, so that a column of users with scalar b and c costs one mix each.
    """
    word = mix(np.add(key, np.multiply(c, GOLDEN)))
    word = mix(np.add(word, np.multiply(b, GOLDEN)))
    return mix(np.add(word, np.multiply(a, GOLDEN)))


@overload
def uniform(word: np.uint64) -> float: ...
@overload
def uniform(word: NDArray[np.uint64]) -> NDArray[np.float64]: ...
def uniform(word):  # type: ignore[no-untyped-def]
    """The uniform variate of 64 random bits, in the open interval (0, 1): 52 bits, centred, so no end is reached."""
    return ((word >> SHIFT_12) + 0.5) * 2.0**-52
