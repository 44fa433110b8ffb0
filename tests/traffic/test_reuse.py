"""The reference of what a cache could reuse: against a count of tokens by hand, and against published figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_cache import TimeToLive, reuse

from sim.traffic import ARRIVAL, BUCKET, SEGMENT, Chunk
from sim.traffic.replay import Replay
from sim.traffic.reuse import LeastRecentlyUsed, Unlimited


def chunk(prompts, times_s=None):
    """Prompts as lists of (key, tokens), or a number of tokens of a text of its own."""
    rows = np.zeros(len(prompts), ARRIVAL)
    rows["t_s"] = np.arange(len(prompts)) if times_s is None else times_s
    rows["user"] = np.arange(len(prompts))
    stretches = [[] if isinstance(prompt, int) else prompt for prompt in prompts]
    rows["num_segments"] = [len(stretch) for stretch in stretches]
    rows["user_tokens"] = [p if isinstance(p, int) else sum(n for _, n in p) for p in prompts]
    return Chunk(rows, np.array([(key, n, 0) for stretch in stretches for key, n in stretch], dtype=SEGMENT))


def by_hand(prompts, block_size):
    """Hit tokens of an unlimited cache of whole blocks: prefixes are compared token by token."""
    seen, hit_tokens = set(), []
    for number, prompt in enumerate(prompts):
        stretches = [(f"own {number}", prompt)] if isinstance(prompt, int) else prompt
        tokens = [(key, offset) for key, length in stretches for offset in range(length)]
        ends = range(block_size, len(tokens) + 1, block_size)
        prefixes = [tuple(tokens[:end]) for end in ends]
        hits = [prefix in seen for prefix in prefixes]
        hit_tokens.append(block_size * [*hits, False].index(False))
        seen.update(prefixes)
    return hit_tokens


prompt = st.one_of(
    st.integers(1, 20), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=4)
)


@given(st.lists(prompt, min_size=1, max_size=8), st.integers(1, 6), st.integers(1, 3))
def test_hits_are_whole_blocks_of_equal_prefixes(prompts, block_size, size):
    expected = by_hand(prompts, block_size)
    whole = reuse([chunk(prompts)], Unlimited(), block_size)
    assert whole.hit_tokens == sum(expected)
    assert whole.hit_blocks * block_size == whole.hit_tokens
    # A cache that never has to let go is unlimited, and how the arrivals are cut does not matter.
    cut, at = [], 0
    rows, segments = chunk(prompts)
    for begin in range(0, len(rows), size):
        part = rows[begin : begin + size]
        count = part["num_segments"].sum()
        cut.append(Chunk(part, segments[at : at + count]))
        at += count
    for cache in (LeastRecentlyUsed(10**6), TimeToLive(1e9)):
        assert reuse(cut, cache, block_size) == whole


def test_the_last_token_can_be_left_to_compute():
    same = [[("a", 8)], [("a", 8)], [("a", 9)]]
    prompts = [[(1, n) for _, n in prompt] for prompt in same]
    assert reuse([chunk(prompts)], Unlimited(), 4).hit_tokens == 16
    assert reuse([chunk(prompts)], Unlimited(), 4, compute_last=True).hit_tokens == 4 + 8


def test_a_last_block_that_is_not_full_counts_if_asked_for():
    prompts = [[(1, 4), (2, 3)], [(1, 4), (2, 4), (3, 1)], [(1, 4), (2, 2)]]
    assert reuse([chunk(prompts)], Unlimited(), 4).hit_tokens == 4 + 4
    found = reuse([chunk(prompts)], Unlimited(), 4, partial=True)
    assert (found.hit_tokens, found.hit_blocks, found.num_blocks) == (8 + 6, 2 + 2, 2 + 3 + 2)


def test_the_block_used_longest_ago_goes_first_and_of_one_prompt_the_last():
    a, b, c = ([(key, 8)] for key in (1, 2, 3))
    held = [
        ([a, b, a], 4, 8),  # room for both
        ([a, b, a], 3, 4),  # b's two push out a's last
        ([a, b, a, b], 3, 4 + 4),  # a's last, back, pushes out b's last
        ([a, b, a, c, a], 4, 8 + 8),  # a was used again, so b goes
        ([a, b, b, c, a], 4, 8),
        ([a, a], 1, 4),
    ]
    for prompts, num_blocks, hit_tokens in held:
        assert reuse([chunk(prompts)], LeastRecentlyUsed(num_blocks), 4).hit_tokens == hit_tokens


def test_a_block_lives_for_a_while_after_each_use():
    a, longer = [(1, 8)], [(1, 8), (2, 4)]
    prompts, times_s = [a, longer, a, longer, a], [0.0, 10.0, 20.0, 25.0, 35.5]
    assert reuse([chunk(prompts, times_s)], TimeToLive(10.0), 4).hit_tokens == 8 + 8 + 8 + 0
    # The longer one's end was last used at 10, 15 before its next use.
    assert reuse([chunk(prompts, times_s)], TimeToLive(15.0), 4).hit_tokens == 8 + 8 + 12 + 8


@pytest.fixture(scope="module")
def conversations(shared):
    """The chunks of Mooncake's conversation trace."""
    path = shared / "data" / "traces" / "mooncake" / "conversation_trace.jsonl"
    return list(Replay(path, "mooncake", 1.0, None, np.zeros(0, BUCKET), 0.0, np.inf).chunks())


# Measured on the trace itself, last blocks counted though not full. Limits in time: share of tokens. Limits in size:
# share of blocks, the size being given as blocks of 512 tokens.
UNLIMITED = 0.374
BY_TIME_S = {30: 0.060, 60: 0.105, 120: 0.195, 300: 0.293, 600: 0.350, 1200: 0.367, 3600: 0.374}
BY_BLOCKS = {1000: 0.0445, 5860: 0.1355, 10_000: 0.2112, 20_000: 0.2875, 50_000: 0.3546, 100_000: 0.3637}


def test_published_figures_of_mooncake_come_out(conversations):
    assert reuse(conversations, Unlimited(), 512, partial=True).token_frac == pytest.approx(UNLIMITED, abs=0.0005)
    for ttl_s, frac in BY_TIME_S.items():
        assert reuse(conversations, TimeToLive(ttl_s), 512, partial=True).token_frac == pytest.approx(frac, abs=0.0006)
    for num_blocks, frac in BY_BLOCKS.items():
        found = reuse(conversations, LeastRecentlyUsed(num_blocks), 512, partial=True)
        assert found.block_frac == pytest.approx(frac, abs=0.001)
        # In tokens instead, which leaves a partial block less weight.
        assert found.token_frac == pytest.approx(frac, abs=0.01)


def test_smaller_blocks_reuse_as_much_of_mooncake(conversations):
    small = reuse(conversations, Unlimited(), 16, compute_last=True)
    assert small.prompt_tokens == 144_793_823
    assert small.token_frac == pytest.approx(UNLIMITED, abs=0.0005)
