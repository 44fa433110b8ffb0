"""KV offload in a scenario: what it is worth, what it costs nothing, what its figures mean."""

import pytest
from recorder import Recorder

import sim
from sim import catalog
from sim.errors import SpecError
from sim.fleet.build import build

OFFLOAD = "fleet.pools.main.kv_offload"
SHORT = {
    "horizon": "10 min", "run_in": "5 min", "report_interval": "5 min",
    "fleet.pools.main.num_gpu_blocks_override": 6_000,
}  # fmt: skip


def chat(**changes):
    return sim.load("meridian-1", override=["small", "plain"], set=SHORT | changes)


def with_tier(**given):
    return chat(**{OFFLOAD: {"capacity_gib": 100} | given})


@pytest.fixture(scope="module")
def off():
    return Recorder(chat())


def pool_of(recorder):
    return recorder.result["sim"]["by_pool"]["main"]


def test_host_memory_finds_more_and_shortens_the_wait(off):
    own, shared = Recorder(with_tier()), Recorder(with_tier(capacity_gib=400, scope="pool"))
    found = [pool_of(each)["cached_tokens"] for each in (off, own, shared)]
    assert found[0] < found[1] < found[2]
    waits = [each.result["sim"]["by_tier"]["free"]["mean_ttft_ms"] for each in (off, own, shared)]
    assert waits[0] > waits[1] > waits[2]
    assert "cache" not in pool_of(off)


def test_a_link_without_speed_is_as_good_as_none(off):
    slow = Recorder(with_tier(bandwidth_gb_per_s=1e-9))
    assert slow.records.tobytes() == off.records.tobytes()
    cache = pool_of(slow)["cache"]
    assert (cache["loaded_tokens"], cache["loaded_bytes"], cache["link_busy_frac"]) == (0, 0.0, 0.0)
    assert cache["recomputed_tokens"] > 0


def test_the_figures_of_a_tier_add_up():
    run = Recorder(with_tier())
    (pool,) = [given for given in build(with_tier()).world.pools if given.name == "main"]
    gpu, cache = catalog.load_gpu("h100-sxm-80gb"), pool_of(run)["cache"]
    assert pool.kv_offload.bytes_per_s == float(gpu.pcie_bytes_per_s) * 4
    assert pool.kv_bytes_per_token == 2 * 80 * 8 * 128 * 2  # keys and values, layers, KV heads, head size, bf16
    assert pool.kv_offload.num_blocks == 100 * 2**30 // (16 * pool.kv_bytes_per_token)
    assert cache["loaded_bytes"] == cache["loaded_tokens"] * pool.kv_bytes_per_token
    replica_s = pool_of(run)["gpu_hours"] * 3600 / 4
    assert cache["link_busy_frac"] == pytest.approx(cache["loaded_bytes"] / pool.kv_offload.bytes_per_s / replica_s)
    assert cache["host_hit_tokens"] >= cache["loaded_tokens"] + cache["recomputed_tokens"]


def test_a_time_to_live_is_billed_by_what_was_written_and_read():
    cache = pool_of(Recorder(with_tier(capacity_gib=400, scope="pool", ttl_s=300, min_tokens=1024)))["cache"]
    read, written, uncached = (cache[name] for name in ("host_hit_tokens", "written_tokens", "uncached_tokens"))
    assert min(read, written, uncached, cache["expired_tokens"]) > 0
    bill = (uncached + 1.25 * written + 0.1 * read) / (uncached + written + read)
    assert cache["input_bill_frac"] == pytest.approx(bill)
    assert bill < 1


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
@pytest.mark.parametrize("leap", [True, False])
def test_same_records_under_both_clocks_leaping_or_not(clock, leap):
    given = with_tier(bandwidth_gb_per_s=5, ttl_s=120)
    assert Recorder(given, clock, leap=leap).records.tobytes() == Recorder(given).records.tobytes()


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (
            {OFFLOAD: {"capacity_gib": 1e-6}},
            f"{OFFLOAD}.capacity_gib",
            "must hold 1 to 1,073,741,824 KV blocks of 5 MiB",
        ),
        ({OFFLOAD: {"capacity_gib": 1, "ttl_s": 0.001}}, f"{OFFLOAD}.ttl_s", "must be > latency_s"),
        (
            {OFFLOAD: {"capacity_gib": 1}, "fleet.pools.main.batch_policy": "static"},
            OFFLOAD,
            "must be null where batch_policy is static",
        ),
        (
            {OFFLOAD: {"capacity_gib": 1}, "fleet.pools.main.use_cache": False},
            OFFLOAD,
            "must be null where kv_cache_layout is contiguous or use_cache is false",
        ),
        (
            {OFFLOAD: {"capacity_gib": 1}, "fleet.pools.main.pipeline_parallel_size": 2},
            OFFLOAD,
            "must be null where there are pipeline stages or speculation",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(given, path, message):
    with pytest.raises(SpecError) as raised:
        build(chat(**given))
    assert any(problem.path == path and message in problem.message for problem in raised.value.problems)
