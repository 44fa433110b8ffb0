"""What goes on at control pace in random scenarios: autoscalers, faults, deploys, operations, drifts."""

from fleets_draws import some, times
from hypothesis import strategies as st

YEAR_S = 365.25 * 86_400.0


@st.composite
def autoscaled(draw, replicas, horizon_s, *, spot):
    """Fields of a pool of which replicas come and go by themselves."""
    most = replicas + draw(st.integers(1, 2))
    period_s = draw(st.sampled_from([horizon_s / 40, horizon_s / 7]))
    looked_at = ["outstanding", "waiting", "running", "kv_used_frac", "busy_frac", "arrivals_per_s"]
    metric = {
        "metric": draw(st.sampled_from(looked_at)),
        "target": draw(st.sampled_from([0.1, 1.0, 5.0])),
        "window": draw(st.sampled_from([0.0, horizon_s / 20])),
    }
    steps = [{"at": k * horizon_s / 4, "replicas": draw(st.integers(1, most))} for k in range(draw(st.integers(1, 4)))]
    forecast = {
        "metric": draw(st.sampled_from(["outstanding", "running", "arrivals_per_s"])),
        "target": 2.0,
        "every": horizon_s / 4,
        "bin": horizon_s / 16,
        "trend_window": draw(st.sampled_from([0, horizon_s / 8])),
        "history": draw(st.sampled_from([[], [1.0, 5.0, 20.0, 0.0]])),
    }
    ways = {"metrics": [metric], "schedule": {"every": horizon_s, "steps": steps}, "forecast": forecast}
    chosen = draw(st.sets(st.sampled_from(sorted(ways)), min_size=1))
    scaler = {"min_replicas": 1, "max_replicas": most, "sync_period": period_s}
    scaler |= {name: ways[name] for name in sorted(chosen)}
    scaler["scale_down"] = {"stabilization_window": draw(st.sampled_from([0.0, horizon_s / 10]))}
    found = {"autoscaler": scaler} if some(draw, 4) or not spot or some(draw) else {}
    found["startup"] = {"provisioning": draw(times(0.0, horizon_s / 10)), "load": draw(times(0.0, horizon_s / 10))}
    if some(draw, 3) or (not found.get("autoscaler") and not spot):
        found["warm_pool"] = {"replicas": draw(st.integers(1, 2))}
    if spot and (some(draw) or not found.get("autoscaler")):
        found["spot"] = {
            "interruptions_per_hour": draw(st.sampled_from([1.0, 5.0])) * 3600.0 / horizon_s,
            "together_frac": draw(st.sampled_from([0.0, 0.5, 1.0])),
            "notice_s": draw(st.sampled_from([0.0, 0.05, horizon_s / 20])),
            "wait": draw(times(0.0, horizon_s / 10)),
        }
    return found


@st.composite
def incidents(draw, pools, zones, horizon_s):
    """Something that goes wrong at a set time."""
    do = draw(st.sampled_from(["kill", "kill", "slow", "take_kv", "watch"]))
    name = draw(st.sampled_from(sorted(pools)))
    found = {"at": draw(st.floats(0.0, horizon_s)), "do": do, "pool": name}
    if do == "watch":
        return found
    if do == "slow":
        found["factor"] = draw(st.sampled_from([0.5, 3.0]))
    elif do == "take_kv":
        found["kv_frac"] = draw(st.sampled_from([0.5, 1.0]))
    if do == "take_kv" or some(draw, 3) or some(draw):
        found["duration"] = draw(st.floats(0.01, horizon_s / 4))
    target = draw(st.sampled_from(["all", "replicas", "node", "zone"]))
    if target == "replicas":
        found["replicas"] = sorted(draw(st.sets(st.integers(0, pools[name]["replicas"] - 1), min_size=1)))
    elif target == "node":
        found["node"] = 0
    elif target == "zone":
        found["zone"] = draw(st.integers(0, zones - 1))
        if some(draw):
            del found["pool"]
    return found


@st.composite
def faults_and_deploys(draw, pools, horizon_s):
    """Fields of a fleet."""
    found = {}
    if draw(st.sampled_from([True, True, False])):
        zones = draw(st.integers(1, 2))
        kinds = {
            kind: {"per_gpu_year": draw(st.sampled_from([1.0, 4.0])) * YEAR_S / horizon_s / 4,
                   "repair": {"distribution_type": "exponential", "mean": horizon_s / 10}}
            for kind in ("gpu", "node", "link", "software")
            if some(draw, 4)
        }  # fmt: skip
        found["faults"] = kinds | {
            "on_failure": draw(st.sampled_from(["retry", "resume", "fail"])),
            "zones": zones,
            "incidents": draw(st.lists(incidents(pools, zones, horizon_s), max_size=4)),
            "recovery_window": horizon_s / draw(st.sampled_from([10, 40])),
        }
    if some(draw, 3):
        found["deploys"] = [
            {
                "at": draw(st.floats(0.0, horizon_s)),
                "pool": draw(st.sampled_from(sorted(pools))),
                "step_time_factor": draw(st.sampled_from([0.5, 1.0, 2.0])),
                "at_once": draw(st.integers(1, 3)),
                "restart": draw(times(0.0, horizon_s / 10)),
                "canary_frac": draw(st.sampled_from([0.0, 0.3])),
                "bake": draw(st.floats(0.1, horizon_s / 5)),
            }
            for _ in range(draw(st.integers(1, 2)))
        ]
    return found


@st.composite
def operations(draw, pools, scaled, horizon_s):
    """What operators do: adds, drains that leave somebody, the door shut."""
    found = []
    times_s = sorted(draw(st.lists(st.floats(0.0, horizon_s), max_size=4)))
    counts = {name: pool["replicas"] - sum(pool.get("reserved", {}).values()) for name, pool in pools.items()}
    for at_s in times_s:
        do = draw(st.sampled_from(["add", "drain", "outage"]))
        able = [name for name in counts if name not in scaled and (do == "add" or counts[name] > 1)]
        if do == "outage":
            found.append({"at": at_s, "do": do, "duration": draw(st.floats(0.01, horizon_s / 5))})
        elif able:
            name, number = draw(st.sampled_from(able)), 1
            counts[name] += number if do == "add" else -number
            found.append({"at": at_s, "do": do, "pool": name, "replicas": number})
    return found


@st.composite
def drifts(draw, paths, tiers, horizon_s, *, recorded):
    """What changes without anybody saying so."""
    classified = any(visit.get("kind") == "classify" for visits in paths.values() for visit in visits[:-1])
    kinds = ["cache_busting"] + ["strict_classifier"] * classified
    kinds += [] if recorded else ["longer_prompts", "longer_answers"]
    found = []
    for _ in range(draw(st.integers(0, 2))):
        kind = draw(st.sampled_from(kinds))
        one = {"at": draw(st.floats(0.0, horizon_s)), "kind": kind}
        if kind.startswith("longer"):
            one["factor"] = draw(st.sampled_from([0.5, 2.0]))
        elif kind == "strict_classifier":
            one |= {"pool": "guard", "block_frac": 0.6}
        if some(draw):
            one["tiers"] = [draw(st.sampled_from(tiers))]
        found.append(one)
    return found
