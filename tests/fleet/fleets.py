"""Random small scenarios with everything on that a fleet may have, in any combination that the specification allows.

`scenarios()` draws a whole scenario that plays in a fraction of a second: who asks (people of two tiers with programs
beside them, load generators, a trace), what a request meets (`fleets_paths`), and what goes on at control pace
(`fleets_control`): autoscalers, faults, deploys, operations, drifts.
"""

from pathlib import Path

from fleets_control import autoscaled, drifts, faults_and_deploys, operations
from fleets_draws import some, times
from fleets_paths import gateways, paths
from hypothesis import strategies as st

from sim.spec import Scenario

DAY_S = 86_400.0
TRACES = Path(__file__).parent / "data"


@st.composite
def lengths(draw, low, high):
    """A distribution of tokens."""
    mean = draw(st.integers(low, high))
    if some(draw):
        return mean
    return {"distribution_type": "lognormal", "mean": mean, "standard_deviation": mean, "min": 1, "max": 4 * high}


@st.composite
def rate_limits(draw):
    """Token buckets that some requests find empty."""
    found = {"requests_per_minute": draw(st.sampled_from([20, 60, 600])), "burst": draw(st.integers(1, 10))}
    if some(draw):
        found |= {"input_tokens_per_minute": draw(st.sampled_from([5_000, 50_000]))}
    if some(draw):
        found |= {"output_tokens_per_minute": draw(st.sampled_from([1_000, 20_000]))}
    if some(draw):
        found |= {"cached_tokens_count": False}
    return found


@st.composite
def reactions(draw, horizon_s):
    """What senders do about failures."""
    found = {
        "retry_frac": draw(st.sampled_from([1.0, 0.6])),
        "max_retries": draw(st.integers(0, 3)),
        "backoff": draw(times(0.1, horizon_s / 20)),
        "max_backoff": horizon_s / 5,
        "leave_frac": draw(st.sampled_from([0.0, 0.3])),
    }
    if some(draw):
        found |= {"slow_ttft": draw(st.floats(0.05, 2.0)), "slow_leave_frac": 0.5}
    return found


@st.composite
def tiers(draw, path, horizon_s, *, gated, small):
    """A tier; `gated`: whether some pool has a gateway; `small`: a path to fall back on, or None."""
    found = {
        "path": path,
        "priority": draw(st.integers(0, 2)),
        "system_prompt_tokens": draw(st.sampled_from([0, 40, 300])),
        "unsafe_frac": draw(st.sampled_from([0.0, 0.3])),
    }
    if some(draw):
        found["patience"] = draw(times(0.2, 10.0))
    if some(draw):
        found["reaction"] = draw(reactions(horizon_s))
    if some(draw, 3):
        found["max_context_tokens"] = draw(st.sampled_from([600, 2_000]))
        found["truncation"] = draw(st.sampled_from(["auto", "disabled"]))
    if some(draw, 3):
        found["max_output_tokens"] = draw(st.sampled_from([30, 200]))
    if some(draw, 3):
        found["rate_limit"] = draw(rate_limits())
    if some(draw, 3):
        found["user_limit"] = {"rate_limit": draw(rate_limits())} if some(draw) else {}
        found["user_limit"] |= {"messages": draw(st.integers(1, 3)), "window": draw(st.floats(1.0, horizon_s))}
        if small is not None and some(draw):
            found["user_limit"]["fall_back"] = small
    if gated:
        found |= {"weight": draw(st.sampled_from([1.0, 3.0])), "reserved_frac": draw(st.sampled_from([0.0, 0.2]))}
        if some(draw):
            found["max_queue"] = draw(st.integers(0, 10))
        if some(draw):
            found["queue_time_limit"] = draw(st.floats(0.05, 5.0))
    return found


@st.composite
def people(draw, _horizon_s, *, weeks):
    """Who talks with it, a few a second, and programs. Returns the traffic, and the tiers that it has."""
    found = {
        "kind": "population",
        "monthly_users": draw(st.sampled_from([30, 100] if weeks else [30_000, 150_000, 300_000])),
        "turns_per_conversation": draw(st.sampled_from([1.5, 3.0])),
        "curve": "one-region",
    }
    if some(draw):
        found["regions"] = {
            "west": {"user_frac": 0.6, "utc_offset_h": -6, "languages": {"English": 0.8, "Spanish": 0.2}},
            "east": {"user_frac": 0.4, "utc_offset_h": 9, "languages": {"Japanese": 1.0}},
        }
    elif some(draw):
        found["languages"] = {"English": 0.7, "German": 0.3}
    names = ["free", "plus"]
    if some(draw):
        found["api"] = {"workload": "api-service", "tier": "api", "num_clients": draw(st.integers(1, 4))}
        found["api"]["tokens_per_chat_token"] = 0.25
        names.append("api")
    return found, names


@st.composite
def generators(draw, horizon_s, *, weeks):
    """A load generator. Returns the traffic, and the tiers that it has."""
    if not weeks and some(draw, 3):
        return {"kind": "trace", "path": str(TRACES / draw(st.sampled_from(["mooncake.jsonl", "azure.csv"])))}, [
            "default"
        ]
    lengths_of = {"input_sequence_length": draw(lengths(1, 500)), "output_sequence_length": draw(lengths(1, 300))}
    if some(draw):
        rate = draw(st.sampled_from([10.0, 80.0, 400.0])) / horizon_s * (4 if weeks else 1)
        found = {"kind": "open_loop", "rate_per_s": rate, "burstiness": draw(st.sampled_from([1.0, 0.3]))}
        found |= {"num_prompts": draw(st.integers(1, 20))} if some(draw, 3) else {}
    else:
        found = {"kind": "closed_loop", "concurrency": draw(st.integers(1, 60))}
        found |= {"requests_per_user": draw(st.integers(1, 8)), "reissue_delay_s": draw(st.floats(0.1, horizon_s / 10))}
    return found | lengths_of, ["default"]


@st.composite
def places(draw, traffic):
    """Regions of the fleet for where people are."""
    names = list(traffic.get("regions", {"all": None}))
    way_s = st.floats(0.0, 0.2)
    regions = ["us", "eu"][: draw(st.integers(1, 2))]
    found = {name: {"users": {place: draw(way_s) for place in names}} for name in regions}
    if len(regions) == 2:
        found["us"]["regions"] = {"eu": draw(way_s)}
    return found


@st.composite
def routing(draw):
    """Routers of all kinds. Returns fields of the fleet."""
    kinds = ["round_robin", "least_outstanding", "power_of_two", "session_affinity", "prefix_affinity", "least_kv"]
    router = draw(st.sampled_from([*kinds, "prefix_affinity"]))
    found = {"num_routers": draw(st.sampled_from([1, 2, 5]))}
    if found["num_routers"] > 1:
        found["spread"] = draw(st.sampled_from(["request", "conversation"]))
    if router == "least_kv":
        found |= {"state_interval": draw(st.sampled_from([0.0, 0.05, 1.0]))}
        found |= {"gauges": draw(st.sampled_from(["corrected", "as_read"]))}
    if router == "prefix_affinity" and some(draw):
        found |= {"prefix_index": "routed", "prefix_index_blocks": draw(st.sampled_from([4, 100, 3_000]))}
        found |= {"min_match_frac": draw(st.sampled_from([0.0, 0.3, 0.9]))}
    bound = {"balance_abs_threshold": draw(st.sampled_from([0, 2, 64])), "balance_rel_threshold": 1.1}
    return {"router": router, "routing": found, "prefix_token_count": draw(st.sampled_from([16, 256]))} | bound


@st.composite
def pools(draw, model, most_replicas=4):
    """A pool that is tight."""
    found = {"model": model, "replicas": draw(st.integers(1, most_replicas)), "hardware": "h100-sxm-80gb"}
    if draw(st.integers(0, 3)) == 0:
        found["router"] = draw(st.sampled_from(["round_robin", "power_of_two", "session_affinity"]))
    seqs = draw(st.sampled_from([1, 2, 4, 16, 64]))
    found |= {"max_num_seqs": seqs, "max_num_batched_tokens": max(seqs, draw(st.sampled_from([256, 2_048])))}
    if some(draw):
        blocks = draw(st.sampled_from([70, 130, 400]))
        found |= {"num_gpu_blocks_override": blocks, "max_model_len": 16 * (blocks - 1)}
    found["scheduling_policy"] = draw(st.sampled_from(["fcfs", "priority"]))
    found["enable_prefix_caching"] = draw(st.sampled_from([True, True, False]))
    found["scheduler_reserve_full_isl"] = draw(st.booleans())
    special = draw(st.sampled_from([None] * 5 + ["reserve_full", "static", "prefill_first", "stages", "drafts"]))
    if special in ("stages", "drafts"):
        found |= {"pipeline_parallel_size": 2} if special == "stages" else {}
        found |= {"speculative_config": {"method": "ngram", "num_speculative_tokens": 3}} if special == "drafts" else {}
    elif special is not None:
        found["batch_policy"] = special
    else:
        found["watermark"] = draw(st.sampled_from([0.0, 0.01]))
        found["async_scheduling"] = draw(st.booleans())
        found["long_prefill_token_threshold"] = draw(st.sampled_from([0, 0, 100]))
    return found


def plain(pool):
    """A pool as those of an answer that is split must be."""
    return {name: value for name, value in pool.items() if name not in BEYOND_PLAIN}


BEYOND_PLAIN = ("batch_policy", "pipeline_parallel_size", "speculative_config")


@st.composite
def scenarios(draw, *, weeks=False):
    """A scenario: of less than a minute, or of two weeks of a little traffic, which monitors watch."""
    horizon_s = 14 * DAY_S if weeks else float(draw(st.sampled_from([10, 20, 40])))
    traffic, names = draw(draw(st.sampled_from([people, generators]))(horizon_s, weeks=weeks))
    split = some(draw, 6)
    is_regional = not split and some(draw, 4)
    found_pools = {"main": draw(pools("llama-3.1-8b")), "small": draw(pools("llama-3.2-1b", 2))}
    found_pools["guard"] = draw(pools("llama-guard-3-1b", 2))
    if split:
        found_pools |= {name: plain(draw(pools("llama-3.1-8b", 2))) for name in ("prefill", "decode")}
    beside = not is_regional or found_pools["guard"]["replicas"] > 1  # they must be where requests are
    found_paths = {name: draw(paths(split=split, beside=beside)) for name in ("one", "two")}
    found_paths["small"] = [{"pool": "small"}]
    partitioned = not is_regional and found_pools["main"]["replicas"] > len(names) and some(draw, 4)
    if partitioned:
        found_pools["main"]["reserved"] = {names[0]: 1}
    ways = draw(places(traffic)) if is_regional else {}
    gated = [] if is_regional else draw(gateways(found_pools))
    for name in gated:
        found_pools[name]["gateway"] = {
            "order": draw(st.sampled_from(["fifo", "priority", "fair"])),
            "max_outstanding": draw(st.sampled_from([None, 1, 4])),
            "max_queue": draw(st.sampled_from([None, None, 2, 20])),
        }
    loads = split
    if not loads and not any(name in found_pools["main"] for name in BEYOND_PLAIN) and some(draw, 8):
        loads = True
        found_pools["main"]["kv_offload"] = {
            "capacity_gib": draw(st.sampled_from([0.2, 10.0])),
            "scope": draw(st.sampled_from(["replica", "pool"])),
        }
    if all("router" in pool for pool in found_pools.values()):  # else nobody goes by the fleet's rule
        del found_pools["main"]["router"]
    scaled = [name for name in found_pools if some(draw, 3)]
    for name in scaled:
        found_pools[name] |= draw(autoscaled(found_pools[name]["replicas"], horizon_s, spot=not loads))
    if is_regional:
        for pool in found_pools.values():
            least = int(pool is found_pools["guard"] and beside)
            here = draw(st.integers(least, pool["replicas"] - least)) if len(ways) == 2 else pool["replicas"]
            pool["regions"] = dict(zip(ways, (here, pool["replicas"] - here), strict=False))
    fleet = {
        "pools": found_pools,
        "paths": found_paths,
        "regions": ways,
        "placement": "partitioned" if partitioned else "shared",
        **draw(routing()),
        "operations": draw(operations(found_pools, scaled, horizon_s)),
        **({} if loads else draw(faults_and_deploys(found_pools, horizon_s))),
    }
    if len(ways) == 2 and some(draw):
        fleet["spill_at"] = draw(st.sampled_from([1.0, 8.0]))
    fleet["operations"] += [
        {"at": draw(st.floats(0.0, horizon_s)), "do": "fail_router", "router": number, "duration": horizon_s / 8}
        for number in range(fleet["routing"]["num_routers"])
        if some(draw, 4)
    ]
    chosen = {
        name: draw(
            tiers(
                draw(st.sampled_from(["one", "two"])),
                horizon_s,
                gated=bool(gated),
                small="small" if some(draw) else None,
            )
        )
        for name in names
    }
    if traffic["kind"] == "population":
        chosen["free"]["user_frac"], chosen["plus"]["user_frac"] = 0.75, 0.25
    return Scenario.from_dict(
        {
            "name": "random",
            "seed": draw(st.integers(0, 1_000)),
            "horizon": horizon_s,
            "run_in": draw(st.sampled_from([0.0, 10.0])) if traffic["kind"] == "population" else 0.0,
            "drain": draw(st.sampled_from([None, True, False])),
            "report_interval": DAY_S / 4 if weeks else horizon_s / draw(st.sampled_from([1, 4])),
            "monitoring": {"baseline_weeks": 1} if weeks else None,
            "traffic": traffic,
            "tiers": chosen,
            "fleet": fleet,
            "drifts": draw(drifts(found_paths, list(chosen), horizon_s, recorded=traffic["kind"] == "trace")),
            "slo": {"ttft_s": 1.0, "tpot_s": 0.05},
        }
    )
