"""What goes in comes out: requests, tokens, time, blocks, money and energy, in random worlds and in scenarios."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from drive import ACTIONS
from hypothesis import HealthCheck, assume, given, settings
from without import without_aborts, without_delays
from worlds import Scene, scenes
from worlds_singly import PIPELINE, SPECULATION

import sim
from sim.fleet.build import build
from sim.fleet.clocks import CompiledClock
from sim.fleet.run import Player
from sim.metrics.records import ABANDONED, BLOCKED, COMPLETED, ENDINGS, FAILED, IN_FLIGHT, RATE_LIMITED, REFUSED, SHED
from sim.plane.owner import Plane
from sim.plane.tables import DELAYED, OFF
from sim.traffic import Chunk

LONGEST_S = 30.0
FREELY = settings(max_examples=60, suppress_health_check=list(HealthCheck))
WORLDS = scenes(exact=False) | scenes(exact=True) | scenes(exact=False, kinds=(PIPELINE, SPECULATION))


@dataclass
class Books:
    """All that a finished play leaves."""

    scene: Scene
    plane: Plane
    records: np.ndarray
    observed: list[np.void]
    """Each pool at the end, before what is alive was ended."""
    end_s: float
    drained: bool
    num_delayed: int
    """Requests in the middle of a delay at the end."""

    def of(self, name):
        """A counter or integral, summed over the pools."""
        return sum(row[name] for row in self.observed)


def play(scene):
    """Play a scene to its end, but not for longer than LONGEST_S: some never end."""
    start_s = scene.world.start_s
    until_s = min(scene.until, start_s + LONGEST_S)
    plane = Plane(scene.world, num_requests=2)
    parts = []
    clock = CompiledClock(plane, iter([Chunk(scene.rows, scene.segments)]), parts.append)

    def operator():
        for t_s, verb, *arguments in scene.commands:
            yield clock.at(t_s)
            clock.act(ACTIONS[verb], *arguments)

    clock.env.process(operator())
    clock.run(until_s)
    observed = [plane.observe(number, until_s) for number in range(len(scene.world.pools))]
    drained = clock.finished
    num_delayed = int(np.count_nonzero(plane["requests"]["state"] == DELAYED))
    parts.extend(plane.end(until_s))
    return Books(scene, plane, np.concatenate(parts), observed, until_s, drained, num_delayed)


def is_ending(records, *endings):
    return np.isin(records["ending"], endings)


def frontends_s(records, world):
    """What the pool of each record adds to the times that its client sees."""
    return np.array([pool.frontend_s for pool in world.pools])[records["pool"]]


def time_inside_s(records, world, end_s):
    """Time that all requests together spent in queues and batches, if whoever gives up leaves at once.

    No request must be in the middle of a delay.
    """
    left_s = np.where(is_ending(records, COMPLETED), records["end_s"] - frontends_s(records, world), records["end_s"])
    left_s = np.where(is_ending(records, IN_FLIGHT), end_s, left_s)
    return math.fsum(left_s - records["arrived_s"] - records["delay_s"])


# ------------------------------------------------------------------ requests


@FREELY
@given(WORLDS)
def test_every_request_that_comes_ends_once(scene):
    books = play(scene)
    records = books.records
    assert sorted(records["serial"]) == list(range(books.plane.scalar("next_serial")))
    came = int(np.count_nonzero(scene.rows["t_s"] < books.end_s))
    assert np.count_nonzero((records["turn"] == 0) & (records["attempt"] == 0)) == came
    assert np.count_nonzero(records["attempt"]) == books.plane.scalar("num_retries")
    if books.drained:
        assert not is_ending(records, IN_FLIGHT).any()


@FREELY
@given(WORLDS)
def test_turns_of_a_conversation_follow_each_other(scene):
    books = play(scene)
    records = books.records
    attempts = {(r["user"], r["conversation"], r["turn"], r["attempt"]): r for r in records}
    assert len(attempts) == len(records)
    turns = {
        (r["user"], r["conversation"], r["turn"]): r for r in np.sort(records, order="serial")
    }  # the last attempts
    planned = {(row["user"], row["conversation"]): row["num_turns"] for row in scene.rows}
    for (user, conversation, turn), record in turns.items():
        assert turn < planned[user, conversation]
        if turn > 0:
            before = turns[user, conversation, turn - 1]
            assert before["ending"] != IN_FLIGHT
            assert not before["left"]
            # A program's end is seen a frontend's time later; whole nanoseconds may round it down by half of one.
            assert record["arrived_s"] >= before["end_s"] - 1e-9


@FREELY
@given(WORLDS)
def test_attempts_at_a_turn_follow_failures_that_its_sender_minds(scene):
    records = np.sort(play(scene).records, order="serial")
    retries = records[records["attempt"] > 0]
    before = records[retries["retry_of"]]
    for name in ("user", "conversation", "turn", "prompt_tokens", "requested_tokens", "class_id", "language"):
        assert np.array_equal(before[name], retries[name])
    assert np.array_equal(before["attempt"] + 1, retries["attempt"])
    assert len(np.unique(retries["retry_of"])) == len(retries)
    assert np.all(records["retry_of"][records["attempt"] == 0] == -1)
    assert np.all(retries["arrived_s"] >= before["end_s"] - 1e-9)
    for earlier, later in zip(before, retries, strict=True):
        reaction = scene.world.classes[later["class_id"]].reaction
        assert earlier["ending"] in reaction.retried
        assert later["attempt"] <= reaction.max_retries
        assert not earlier["left"]


@FREELY
@given(WORLDS)
def test_what_visits_a_pool_leaves_it(scene):
    books = play(scene)
    for row in books.observed:
        assert row["num_arrived"] - row["num_left"] == row["num_running"] + row["num_waiting"]
        if books.drained:
            assert row["num_running"] == row["num_waiting"] == 0
    assert books.of("num_running") + books.of("num_waiting") == np.count_nonzero(is_ending(books.records, IN_FLIGHT))


# ------------------------------------------------------------------ tokens and times


@FREELY
@given(WORLDS)
def test_tokens_emitted_are_tokens_received(scene):
    books = play(scene)
    records = books.records
    completed = is_ending(records, COMPLETED)
    assert np.array_equal(records["output_tokens"][completed], records["requested_tokens"][completed])
    assert np.all(records["output_tokens"] <= records["requested_tokens"])
    assert not records["output_tokens"][is_ending(records, RATE_LIMITED, REFUSED, SHED, BLOCKED)].any()
    # Each classifier passed emits one more token; it is not recorded how many were by those who never got through.
    guards = np.array([len(scene.world.paths[kind.path]) - 1 for kind in scene.world.classes])[records["class_id"]]
    through = ~np.isnan(records["classified_s"])
    never = is_ending(records, RATE_LIMITED, REFUSED)
    extra = books.of("output_tokens") - records["output_tokens"].sum()
    surely = guards[through].sum() + np.count_nonzero(is_ending(records, BLOCKED))
    assert surely <= extra <= guards[~never].sum()
    if not guards.any():
        assert extra == 0


@FREELY
@given(WORLDS)
def test_there_is_a_gap_for_every_token_but_a_requests_first(scene):
    books = play(scene)
    records = books.records
    groups = np.array(scene.world.itl_groups or range(len(scene.world.classes)))[records["class_id"]]
    expected = np.zeros(len(books.plane.itl), dtype=int)
    np.add.at(expected, groups, np.maximum(records["output_tokens"] - 1, 0))
    assert np.array_equal(books.plane.itl_per_token.sum(axis=1), expected)
    steps = books.plane.itl.sum(axis=1)  # a gap for each of these, whatever number of tokens it gave
    assert np.all(steps <= expected)
    assert scene.world.speculates or np.array_equal(steps, expected)


@FREELY
@given(WORLDS)
def test_times_of_a_request_are_in_order(scene):
    records = play(scene).records
    began = ~np.isnan(records["first_token_s"])
    assert np.array_equal(began, records["output_tokens"] > 0)
    for earlier, later in pairwise(("arrived_s", "classified_s", "scheduled_s", "first_token_s")):
        known = ~np.isnan(records[later])
        assert np.all(records[earlier][known] <= records[later][known])
    assert np.array_equal(np.isnan(records["end_s"]), is_ending(records, IN_FLIGHT))
    # A first token may come after the end only in the step during which its reader gave up.
    late = began & (records["first_token_s"] > records["end_s"])
    assert np.all(is_ending(records, ABANDONED, FAILED)[late])
    assert np.all((records["output_tokens"] == 1) | (frontends_s(records, scene.world) > 0), where=late)


# ------------------------------------------------------------------ time: Little's law as bookkeeping


@FREELY
@given(WORLDS)
def test_number_inside_integrates_to_time_inside(scene):
    books = play(without_aborts(scene))
    assume(books.num_delayed == 0)
    records = books.records
    inside_s = time_inside_s(records, scene.world, books.end_s)
    assert books.of("running_s") + books.of("waiting_s") == pytest.approx(inside_s, rel=1e-9, abs=1e-6)


@FREELY
@given(WORLDS)
def test_who_gives_up_stays_at_most_until_the_step_ends(scene):
    books = play(without_delays(scene))
    records = books.records
    excess_s = books.of("running_s") + books.of("waiting_s") - time_inside_s(records, scene.world, books.end_s)
    assert excess_s > -1e-6
    if not is_ending(records, ABANDONED, FAILED).any():
        assert excess_s < 1e-6


# ------------------------------------------------------------------ blocks, money, energy


@FREELY
@given(WORLDS)
def test_all_blocks_come_back(scene):
    books = play(scene)
    replicas = books.plane["replicas"]
    usable = np.array([scene.world.pools[number].num_gpu_blocks - 1 for number in replicas["pool"]])
    held = usable - replicas["free"] - replicas["evictable"]
    assert np.all(held >= 0)
    assert np.all(replicas["free"] >= 0)
    assert np.all(replicas["evictable"] >= 0)
    assert not held[replicas["num_running"] == 0].any()
    assert not replicas["evictable"][replicas["state"] == OFF].any()
    if books.drained:
        assert not held.any()


@FREELY
@given(WORLDS)
def test_shares_add_up_to_what_replicas_were_busy(scene):
    books = play(scene)
    records, replicas = books.records, books.plane["replicas"]
    busy_s = math.fsum(replicas["busy_s"])
    shares_s = math.fsum(records["busy_s"]) + math.fsum(records["guard_s"])
    assert shares_s == pytest.approx(busy_s, rel=1e-9, abs=1e-12)
    price = np.array([pool.usd_per_replica_s for pool in scene.world.pools])[replicas["pool"]]
    assert math.fsum(records["cost_usd"]) == pytest.approx(math.fsum(replicas["busy_s"] * price), rel=1e-9, abs=1e-12)


@FREELY
@given(WORLDS)
def test_what_is_booked_is_what_the_measured_requests_took(scene):
    books = play(scene)
    measured = books.records[books.records["arrived_s"] >= 0.0]
    spent_s = books.plane.spent_s
    for class_id, booked_s in enumerate(spent_s):
        mine = measured[measured["class_id"] == class_id]
        took_s = math.fsum(mine["busy_s"]) + math.fsum(mine["guard_s"])
        assert math.fsum(booked_s) == pytest.approx(took_s, rel=1e-9, abs=1e-12)
    price = np.array([scene.world.pools[pool].usd_per_replica_s for pool, _ in scene.world.accounts])
    assert math.fsum(spent_s @ price) == pytest.approx(math.fsum(measured["cost_usd"]), rel=1e-9, abs=1e-12)


@FREELY
@given(WORLDS)
def test_energy_is_power_while_busy(scene):
    books = play(scene)
    for row, pool in zip(books.observed, scene.world.pools, strict=True):
        watts = pool.step_times.power_w[1]  # the same for every batch in these worlds
        if pool.pipeline_parallel_size == 1:
            assert row["busy_j"] == pytest.approx(watts * row["busy_s"], rel=1e-9)
        assert row["busy_j"] >= watts * row["busy_s"] * (1 - 1e-9)  # one stage works at least
        assert 0.0 <= row["busy_s"] <= row["online_s"] * (1 + 1e-9)


# ------------------------------------------------------------------ scenarios

MERIDIAN = {"horizon": "10 min", "run_in": "0 s", "report_interval": "2 min"}
SCENARIOS = {"quickstart": {"horizon": "10 min"}, "meridian-1 small": MERIDIAN, "meridian-1 small plain": MERIDIAN}
"""By scenario and overrides, what else is changed."""
# No classifier beside the answer:
AT_ONE_REPLICA = pytest.mark.parametrize("played", ["quickstart", "meridian-1 small plain"], indirect=True)


@pytest.fixture(scope="module", params=SCENARIOS)
def played(request):
    """A scenario's play without a run-in: the run, its player, and every record."""
    name, *override = request.param.split()
    scenario = sim.load(name, set=SCENARIOS[request.param], override=override)
    player = Player(build(scenario), "compiled", True, None, num_planes=1)
    parts, take = [], player.take
    player.take = lambda rows: (parts.append(rows), take(rows))
    return player.play(), player, np.concatenate(parts)


def test_requests_of_a_scenario(played):
    run, player, records = played
    endings = run.result["sim"]["endings"]
    assert endings["num_requests"] == sum(endings[f"num_{name}"] for name in ENDINGS) == len(records)
    came = np.concatenate([chunk.rows for chunk in player.built.source.chunks()])
    assert np.count_nonzero(records["turn"] == 0) == len(came)
    tiers = run.result["sim"]["by_tier"].values()
    for name in ENDINGS:
        assert endings[f"num_{name}"] == sum(tier[f"num_{name}"] for tier in tiers)
    if run.scenario.drains:
        assert endings["num_in_flight"] == 0


def test_timeline_adds_up(played):
    run, player, records = played
    rows = run.timeline
    for number, pool in enumerate(run.result["sim"]["by_pool"].values()):
        mine = rows[rows["pool"] == number]
        np.testing.assert_allclose(mine["t_s"][1:], (mine["t_s"] + mine["width_s"])[:-1], rtol=1e-12)
        assert mine["t_s"][0] == 0.0
        assert mine["width_s"].sum() == pytest.approx(run.result["duration"])
        counters = player.plays[0].plane.observe(number, player.plays[0].plane.scalar("now_s"))
        for name in ("num_arrived", "num_preempted", "prompt_tokens", "cached_tokens", "output_tokens"):
            assert pool[name] == mine[name].sum() == counters[name], name
        assert mine["num_completed"].sum() <= counters["num_left"] == counters["num_arrived"]
    answering = [path[-1].pool for path in player.built.world.paths.values()]
    emitted = rows["output_tokens"][np.isin(rows["pool"], answering)].sum()
    assert emitted == records["output_tokens"].sum()


@AT_ONE_REPLICA
def test_who_is_inside_at_the_end_is_in_flight(played):
    run, _, records = played
    inside = run.timeline["num_arrived"].sum() - run.timeline["num_completed"].sum()
    assert inside == np.count_nonzero(is_ending(records, IN_FLIGHT))


def test_gaps_of_a_scenario(played):
    _, player, records = played
    assert player.plays[0].plane.itl.sum() == np.maximum(records["output_tokens"] - 1, 0).sum()


@AT_ONE_REPLICA
def test_little_holds_in_a_scenario(played):
    run, player, records = played
    rows = run.timeline
    inside_s = ((rows["running_mean"] + rows["waiting_mean"]) * rows["width_s"]).sum()
    expected_s = time_inside_s(records, player.built.world, run.result["duration"])
    # Who gives up while being served stays until the step ends: at most a second each.
    late_s = 1.0 * np.count_nonzero(is_ending(records, ABANDONED) & ~np.isnan(records["scheduled_s"]))
    assert expected_s * (1 - 1e-9) <= inside_s <= expected_s * (1 + 1e-9) + late_s


def test_money_of_a_scenario(played):
    run, player, records = played
    result = run.result["sim"]
    cost, rows = result["cost"], run.timeline
    price_usd_per_s = np.array([p.usd_per_replica_s for p in player.built.world.pools])
    num_gpus = np.array([profile.num_gpus for profile in player.built.profiles.values()])
    provisioned = math.fsum(rows["gpu_s"] * (price_usd_per_s / num_gpus)[rows["pool"]])
    tiers = math.fsum(tier["cost_usd"] for tier in result["by_tier"].values())
    assert cost["total_usd"] == pytest.approx(provisioned, rel=1e-9)
    assert tiers + cost["not_attributed_usd"] == pytest.approx(provisioned, rel=1e-9)
    assert cost["carried_usd"] + cost["spread_usd"] + cost["not_attributed_usd"] == pytest.approx(provisioned, rel=1e-9)
    replicas = player.plays[0].plane["replicas"]
    carried = math.fsum(replicas["busy_s"] * price_usd_per_s[replicas["pool"]])
    assert math.fsum(records["cost_usd"]) == pytest.approx(carried, rel=1e-9)
    assert cost["carried_usd"] == pytest.approx(carried, rel=1e-9)
    assert np.all(records["cost_usd"] >= 0.0)


def test_energy_of_a_scenario(played):
    run, player, _ = played
    rows = run.timeline
    for row in rows:
        times = player.built.world.pools[row["pool"]].step_times
        online_s = row["num_replicas"] * row["width_s"]
        most_w = max(times.power_w.max(), times.attention_w)
        assert times.idle_w * online_s * (1 - 1e-9) <= row["energy_j"] <= most_w * online_s * (1 + 1e-9)
        assert 0.0 <= row["busy_frac"] <= 1.0 + 1e-9
    assert run.result["sim"]["energy"]["total_kwh"] * 3.6e6 == pytest.approx(rows["energy_j"].sum(), rel=1e-9)


def test_blocks_of_a_drained_scenario(played):
    run, player, _ = played
    replicas = player.plays[0].plane["replicas"]
    usable = np.array([pool.num_gpu_blocks - 1 for pool in player.built.world.pools])[replicas["pool"]]
    held = usable - replicas["free"] - replicas["evictable"]
    assert np.all(held >= 0)
    if run.scenario.drains:
        assert not held.any()
