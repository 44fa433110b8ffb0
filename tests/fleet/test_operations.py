"""What happens at control pace: replicas come and go, conditions fire, intervals tile the run, verdicts."""

import math

import numpy as np
import pytest
from recorder import Recorder
from small import kind, pool, rows, world

import sim
from sim.fleet.clocks import CLOCKS
from sim.metrics.records import ABANDONED, COMPLETED, IN_FLIGHT
from sim.plane import commands
from sim.plane.owner import Plane
from sim.plane.tables import DRAINING
from sim.spec import Scenario
from sim.traffic import Chunk

BASE = {
    "name": "operated",
    "model": "llama-3.1-8b",
    "hardware": "h100-sxm-80gb",
    "horizon": "5 min",
    "report_interval": "20 s",
    "traffic": {
        "kind": "open_loop",
        "rate_per_s": 10,
        "input_sequence_length": {"distribution_type": "lognormal", "mean": 500, "standard_deviation": 500},
        "output_sequence_length": {"distribution_type": "lognormal", "mean": 300, "standard_deviation": 300},
    },
    "fleet": {"pools": {"main": {"replicas": 1}}},
}


def scenario(*operations, **changes):
    """The small load with operations (at [s], what, how many) and changes {dotted path: value}, dots as __."""
    done = [{"at": at_s, "do": do, "pool": "main", "replicas": n} for at_s, do, n in operations]
    changes = {path.replace("__", "."): value for path, value in changes.items()}
    return Scenario.from_dict(BASE).replace_all({"fleet.operations": done} | changes)


def mean_replicas(recorder, t_s):
    """Mean number of replicas in the interval that begins at `t_s`."""
    timeline = recorder.run.timeline
    return float(timeline["num_replicas"][timeline["t_s"] == t_s].item())


# ------------------------------------------------------------------ replicas added and drained


@pytest.fixture(scope="module", params=["compiled", "simpy"])
def operated(request):
    """One replica; two more from 100 s; one of them leaves from 200 s on."""
    return Recorder(scenario((100, "add", 2), (200, "drain", 1)), request.param)


def test_the_timeline_shows_the_number_of_replicas(operated):
    drained_s = operated.result["sim"]["operations"][1]["drained_s"]
    for t_s in range(0, 300, 20):
        expected = 1.0 if t_s < 100 else 3.0 if t_s < 200 else 2.0
        if t_s == 200:
            expected += (drained_s - 200.0) / 20.0
        assert mean_replicas(operated, t_s) == pytest.approx(expected, rel=1e-12)
    assert operated.result["sim"]["by_pool"]["main"]["num_replicas_max"] == 3.0


def test_a_drained_replica_finishes_what_it_has_and_gets_nothing_new(operated):
    records = operated.records
    drained = records[records["replica"] == 2]  # the highest number goes first
    assert (records["ending"] == COMPLETED).all()
    assert drained["classified_s"].min() >= 100.0
    assert drained["classified_s"].max() < 200.0 < drained["end_s"].max()
    others = records[records["replica"] != 2]
    assert others["classified_s"].max() > 200.0


def test_the_log_says_what_was_done_and_when_it_was_complete(operated):
    add, drain = map(dict, operated.result["sim"]["operations"])
    assert add == {"t_s": 100.0, "do": "add", "pool": "main", "replicas": 2, "added_s": 100.0}
    last_s = operated.records["end_s"][operated.records["replica"] == 2].max()
    frontend_s = operated.built.world.pools[0].frontend_s  # the client sees an answer so much later
    assert drain.pop("drained_s") == pytest.approx(last_s - frontend_s, abs=1e-9)
    assert drain == {"t_s": 200.0, "do": "drain", "pool": "main", "replicas": 1}


def test_each_drain_waits_for_its_own_replicas():
    recorder = Recorder(scenario((100, "drain", 1), (100.5, "drain", 1), fleet__pools__main__replicas=3))
    frontend_s = recorder.built.world.pools[0].frontend_s
    first, second = recorder.result["sim"]["operations"]
    for entry, replica in ((first, 2), (second, 1)):
        last_s = recorder.records["end_s"][recorder.records["replica"] == replica].max()
        assert entry["drained_s"] == pytest.approx(last_s - frontend_s, abs=1e-9)
    assert first["drained_s"] != second["drained_s"]


def test_a_replica_is_added_as_soon_as_there_are_gpus_for_it():
    # Two replicas are all there ever are, so the one that is wanted must wait for the one that drains.
    recorder = Recorder(scenario((100, "drain", 1), (100.1, "add", 1), fleet__pools__main__replicas=2))
    drain, add = recorder.result["sim"]["operations"]
    assert (add["replicas"], add["added_s"]) == (1, drain["drained_s"])
    assert add["added_s"] > add["t_s"]
    assert mean_replicas(recorder, 280.0) == 2.0


def test_both_clocks_and_no_leaping_give_the_same_to_the_bit():
    changes = {"tiers.default.patience": {"distribution_type": "exponential", "mean": "200 ms"}, "run_in": "90 s"}
    given = scenario((50, "add", 2), (120, "drain", 2), traffic__rate_per_s=30).replace_all(changes)
    runs = [Recorder(given), Recorder(given, "simpy"), Recorder(given, leap=False)]
    assert min(np.count_nonzero(runs[0].records["ending"] == ending) for ending in (COMPLETED, ABANDONED)) > 100
    for other in runs[1:]:
        assert other.result == runs[0].result
        assert other.records.tobytes() == runs[0].records.tobytes()
        assert other.run.timeline.tobytes() == runs[0].run.timeline.tobytes()


# ------------------------------------------------------------------ conditions


def fired(clock_name, condition, operator=None):
    """Times at which the event of a condition fires: two replicas of one sequence each, steps of 1 s, five arrivals."""
    plane = Plane(world(pool(num_replicas=2, max_replicas=2, max_num_seqs=1), [kind()], router="round_robin"))
    chunks = iter([Chunk(rows((0.25, 5, 3), (2.5, 5, 3), (2.75, 5, 2), (2.875, 5, 2), (3.0, 5, 2)))])
    clock = CLOCKS[clock_name](plane, chunks, lambda _rows: None)
    clock.alarm(0, 0)
    times = []

    def watch():
        yield clock.when(lambda: condition(plane))
        times.append(clock.env.now)

    def operate():
        yield clock.at(0.5)
        clock.act(commands.drain_replicas, 0, 1)

    clock.env.process(watch())
    if operator:
        clock.env.process(operate())
    clock.run(100.0)
    return times


@pytest.mark.parametrize("clock_name", sorted(CLOCKS))
def test_a_condition_fires_at_the_very_instant(clock_name):
    # Those of 0.25 and 2.5 s find an idle replica, and wait only until the same instant's step begins.
    assert fired(clock_name, lambda plane: plane["pools"]["num_waiting"][0] == 1) == [0.25]
    assert fired(clock_name, lambda plane: plane["pools"]["num_waiting"][0] == 2) == [2.875]
    assert fired(clock_name, lambda plane: plane["pools"]["num_waiting"][0] == 3) == [3.0]
    assert fired(clock_name, lambda _plane: True) == [0.0]
    assert fired(clock_name, lambda _plane: False) == []


@pytest.mark.parametrize("clock_name", sorted(CLOCKS))
def test_a_condition_on_replicas_fires_when_the_last_has_gone(clock_name):
    # Replica 1 is idle when it is drained at 0.5 s; so it goes at once.
    assert fired(clock_name, lambda plane: plane["pools"]["num_active"][0] == 1, operator=True) == [0.5]


@pytest.mark.parametrize("clock_name", sorted(CLOCKS))
def test_a_busy_replica_goes_off_line_with_its_last_token(clock_name):
    plane = Plane(world(pool(num_replicas=1, max_num_seqs=1), [kind()]))
    clock = CLOCKS[clock_name](plane, iter([Chunk(rows((0.25, 5, 3)))]), lambda _rows: None)
    times = []

    def operate():
        yield clock.at(0.5)
        clock.act(commands.drain_replicas, 0, 1)
        yield clock.when(lambda: plane["replicas"]["state"][0] != DRAINING)
        times.append(clock.env.now)

    clock.env.process(operate())
    clock.run(2.0)
    assert times == []
    clock.run(100.0)
    assert times == [3.25]  # three steps of one second


# ------------------------------------------------------------------ intervals and the run-in


@pytest.mark.parametrize("drain", [False, True])
@pytest.mark.parametrize(
    ("interval_s", "run_in_s", "horizon_s"),
    [(20, 0, 60), (20, 60, 60), (20, 50, 70), (0.7, 4.2, 4.2), (7.3, 10, 31), (0.1, 0.3, 0.3), (60, 0, 5), (5, 60, 5)],
)
def test_intervals_tile_the_run(interval_s, run_in_s, horizon_s, drain):
    changes = {"report_interval": interval_s, "run_in": run_in_s, "horizon": horizon_s, "drain": drain}
    recorder = Recorder(scenario().replace_all(changes))
    timeline = recorder.run.timeline
    begins, ends = timeline["t_s"], timeline["t_s"] + timeline["width_s"]
    assert begins[0] == -run_in_s
    assert ends[-1] == pytest.approx(recorder.result["duration"], rel=1e-12)
    assert np.allclose(begins[1:], ends[:-1], rtol=0, atol=1e-9)
    assert 0.0 in begins
    # Inside the run they begin at multiples of the interval, and at the horizon at most where it is one.
    inside = begins[1:] / interval_s
    assert np.allclose(inside, np.round(inside), rtol=0, atol=1e-9)
    assert timeline["width_s"].min() > 1e-6
    # Of the last interval, what the frontend takes after the last token may be too much.
    assert timeline["width_s"].max() <= interval_s + recorder.built.world.pools[0].frontend_s + 1e-9
    assert timeline["num_arrived"].sum() == len(recorder.records)
    assert not np.signbit(begins[begins == 0.0]).any()


def test_the_last_interval_of_a_run_that_drains_holds_no_slices_after_its_end():
    # A minute and a half of arrivals in an interval of 15 slices of a minute: the run ends within the second slice.
    recorder = Recorder(scenario(report_interval="15 min", horizon=90))
    assert 90.0 < recorder.result["duration"] < 120.0
    (row,) = recorder.run.timeline
    records, frontend_s = recorder.records, recorder.built.world.pools[0].frontend_s
    inside = np.count_nonzero((records["arrived_s"] < 60.0) & (records["end_s"] - frontend_s >= 60.0))
    # Of the flows +n in 60 s and -n in the rest, the mean is 0 and the weighted variance of the rates n^2/(60 rest).
    assert inside > 10
    assert row["growth_per_s"] == 0.0
    rest_s = row["width_s"] - 60.0
    assert row["growth_stderr_per_s"] == pytest.approx(inside / math.sqrt(60.0 * rest_s), rel=1e-12)


def replayed(path, times_s, run_in_s):
    """Play a request at each (number, time); the first comes at -run_in."""
    stamps = np.datetime64("2023-11-16T00:00:00") + np.array([t_s for _, t_s in times_s], dtype="timedelta64[s]")
    lines = [f"{stamp},{100 + i % 7},{20 + i % 5}\n" for (i, _), stamp in zip(times_s, stamps, strict=True)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(lines))
    traffic = {"kind": "trace", "format": "azure", "path": str(path)}
    return sim.run(Scenario.from_dict(BASE | {"traffic": traffic, "run_in": run_in_s, "horizon": 600}))


def test_what_the_run_in_did_is_not_in_the_result(tmp_path):
    # A busy run-in that is over before t = 0, and none: the measured time is the same.
    early, late = [(i, i) for i in range(50)], [(i, 300 + i) for i in range(100)]
    both, alone = replayed(tmp_path / "both.csv", early + late, 300), replayed(tmp_path / "alone.csv", late, 0)
    assert both.info["num_requests_with_run_in"] == 150
    assert np.count_nonzero(both.timeline["t_s"] < 0.0) == 300 / 20
    assert np.count_nonzero(alone.timeline["t_s"] < 0.0) == 0
    numbers = [numbers_of(run.result) for run in (both, alone)]
    assert numbers[0]["num_prompts"] == 100
    assert numbers[0]["sim.warmup_s"] == 300.0
    for own in ("sim.warmup_s", "sim.expected.prompt_tokens"):
        assert numbers[0].pop(own) != numbers[1].pop(own)
    # Times of the two differ in their last bits, and latencies by as much.
    kept = [name for name in numbers[1] if not name.startswith("sim.expected")]
    assert len(kept) > 300
    for name in kept:
        assert numbers[0][name] == pytest.approx(numbers[1][name], rel=1e-9, abs=1e-9), name


def test_an_idle_replica_holds_no_kv_cache(tmp_path):
    timeline = replayed(tmp_path / "two.csv", [(0, 0), (0, 200)], 0).timeline
    used_s = timeline["kv_used_mean_frac"] * timeline["width_s"]
    assert used_s[0] > 0.0
    assert used_s[1:10].tolist() == [0.0] * 9
    # What it takes to detokenise the last answer is part of the last interval, and not used.
    assert used_s[10] == pytest.approx(used_s[0], rel=1e-9)


def numbers_of(result, prefix=""):
    """All numbers of a result by dotted path."""
    found = {}
    for name, value in result.items():
        if isinstance(value, dict):
            found |= numbers_of(value, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            found[prefix + name] = value
    return found


@pytest.mark.parametrize("drain", [None, True, False])
def test_drain(drain):
    recorder = Recorder(scenario(drain=drain, horizon="1 min"))
    num_in_flight = np.count_nonzero(recorder.records["ending"] == IN_FLIGHT)
    duration_s = recorder.result["duration"]
    if drain is False:
        assert num_in_flight > 0
        assert duration_s == 60.0
    else:  # a load generator waits for its answers
        assert num_in_flight == 0
        assert duration_s == recorder.records["end_s"].max() > 60.0
    assert recorder.records["arrived_s"].max() < 60.0


def test_a_day_of_people_stops_at_its_horizon_unless_told_otherwise():
    hour = sim.load("meridian-1", override=["small", "plain"], set={"horizon": "10 min", "run_in": "10 min"})
    stopped, drained = Recorder(hour), Recorder(hour.replace("drain", True))
    assert stopped.result["duration"] == 600.0
    assert drained.result["duration"] > 600.0
    assert np.count_nonzero(stopped.records["ending"] == IN_FLIGHT) > 0
    assert np.count_nonzero(drained.records["ending"] == IN_FLIGHT) == 0
    assert len(stopped.records) == len(drained.records)


# ------------------------------------------------------------------ verdicts


@pytest.mark.parametrize("drain", [False, True])
def test_an_ample_fleet_is_stable_with_margin(drain):
    verdict = sim.run(sim.load("quickstart", set={"drain": drain, "horizon": "30 min"})).result["sim"]["saturation"]
    assert verdict["verdict"] == "stable"
    assert verdict["num_saturated_intervals"] == {"main": 0}
    assert 0.0 < verdict["margin_frac"] < 1.0


@pytest.mark.parametrize("drain", [False, True])
def test_an_overloaded_fleet_is_saturated_with_none(drain):
    changes = {"drain": drain, "horizon": "30 min", "traffic.rate_per_s": 80}
    recorder = Recorder(sim.load("quickstart", set=changes))
    verdict, timeline = recorder.result["sim"]["saturation"], recorder.run.timeline
    assert verdict["verdict"] == "saturated"
    assert verdict["margin_frac"] < 0.0
    # Every interval of arrivals but the first, at the start of which the queue is empty.
    assert verdict["num_saturated_intervals"] == {"main": 30 // 5 - 1}
    during = timeline[timeline["t_s"] < 1800.0]
    came_less_left = during["num_arrived"] - during["num_completed"]
    assert during["growth_per_s"] == pytest.approx(came_less_left / during["width_s"], rel=1e-9)


def test_one_overloaded_pool_is_named():
    changes = {"horizon": "1 h", "fleet.pools.api.replicas": 1, "fleet.pools.api.max_replicas": 1}
    verdict = sim.run(sim.load("meridian-1", override=["small", "plain"], set=changes)).result["sim"]["saturation"]
    assert verdict["verdict"] == "saturated"
    assert verdict["worst_interval"]["pool"] == "api"
    assert verdict["num_saturated_intervals"]["main"] == verdict["num_saturated_intervals"]["guard"] == 0


# ------------------------------------------------------------------ operations in one another's way


@pytest.mark.parametrize("clock", ["compiled", "simpy"])
def test_a_rolling_restart_never_leaves_a_pool_without_a_replica(clock):
    steps = [(100, "drain", 1), (100.1, "add", 1), (100.2, "drain", 1), (100.3, "add", 1)]
    recorder = Recorder(scenario(*steps, fleet__pools__main__replicas=2), clock)
    assert recorder.result["sim"]["endings"]["num_shed"] == 0
    log = recorder.result["sim"]["operations"]
    assert [entry["replicas"] for entry in log] == [1, 1, 1, 1]
    # The highest number goes first: the second drain takes the replica that has just come, which is still empty.
    assert log[2]["drained_s"] == log[1]["added_s"] == log[0]["drained_s"] > 100.2


@pytest.mark.parametrize("do", ["add", "drain"])
def test_nothing_is_operated_after_the_last_answer_of_a_run_that_drains(do):
    traffic = BASE["traffic"] | {"num_requests": 20}
    recorder = Recorder(
        scenario((200, do, 1), traffic=traffic, fleet__pools__main__replicas=2, report_interval="15 min")
    )
    assert recorder.result["duration"] < 60.0
    assert recorder.result["sim"]["operations"] == []
    assert recorder.run.timeline["num_replicas"].tolist() == [2.0]


def test_a_run_ends_with_the_step_of_an_aborted_request():
    # Everybody loses patience at once in the midst of a step: that step is still worked, and paid.
    tiers = {"default": {"patience": "30 ms"}}
    traffic = BASE["traffic"] | {"num_requests": 1, "input_sequence_length": 4000}
    recorder = Recorder(scenario(traffic=traffic, tiers=tiers))
    (record,) = recorder.records
    (row,) = recorder.run.timeline
    assert record["ending"] == ABANDONED
    assert record["end_s"] - record["arrived_s"] == pytest.approx(0.03)
    assert row["width_s"] == recorder.result["duration"] > record["end_s"]
    assert 0.0 < row["busy_frac"] <= 1.0


@pytest.mark.parametrize("rate_per_s", [1e-9, 1e-2])
def test_a_load_without_end_is_billed_to_its_horizon_however_few_come(rate_per_s):
    run = sim.run(scenario(traffic=BASE["traffic"] | {"rate_per_s": rate_per_s}))
    assert run.result["duration"] == 300.0
    assert run.result["sim"]["energy"]["gpu_hours"] == pytest.approx(300 / 3600, rel=1e-12)
    assert len(run.timeline) == 15
