"""Fault runs: what fails, who is hit, when it is over. Nothing is lost or ended twice, and nothing hangs."""

import json

import numpy as np
import pytest
from recorder import Recorder

from sim.errors import SpecError
from sim.metrics.records import COMPLETED, FAILED, MOVED, SHED
from sim.spec import Scenario

RATE_PER_S = 20.0
BASE = {
    "name": "faults",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "20 min",
    "drain": True,
    "report_interval": "1 min",
    "traffic": {
        "kind": "open_loop",
        "rate_per_s": RATE_PER_S,
        "input_sequence_length": {"distribution_type": "lognormal", "mean": 200, "standard_deviation": 200},
        "output_sequence_length": {"distribution_type": "lognormal", "mean": 60, "standard_deviation": 50},
    },
    "fleet": {"pools": {"main": {"replicas": 4}}},
}
CLOCKS = pytest.mark.parametrize("clock", ["compiled", "simpy"])


def play(
    incidents=(), deploys=(), clock="compiled", pool=None, leap=True, traffic=None, fleet=None, reaction=None, **faults
):
    """A run with incidents and deploys, each {"at": ..., ...} of the pool main, and more about the fleet."""
    spec = json.loads(json.dumps(BASE))
    spec["fleet"] |= fleet or {}
    spec["tiers"] = {"default": {"reaction": reaction}}
    spec["fleet"]["pools"]["main"] |= pool or {}
    spec["traffic"] |= traffic or {}
    incidents = [{"pool": "main"} | incident for incident in incidents]
    spec["fleet"]["faults"] = {"incidents": incidents} | faults
    spec["fleet"]["deploys"] = [{"pool": "main"} | deploy for deploy in deploys]
    return Recorder(Scenario.from_dict(spec), clock, leap=leap)


def all_ended_once(rows):
    """Each request has one record; what has no abort of its own is answered in full."""
    assert np.array_equal(rows["serial"], np.arange(len(rows)))
    done = rows[rows["ending"] == COMPLETED]
    assert np.array_equal(done["output_tokens"], done["requested_tokens"])
    assert (done["arrived_s"] <= done["classified_s"]).all()
    assert (done["classified_s"] <= done["scheduled_s"]).all()
    assert (done["scheduled_s"] < done["first_token_s"]).all()
    assert (done["first_token_s"] <= done["end_s"]).all()


def inside(rows, replica, t_s, frontend_s):
    """Requests that an undisturbed run has at a replica at a time: by its own records."""
    here = (rows["replica"] == replica) & (rows["classified_s"] < t_s)
    return rows["serial"][here & (rows["end_s"] - frontend_s >= t_s)]


def trace(folder, times_s):
    """Traffic: requests of equal work at these times."""
    file = folder / f"{len(times_s)}.jsonl"
    lines = [
        {"timestamp": int(t_s * 1e3), "input_length": 64, "output_length": 20, "hash_ids": [n]}
        for n, t_s in enumerate(times_s)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"kind": "trace", "format": "mooncake", "path": str(file)}


@CLOCKS
def test_kill_one_replica_and_those_there_begin_anew_elsewhere(clock):
    quiet = play()
    run = play([{"at": 600, "do": "kill", "replicas": [1], "duration": 120}], clock=clock)
    rows = run.records
    all_ended_once(rows)
    assert (rows["ending"] == COMPLETED).all()
    # Up to the fault both runs are the same, so the quiet one says who is hit.
    frontend_s = run.built.world.pools[0].frontend_s
    hit = inside(quiet.records, 1, 600.0, frontend_s)
    moved = rows[rows["flags"] & MOVED > 0]
    assert len(hit) > 0
    assert np.array_equal(moved["serial"], hit)
    assert (moved["replica"] != 1).all()
    assert (moved["first_token_s"] > 600.0).all()
    there = rows[(rows["replica"] == 1) & (rows["classified_s"] >= 600.0)]
    assert there["classified_s"].min() >= 720.0
    (entry,) = run.result["sim"]["faults"]["log"]
    assert entry["t_s"] == 600.0
    assert entry["ended_s"] == 720.0
    assert entry["replicas"] == [1]
    assert entry["num_hit"] == run.result["sim"]["faults"]["num_moved"] == len(hit)
    assert entry["time_to_recover_s"] == 0.0  # three replicas are enough
    figures = run.result["sim"]["faults"]["by_pool"]["main"]
    assert figures["down_s"] == 120.0
    end_s = run.result["duration"]
    assert figures["availability_frac"] == pytest.approx(1.0 - 120.0 / (4.0 * end_s), rel=1e-9)


def test_who_is_resumed_keeps_the_tokens_that_it_has():
    quiet, run = play(), play([{"at": 600, "do": "kill", "replicas": [1]}], on_failure="resume")
    rows = run.records
    all_ended_once(rows)
    frontend_s = run.built.world.pools[0].frontend_s
    hit = inside(quiet.records, 1, 600.0, frontend_s)
    before, after = quiet.records[hit], rows[hit]
    had = before["first_token_s"] - frontend_s < 600.0
    assert had.any()
    assert np.array_equal(before["first_token_s"][had], after["first_token_s"][had])
    assert (after["end_s"] > 600.0).all()
    # Not a token is computed twice: one more decode gap for each token, whoever gives it.
    assert int(run.plane.itl.sum()) == int(rows["output_tokens"].sum()) - len(rows)


def test_who_fails_has_what_it_was_given_so_far():
    run = play([{"at": 600, "do": "kill", "replicas": [1]}], on_failure="fail")
    rows = run.records
    all_ended_once(rows)
    failed = rows[rows["ending"] == FAILED]
    assert len(failed) == run.result["sim"]["faults"]["log"][0]["num_hit"]
    assert (failed["end_s"] == 600.0).all()
    assert (failed["output_tokens"] < failed["requested_tokens"]).all()
    assert failed["output_tokens"].max() > 0


@CLOCKS
def test_a_zone_goes_and_comes_back(clock):
    run = play([{"at": 600, "do": "kill", "zone": 1, "duration": 300}], clock=clock, zones=2, pool={"replicas": 16})
    rows = run.records
    all_ended_once(rows)
    (entry,) = run.result["sim"]["faults"]["log"]
    assert entry["replicas"] == list(range(8, 16))  # eight replicas of a GPU make a node, nodes are dealt to zones
    assert run.result["sim"]["faults"]["by_pool"]["main"]["down_s"] == 8 * 300.0
    meanwhile = rows[(rows["classified_s"] >= 600.0) & (rows["classified_s"] < 900.0)]
    assert meanwhile["replica"].max() < 8
    assert rows["replica"][rows["classified_s"] > 900.0].max() == 15


def test_with_every_replica_gone_requests_are_shed_until_they_are_back():
    run = play([{"at": 600, "do": "kill", "duration": 60}])
    rows = run.records
    assert np.array_equal(rows["serial"], np.arange(len(rows)))
    (entry,) = run.result["sim"]["faults"]["log"]
    failed = rows[rows["ending"] == FAILED]
    assert len(failed) == entry["num_hit"] > 0
    gone = (rows["arrived_s"] >= 600.0) & (rows["arrived_s"] < 660.0)
    assert np.array_equal(rows["ending"] == SHED, gone)


@CLOCKS
def test_every_replica_out_of_kv_at_once(clock):
    took = [{"at": 600, "do": "take_kv", "duration": 30}]
    small = {"num_gpu_blocks_override": 2_000, "replicas": 2}
    run = play(took, clock=clock, pool=small)
    rows = run.records
    all_ended_once(rows)
    assert (rows["ending"] == COMPLETED).all()
    (entry,) = run.result["sim"]["faults"]["log"]
    assert entry["num_blocks"] > 0
    hit = rows[rows["num_preemptions"] > 0]
    assert len(hit) > 0
    assert set(hit["replica"]) == {0, 1}
    assert entry["time_to_recover_s"] > 0.0
    assert play(pool=small).records["num_preemptions"].sum() == 0


def test_a_slow_replica_takes_twice_as_long_and_then_no_longer():
    one = {"replicas": 1}
    light = {"rate_per_s": 0.2}
    quiet = play(pool=one, traffic=light).records
    rows = play([{"at": 600, "do": "slow", "duration": 300, "factor": 2.0}], pool=one, traffic=light).records
    all_ended_once(rows)
    frontend_s = play(pool=one, traffic=light).built.world.pools[0].frontend_s
    time_s, usual_s = (
        rows["end_s"] - rows["scheduled_s"] - frontend_s,
        quiet["end_s"] - quiet["scheduled_s"] - frontend_s,
    )
    alone = np.ones(len(rows), bool)
    alone[1:] = rows["arrived_s"][1:] > rows["end_s"][:-1]
    alone[:-1] &= rows["end_s"][:-1] < rows["arrived_s"][1:]
    slow = alone & (rows["arrived_s"] > 600.0) & (rows["end_s"] < 900.0)
    well = alone & ((rows["end_s"] < 600.0) | (rows["arrived_s"] > 900.0))
    assert slow.sum() > 20
    assert np.allclose(time_s[slow], 2.0 * usual_s[slow], rtol=1e-9)
    assert np.allclose(time_s[well], usual_s[well], rtol=1e-9)


@CLOCKS
def test_a_bad_deploy_is_seen_by_its_canary_and_rolled_back(clock):
    bad = {"at": 300, "step_time_factor": 2.0, "canary_frac": 0.25, "bake": "3 min", "restart": 60}
    run = play(deploys=[bad], clock=clock)
    all_ended_once(run.records)
    (entry,) = run.result["sim"]["deploys"]
    assert entry["canary_slowdown"] == pytest.approx(2.0, rel=0.15)  # the slower one gets fewer requests
    assert entry["deployed_s"] is None
    assert 300.0 + 60.0 + 180.0 + 60.0 < entry["rolled_back_s"] < 700.0
    assert entry["num_changed"] == 2  # one replica there and back


def test_a_good_deploy_reaches_everybody_and_loses_nobody():
    run = play(deploys=[{"at": 300, "step_time_factor": 0.5, "canary_frac": 0.25, "bake": "2 min", "restart": 60}])
    rows = run.records
    all_ended_once(rows)
    assert (rows["ending"] == COMPLETED).all()
    (entry,) = run.result["sim"]["deploys"]
    assert entry["num_changed"] == 4
    assert entry["deployed_s"] is not None
    assert entry["canary_slowdown"] < 0.7


def test_a_bad_deploy_without_a_canary_is_felt_by_everybody():
    run = play(deploys=[{"at": 300, "step_time_factor": 2.0, "at_once": 2, "restart": 10}])
    rows = run.records
    all_ended_once(rows)
    (entry,) = run.result["sim"]["deploys"]
    assert entry["time_to_recover_s"] is None  # step times stay what they are
    late = rows[rows["arrived_s"] > 600.0]
    early = rows[rows["end_s"] < 300.0]
    tpot_s = [np.median((x["end_s"] - x["first_token_s"]) / (x["output_tokens"] - 1.0))
              for x in (early[early["output_tokens"] > 9], late[late["output_tokens"] > 9])]  # fmt: skip
    assert 1.9 < tpot_s[1] / tpot_s[0] < 2.6


def test_clocks_and_leaping_agree_with_everything_on():
    incidents = [
        {"at": 200, "do": "kill", "replicas": [0, 2], "duration": 100},
        {"at": 250, "do": "slow", "replicas": [1], "duration": 500, "factor": 3.0},
        {"at": 400, "do": "take_kv", "duration": 20},
        {"at": 401, "do": "kill", "replicas": [3], "duration": 30},
    ]
    deploys = [{"at": 150, "step_time_factor": 1.1, "canary_frac": 0.3, "bake": 60, "restart": {
        "distribution_type": "lognormal", "mean": 30, "standard_deviation": 20}}]  # fmt: skip
    crash = {"per_gpu_year": 26_000, "repair": {"distribution_type": "exponential", "mean": 40}}
    runs = [
        play(incidents, deploys, clock, leap=leap, software=crash, node=crash, on_failure="resume")
        for clock, leap in (("compiled", True), ("simpy", True), ("simpy", False))
    ]
    assert len(runs[0].result["sim"]["faults"]["log"]) > len(incidents)
    all_ended_once(runs[0].records)
    for run in runs[1:]:
        assert run.records.tobytes() == runs[0].records.tobytes()
        assert run.run.timeline.tobytes() == runs[0].run.timeline.tobytes()
        assert json.dumps(run.result, sort_keys=True) == json.dumps(runs[0].result, sort_keys=True)


@CLOCKS
def test_one_router_of_four_fails_and_whose_requests_it_had_ask_again_by_another(clock):
    gone = {"at": 600, "do": "fail_router", "router": 2, "duration": 120}
    fleet = {"routing": {"num_routers": 4}, "operations": [gone]}
    run = play([{"at": 600, "do": "watch"}], clock=clock, fleet=fleet, reaction={})
    rows = run.records
    all_ended_once(rows)
    failed, again = rows[rows["ending"] == FAILED], rows[rows["attempt"] > 0]
    (entry,) = run.result["sim"]["operations"]
    under_way = int(((rows["arrived_s"] < 600.0) & (rows["end_s"] >= 600.0)).sum())
    # A quarter of those under way, within four standard errors; who completes in the step in progress has completed.
    assert abs(entry["under_way"] - under_way / 4) < 4 * np.sqrt(under_way * 3 / 16)
    assert 0 < len(failed) <= entry["under_way"]
    assert (failed["end_s"] == 600.0).all()
    # Their programs ask again at once, as OpenAI's do, and are answered: no message is lost.
    assert np.array_equal(np.sort(again["retry_of"]), failed["serial"])
    assert ((again["arrived_s"] >= 600.375) & (again["arrived_s"] <= 600.5)).all()
    assert set(rows["ending"]) == {COMPLETED, FAILED}
    assert run.result["sim"]["by_tier"]["default"]["user_message_success_frac"] == 1.0
    (watched,) = run.result["sim"]["faults"]["log"]
    assert watched["time_to_recover_s"] == 0.0  # three routers and all replicas are enough


@CLOCKS
def test_the_only_router_fails_and_those_it_turned_away_come_all_at_once(tmp_path, clock):
    # One request at a time and equal work, evenly spaced: the capacity is one over the time of a request alone.
    spec = json.loads(json.dumps(BASE)) | {"horizon": "30 min"}
    spec["fleet"]["pools"]["main"] |= {"replicas": 1, "max_num_seqs": 1, "enable_prefix_caching": False}
    alone = Recorder(Scenario.from_dict(spec | {"traffic": trace(tmp_path, [0.0, 10.0])})).records[0]
    service_s = float(alone["end_s"] - alone["scheduled_s"])
    times_s = np.arange(0.0, 1_700.0, service_s / 0.6).tolist()
    spec |= {"traffic": trace(tmp_path, times_s)}
    spec["tiers"] = {"default": {"reaction": {"backoff": 60, "max_backoff": 60, "max_retries": 1}}}
    spec["fleet"]["operations"] = [{"at": 600, "do": "fail_router", "router": 0, "duration": 60}]
    spec["fleet"]["faults"] = {"incidents": [{"at": 600, "do": "watch", "pool": "main"}]}
    run = Recorder(Scenario.from_dict(spec), clock)
    rows = run.records
    all_ended_once(rows)
    shut = (rows["arrived_s"] >= 600.0) & (rows["arrived_s"] < 660.0)
    under_way = (rows["arrived_s"] < 600.0) & (rows["ending"] == FAILED)
    assert (rows["ending"][shut] == FAILED).all()
    assert (rows["end_s"][shut] == rows["arrived_s"][shut]).all()
    assert under_way.sum() <= 1
    assert set(rows["ending"]) == {COMPLETED, FAILED}
    assert run.result["sim"]["by_tier"]["default"]["num_retries"] == (shut | under_way).sum()
    assert run.result["sim"]["by_tier"]["default"]["user_message_success_frac"] == 1.0
    # Open again, 0.6 of the capacity comes anew and 0.6 for the second time, for a minute: a backlog of 0.2 x 60 = 12 s
    # of work, which then goes at 0.4 a second, in 30 s. Told at the end of a window of a minute that has little of it.
    (watched,) = run.result["sim"]["faults"]["log"]
    assert 60.0 + 60.0 + 30.0 <= watched["time_to_recover_s"] <= 60.0 + 60.0 + 30.0 + 60.0


def test_mistakes_are_told():
    scenario = Scenario.from_dict(BASE)
    wrong = {
        "incidents": [
            {"at": 1, "do": "kill"},
            {"at": 1, "do": "kill", "pool": "main", "replicas": [9], "factor": 3},
            {"at": 1, "do": "slow", "pool": "mine"},
        ]
    }
    with pytest.raises(SpecError) as caught:
        scenario.replace("fleet.faults", wrong)
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told == {
        "fleet.faults.incidents.0.pool": "missing; only an incident of a zone may go without",
        "fleet.faults.incidents.1.factor": "not used by kill; remove it",
    }
    wrong["incidents"] = [{"at": 1, "do": "kill", "zone": 2}, {"at": 1, "do": "slow", "pool": "mine"}]
    with pytest.raises(SpecError) as caught:
        scenario.replace("fleet.faults", wrong)
    told = {problem.path: problem.message for problem in caught.value.problems}
    assert told == {
        "fleet.faults.incidents.0.zone": "must be < zones (1), got 2",
        "fleet.faults.incidents.1.pool": "no pool of that name: mine; there are main",
    }


def test_traffic_doubles_within_a_minute_and_the_backlog_goes_as_a_fluid_would(tmp_path):
    # One request at a time and equal work: the capacity is one over the time of a request alone.
    spec = json.loads(json.dumps(BASE))
    spec |= {"horizon": "40 min", "drain": False}
    spec["fleet"]["pools"]["main"] |= {"replicas": 1, "max_num_seqs": 1, "enable_prefix_caching": False}
    alone = Recorder(Scenario.from_dict(spec | {"traffic": trace(tmp_path, [0.0, 10.0])})).records[0]
    service_s = float(alone["end_s"] - alone["scheduled_s"])
    usual = 0.6 / service_s

    # Per second: the usual rate, from 600 s on rising to twice as much in a minute, back after five more.
    def rate(t_s):
        return usual * (1.0 + min(max((t_s - 600.0) / 60.0, 0.0), 1.0) * (t_s < 960.0))

    times_s, t_s = [], 0.0
    while t_s < 2_300.0:
        times_s.append(t_s)
        t_s += 1.0 / rate(t_s)
    spec |= {"traffic": trace(tmp_path, times_s)}
    spec["fleet"]["faults"] = {"incidents": [{"at": 600, "do": "watch", "pool": "main"}]}
    run = Recorder(Scenario.from_dict(spec))
    all_ended_once(run.records)
    (entry,) = run.result["sim"]["faults"]["log"]
    # Work comes at 0.6 of the capacity, then 1.2: the backlog grows while it is above 1, that is for 20 s of the minute
    # and the 300 s after it, to 0.1 x 20 + 0.2 x 300 = 62 s of work, which goes at 0.4 a second: in 155 s.
    assert entry["time_to_recover_s"] == pytest.approx(360.0 + 155.0 + 60.0, abs=70.0)  # and the window of a minute
