"""Scenarios whose pools scale: known numbers of replicas at known times, bills, and the same bytes under both
clocks."""

import numpy as np
import pytest
from recorder import Recorder

from sim.metrics.attained import judged_and_met
from sim.spec import Scenario

START = {"provisioning": 40, "load": 20}
BASE = {
    "name": "scaled",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "10 min",
    "report_interval": "1 min",
    "traffic": {"kind": "open_loop", "rate_per_s": 2, "input_sequence_length": 200, "output_sequence_length": 40},
    "slo": {"ttft_s": 0.05},
    "fleet": {"pools": {"main": {"replicas": 1, "startup": START}}},
}
CLOSED = {
    "kind": "closed_loop", "concurrency": 40, "requests_per_user": 40, "input_sequence_length": 300,
    "output_sequence_length": 600,
}  # fmt: skip


def scenario(pool, **changes):
    """The small load on a pool with these settings; changes {dotted path: value}, dots as __."""
    changes = {path.replace("__", "."): value for path, value in changes.items()}
    pool = BASE["fleet"]["pools"]["main"] | pool
    return Scenario.from_dict(BASE | {"fleet": {"pools": {"main": pool}}}).replace_all(changes)


def scaling(recorder):
    """What the result says of the pool's scaling."""
    return recorder.result["sim"]["by_pool"]["main"]["scaling"]


def steps(recorder):
    """(time, number of replicas, reason) of each decision."""
    return [(one["t_s"], one["to_replicas"], one["reason"]) for one in scaling(recorder)["decisions"]]


def test_a_closed_loop_gets_as_many_replicas_as_its_clients_ask_for():
    # Forty clients are outstanding all the time, ten for each replica: four, which is at once what is proposed.
    autoscaler = {"max_replicas": 9, "metrics": [{"metric": "outstanding", "target": 10}]}
    played = Recorder(scenario({"autoscaler": autoscaler}, traffic=CLOSED))
    assert steps(played) == [(15.0, 4, "outstanding")]
    assert scaling(played)["short_s"] == pytest.approx(60.0, abs=1e-9)
    assert played.run.timeline["num_replicas"][1] == 4.0
    assert played.result["completed"] == 1600


def test_a_schedule_is_followed_to_the_second_and_paid_to_the_cent():
    at = [{"at": 0, "replicas": 1}, {"at": 120, "replicas": 3}, {"at": 300, "replicas": 2}]
    plan = {"every": "10 min", "steps": at}
    autoscaler = {"max_replicas": 4, "schedule": plan, "scale_down": {"stabilization_window": 0}}
    played = Recorder(scenario({"autoscaler": autoscaler, "usd_per_gpu_hour": 3.6}))
    assert steps(played) == [(120.0, 3, "schedule"), (300.0, 2, "schedule")]
    found, duration_s = scaling(played), played.result["duration"]
    hours = {name: value * 3600.0 for name, value in found["replica_hours"].items()}
    assert hours["starting"] == pytest.approx(2 * 60.0, rel=1e-12)
    assert hours["active"] == pytest.approx(duration_s + (duration_s - 180.0) + 120.0, rel=1e-9)
    assert hours["draining"] < 2.0
    # Every second on line is paid, whatever a replica does in it: 3.6 USD an hour are a tenth of a cent a second.
    assert played.result["sim"]["energy"]["gpu_hours"] == pytest.approx(sum(hours.values()) / 3600.0, rel=1e-9)
    assert played.result["sim"]["cost"]["total_usd"] == pytest.approx(sum(hours.values()) * 0.001, rel=1e-9)


def test_a_forecast_orders_replicas_before_they_are_needed():
    # The last period had 1 request/s for five minutes, then 6: with 75 s to start and decide, six replicas (at most
    # four more in a period) are ordered from 225 s on, and serve when the sixth minute begins.
    forecast = {"target": 1, "every": "10 min", "bin": "1 min", "trend_window": 0, "history": [1] * 5 + [6] * 5}
    played = Recorder(scenario({"autoscaler": {"max_replicas": 8, "forecast": forecast}}, traffic__rate_per_s=1))
    assert steps(played)[:2] == [(225.0, 5, "forecast"), (240.0, 6, "forecast")]
    assert played.run.timeline["num_replicas"][5] == 6.0
    assert scaling(played)["short_s"] == pytest.approx(75.0, abs=1e-9)


def test_operators_wait_for_what_they_add():
    operations = [
        {"at": 100, "do": "add", "pool": "main", "replicas": 2}, {"at": 130, "do": "drain", "pool": "main", "replicas":
        1}, {"at": 300, "do": "drain", "pool": "main", "replicas": 1},
    ]  # fmt: skip
    played = Recorder(scenario({}, fleet__operations=operations))
    add, cancel, drain = played.result["sim"]["operations"]
    assert "added_s" not in add  # one of the two was taken back
    assert cancel["drained_s"] == 130.0
    assert 300.0 <= drain["drained_s"] < 303.0
    assert played.run.timeline["num_replicas"].tolist()[:8] == pytest.approx(
        [1, (60 + 2 * 20) / 60, (60 + 2 * 10 + 50) / 60, 2, 2, 1 + (drain["drained_s"] - 300) / 60, 1, 1], rel=1e-9
    )


def test_starting_replicas_are_no_margin():
    operations = [{"at": 0, "do": "add", "pool": "main", "replicas": 9}]
    slow = {"startup": {"provisioning": 10_000, "load": 0}}
    alone, more = (Recorder(scenario(slow, fleet__operations=given, drain=False)) for given in ([], operations))
    assert np.array_equal(more.run.timeline["margin_frac"], alone.run.timeline["margin_frac"])
    assert more.run.timeline["num_replicas"][3] == 10.0


def test_requests_are_judged_as_in_the_whole_result():
    autoscaler = {"max_replicas": 3, "metrics": [{"metric": "outstanding", "target": 2}]}
    patience = {"distribution_type": "exponential", "mean": "100 ms"}
    played = Recorder(scenario({"autoscaler": autoscaler}, traffic__rate_per_s=12, tiers__default__patience=patience))
    judged, met = judged_and_met(played.records, played.built.groups)
    slo = played.result["sim"]["slo"]
    assert met.sum() == slo["num_slo_met"] > 1000
    assert met.sum() / judged.sum() == slo["slo_attainment_frac"] < 1.0
    found = scaling(played)
    starts = [one["t_s"] for one in found["decisions"] if one["to_replicas"] > one["from_replicas"]]
    short = np.zeros(len(played.records), dtype=bool)
    for t_s in starts:  # every start takes a minute
        arrived_s = played.records["arrived_s"]
        short |= (arrived_s >= t_s) & (arrived_s < t_s + 60.0)
    assert found["slo_attainment_short_frac"] == pytest.approx(met[short].sum() / judged[short].sum(), abs=1e-12)
    assert found["slo_attainment_otherwise_frac"] == pytest.approx(met[~short].sum() / judged[~short].sum(), abs=1e-12)


def test_a_pool_is_judged_by_what_it_answers_though_a_check_stands_behind_it():
    pools = {"main": {"startup": START}, "guard": {"startup": START, "model": "llama-guard-3-1b"}}
    check = {"pool": "guard", "kind": "classify", "mode": "stream", "prompt": "answer"}
    fleet = {"pools": pools, "paths": {"default": [{"pool": "main"}, check]}}
    played = Recorder(Scenario.from_dict(BASE | {"fleet": fleet, "horizon": "1 min"}))
    by_pool = played.result["sim"]["by_pool"]
    attained = played.result["sim"]["slo"]["slo_attainment_frac"]
    assert by_pool["main"]["scaling"]["slo_attainment_otherwise_frac"] == attained
    assert by_pool["guard"]["scaling"]["slo_attainment_otherwise_frac"] is None


EVERYTHING = {
    "replicas": 2,
    "autoscaler": {
        "min_replicas": 2, "max_replicas": 6, "sync_period": 7,
        "metrics": [
            {"metric": "outstanding", "target": 5, "window": 20}, {"metric": "kv_used_frac", "target": 0.02},
            {"metric": "busy_frac", "target": 1.2}, {"metric": "waiting", "target": 3},
        ],
        "schedule": {"every": 300, "steps": [{"at": 60, "replicas": 3}, {"at": 200, "replicas": 2}]},
        "forecast": {"target": 5, "every": 120, "bin": 30, "trend_window": 60},
        "scale_down": {"stabilization_window": 30},
    },
    "startup": {"provisioning": {"distribution_type": "lognormal", "mean": 20, "standard_deviation": 8}, "load": 7},
    "warm_pool": {"replicas": 1},
    "spot": {"on_demand_base": 1, "interruptions_per_hour": 60, "together_frac": 0.4, "notice_s": 15},
}  # fmt: skip


def test_both_clocks_and_no_leaping_give_the_same_to_the_bit():
    lengths = {"distribution_type": "lognormal", "mean": 200, "standard_deviation": 200}
    changes = {"run_in": "1 min", "horizon": "4 min", "traffic__rate_per_s": 15}
    shut = [{"at": 60, "do": "outage", "duration": 70}]
    given = scenario(EVERYTHING, **changes, traffic__output_sequence_length=lengths, fleet__operations=shut)
    runs = [Recorder(given), Recorder(given, "simpy"), Recorder(given, leap=False)]
    found = scaling(runs[0])
    assert min(found["num_scale_ups"], found["num_scale_downs"], found["num_interrupted"], found["num_woken"]) > 1
    for other in runs[1:]:
        assert other.result == runs[0].result
        assert other.records.tobytes() == runs[0].records.tobytes()
        assert other.run.timeline.tobytes() == runs[0].run.timeline.tobytes()
