"""Mooncake's conversation trace on the simulated prefix cache.

One replica that answers one request at a time, in no time, sees the trace in its order. What it finds in its cache
must then be, request by request, what a list of blocks by last use says under vLLM's rules: a request's full blocks,
those of its answer among them, go to the end of the list when it is over, the last one first in line to be evicted;
its last block, if not full, is free at once; and a prompt's last token is always computed.
"""

from collections import OrderedDict

import numpy as np
import pytest
from prompt_cache import prompts
from recorder import Recorder

import sim
from sim.cost.step_times import StepTimes
from sim.fleet.clocks import CLOCKS
from sim.plane.owner import Plane
from sim.plane.world import HostTier, Pool, Visit, World
from sim.traffic import BUCKET, TrafficClass
from sim.traffic.replay import Replay

TRACE_BLOCK = 512
UNLIMITED_TOKENS = 200_000_000  # more than prompts and answers together
PUBLISHED = {512_000: 0.0445, 3_000_320: 0.1355, 5_120_000: 0.2112, 10_240_000: 0.2875, 25_600_000: 0.3546,
             51_200_000: 0.3637}  # fmt: skip
"""Share of the trace's blocks that a list of so many tokens finds, last blocks counted though not full, without answers
(see tests/traffic/test_reuse.py)."""
ONCE = np.zeros(1025)


class Played:
    """A trace on one replica with a cache of so many tokens."""

    def __init__(self, path, block_size, cache_tokens, **settings):
        self.block_size, self.num_blocks = block_size, cache_tokens // block_size
        self.chunks = list(Replay(path, "mooncake", 1.0, None, np.zeros(0, BUCKET), 0.0, np.inf).chunks())
        kind = TrafficClass(
            name="trace", tier="trace", path="main", priority=0, prefix_tokens=0, prefix_group="", user_tokens=ONCE,
            output_tokens=ONCE, gap_s=ONCE, patience_s=None, min_think_s=0.0, keep_history=False,
            max_context_tokens=1 << 30, is_program=False,
        )  # fmt: skip
        at_once = StepTimes.linear(1e-9, 0.0, 0.0, 0.0, 8192, 1)
        pool = Pool("main", at_once, 1, self.num_blocks + 1, max_num_seqs=1, block_size=block_size, **settings)
        plane, parts = Plane(World(pools=(pool,), paths={"main": (Visit(0),)}, classes=(kind,))), []
        CLOCKS["compiled"](plane, iter(self.chunks), parts.append).run(np.inf)
        records = np.concatenate(parts)
        self.records = records[np.argsort(records["user"])]

    @property
    def token_frac(self):
        return self.records["cached_tokens"].sum() / self.records["prompt_tokens"].sum()

    def listed(self):
        """Tokens that each prompt finds, by the list."""
        size, found, outputs = self.block_size, [], np.concatenate([chunk.rows for chunk in self.chunks])
        held = OrderedDict()
        for number, (_, tokens, blocks) in enumerate(prompts(self.chunks, size)):
            computed = tokens + int(outputs["output_tokens"][number]) - 1  # the last token is not read again
            answer = [(number, n) for n in range(computed // size - tokens // size)]
            used = blocks[: tokens // size] + answer
            leading = next((n for n, block in enumerate(used) if block not in held), len(used))
            found.append(size * min(leading, (tokens - 1) // size))
            for block in reversed(used):
                held[block] = None
                held.move_to_end(block)
            while len(held) + (computed % size > 0) > self.num_blocks:
                held.popitem(last=False)
        return found


@pytest.fixture(scope="module")
def trace(shared):
    path = shared / "data" / "traces" / "mooncake" / "conversation_trace.jsonl"
    if not path.is_file():
        pytest.skip(f"needs the public trace {path.name}")
    return path


@pytest.mark.parametrize("block_size", [512, 100, 16])
@pytest.mark.parametrize("cache_tokens", [150_000, 400_000, UNLIMITED_TOKENS])
def test_the_small_trace_finds_what_the_list_says(repository, block_size, cache_tokens):
    played = Played(repository / "tests" / "fleet" / "data" / "mooncake.jsonl", block_size, cache_tokens)
    assert played.records["cached_tokens"].tolist() == played.listed()
    assert played.token_frac > 0


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [TRACE_BLOCK, 16])
@pytest.mark.parametrize("cache_tokens", [*PUBLISHED, UNLIMITED_TOKENS])
def test_every_request_finds_what_the_list_says(trace, block_size, cache_tokens):
    played = Played(trace, block_size, cache_tokens)
    assert len(played.records) == 12_031
    assert played.records["cached_tokens"].tolist() == played.listed()


@pytest.mark.slow
@pytest.mark.parametrize("block_size", [TRACE_BLOCK, 16])
def test_an_unlimited_cache_finds_the_published_share(trace, block_size):
    assert Played(trace, block_size, UNLIMITED_TOKENS).token_frac == pytest.approx(0.374, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize("cache_tokens", PUBLISHED)
def test_a_cache_of_limited_size_finds_the_published_share(trace, cache_tokens):
    records = Played(trace, TRACE_BLOCK, cache_tokens).records
    num_blocks = np.ceil(records["prompt_tokens"] / TRACE_BLOCK).sum()
    block_frac = (records["cached_tokens"] / TRACE_BLOCK).sum() / num_blocks
    assert block_frac == pytest.approx(PUBLISHED[cache_tokens], abs=0.01)


# A second tier


def behind(num_tokens, block_size, **settings):
    """Host memory with room for so many tokens, at no distance."""
    tier = HostTier(num_blocks=num_tokens // block_size, bytes_per_s=np.inf, **settings)
    return {"kv_offload": tier, "kv_bytes_per_token": 1.0}


def held_for_ever(played):
    """Tokens that each prompt finds where nothing is ever forgotten; its last is computed in any case."""
    size, found, held = played.block_size, [], set()
    for _, tokens, blocks in prompts(played.chunks, size):
        used = blocks[: tokens // size]
        leading = next((n for n, block in enumerate(used) if block not in held), len(used))
        found.append(min(size * leading, tokens - 1))
        held.update(used)
    return found


@pytest.mark.parametrize("block_size", [512, 16])
@pytest.mark.parametrize("keeps", [False, True])
def test_host_memory_for_everything_finds_everything_whatever_the_gpu_keeps(repository, block_size, keeps):
    path, tier = repository / "tests" / "fleet" / "data" / "mooncake.jsonl", behind(UNLIMITED_TOKENS, block_size)
    played = Played(path, block_size, 150_000, enable_prefix_caching=keeps, **tier)
    assert played.records["cached_tokens"].tolist() == held_for_ever(played)
    assert played.token_frac > 0.04


@pytest.mark.slow
@pytest.mark.parametrize("cache_tokens", [150_000, 3_000_320])
def test_host_memory_for_the_trace_finds_what_an_unlimited_cache_does(trace, cache_tokens):
    played = Played(trace, TRACE_BLOCK, cache_tokens, **behind(UNLIMITED_TOKENS, TRACE_BLOCK))
    assert played.records["cached_tokens"].tolist() == held_for_ever(played)
    assert played.token_frac == pytest.approx(0.374, abs=0.002)


@pytest.mark.slow
@pytest.mark.parametrize(("ttl_s", "share"), [(300.0, 0.293), (3_600.0, 0.374)])
def test_a_time_to_live_finds_the_published_share(trace, ttl_s, share):
    # The GPU keeps nothing, so that all that is found was found within its time.
    tier = behind(UNLIMITED_TOKENS, TRACE_BLOCK, ttl_s=ttl_s)
    played = Played(trace, TRACE_BLOCK, 150_016, enable_prefix_caching=False, **tier)
    assert played.token_frac == pytest.approx(share, abs=0.01)


# The scenario, with its real step times


def hit_frac(trace, *override, **changes):
    path = {"traffic.path": str(trace)}
    recorder = Recorder(sim.load("mooncake-conversation", override=override, set=path | changes))
    cache = recorder.result["sim"]["cache"]
    assert recorder.result["completed"] == 12_031
    assert cache["hit_tokens"] == recorder.records["cached_tokens"].sum()
    assert cache["ideal_hit_frac"] == pytest.approx(0.374, abs=0.001)
    return cache["hit_frac"]


@pytest.mark.slow
def test_one_replica_that_keeps_everything_reaches_the_ideal(trace):
    assert hit_frac(trace, "one-cache") == pytest.approx(0.374, abs=0.002)


@pytest.mark.slow
def test_eight_replicas_need_affinity_to_be_one_cache(trace):
    # Eight caches of half a million tokens: as one of four they would find 17 %.
    spread = hit_frac(trace)
    together = hit_frac(trace, "affinity")
    assert spread < 0.08
    assert together > 2 * spread
    assert hit_frac(trace, **{"fleet.pools.main.enable_prefix_caching": False}) == 0
