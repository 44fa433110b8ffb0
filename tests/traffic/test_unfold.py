"""Unfolded requests are those that the plane issues on a fleet on which every answer takes the stated time."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.errors import SpecError
from sim.fleet.clocks import CLOCKS
from sim.metrics.records import REFUSED
from sim.plane.owner import Plane
from sim.traffic import build
from sim.traffic.arrivals import Chunk
from sim.traffic.turns import Service
from sim.traffic.unfold import unfold

sys.path.append(str(Path(__file__).parents[1] / "plane"))
from small import pool, world

STEP_S = 2.0**-6  # sums of steps are exact
SAME = ("user", "conversation", "turn", "class_id", "language", "prompt_tokens")
PEOPLE = {"kind": "population", "monthly_users": 400, "turns_per_conversation": 4}
API = {"workload": "api-service", "tier": "api", "num_clients": 5, "tokens_per_chat_token": 0.5}
AGENTS = {"workload": "coding-agent", "tier": "api", "num_clients": 3, "tokens_per_chat_token": 2.0}
SPEAKING = PEOPLE | {"languages": {"English": 0.5, "Hindi": 0.5}}
LEAVING = {"retry_on": [], "slow_ttft": "10 ms", "slow_leave_frac": 0.3}
LENGTHS = {
    "input_sequence_length": {"distribution_type": "uniform", "min": 3, "max": 60},
    "output_sequence_length": {"distribution_type": "uniform", "min": 1, "max": 9},
}
OPEN = {"kind": "open_loop", "rate_per_s": 3, "num_requests": 400, "num_prompts": 7, "tier": "api", **LENGTHS}
CLOSED = {
    "kind": "closed_loop", "concurrency": 9, "requests_per_user": 30, "reissue_delay_s": 0.5, "tier": "api", **LENGTHS,
}  # fmt: skip
SCENARIOS = {
    "people": {"traffic": PEOPLE},
    "history that is cut": {"traffic": PEOPLE, "tiers.free.max_context_tokens": 2000},
    "people and API": {"traffic": PEOPLE | {"api": API}, "horizon": "9 h", "run_in": "0 h"},
    "people and agents": {"traffic": PEOPLE | {"agents": AGENTS}, "horizon": "9 h", "run_in": "0 h"},
    "prompts that are refused": {
        "traffic": PEOPLE,
        "tiers.free.max_context_tokens": 2000,
        "tiers.free.truncation": "disabled",
    },
    "people of several languages": {"traffic": SPEAKING, "model": "llama-3.1-8b"},
    "people who leave slow answers": {"traffic": PEOPLE, "tiers.free.reaction": LEAVING},
    "refusals that end conversations": {
        "traffic": PEOPLE,
        "tiers.free.max_context_tokens": 2000,
        "tiers.free.truncation": "disabled",
        "tiers.free.reaction": {"retry_on": [], "leave_frac": 0.6},
    },
    "sessions": {"traffic": {"kind": "sessions", "workload": "interactive-chat", "rate_per_s": 0.05, "tier": "api"}},
    "open loop": {"traffic": OPEN},
    "closed loop": {"traffic": CLOSED},
}


def issued(source, scenario):
    """The records of a fleet on which each request has a replica of its own, in order of arrival."""
    settings = {"num_gpu_blocks": 1 << 14, "block_size": 64, "max_num_seqs": 2, "max_num_batched_tokens": 1 << 18}
    one = pool(STEP_S, num_replicas=100, **settings)
    paths = {each.path for each in source.classes}
    fleet = world(
        replace(one, max_model_len=1 << 19),
        source.classes,
        paths={name: (world(one).paths["main"]) for name in paths},
        buckets=(),
        seed=scenario.seed,
        start_s=-scenario.run_in_s,
        horizon_s=scenario.horizon_s,
        router="least_outstanding",
    )
    plane, records = Plane(fleet), []
    player = CLOCKS["compiled"](plane, unlimited(source.chunks()), records.append)
    player.run(np.inf)
    records.extend(plane.end(1e300))
    found = np.concatenate(records)
    assert (found["num_preemptions"] == 0).all()
    return found[np.lexsort((found["turn"], found["conversation"], found["user"], found["arrived_s"]))]


def unlimited(chunks):
    """Chunks without rate limits."""
    for rows, segments in chunks:
        rows = rows.copy()
        rows["bucket"] = -1
        yield Chunk(rows, segments)


def unfolded(source, scenario):
    blocks = list(unfold(source, scenario.seed, Service(STEP_S, STEP_S), scenario.horizon_s))
    rows = np.concatenate([block.rows for block in blocks])
    assert (np.diff(rows["t_s"]) >= 0).all()
    assert sum(len(block.segments) for block in blocks) == rows["num_segments"].sum()
    return rows[np.lexsort((rows["turn"], rows["conversation"], rows["user"], rows["t_s"]))]


@pytest.mark.parametrize("changes", SCENARIOS.values(), ids=SCENARIOS)
def test_the_requests_are_those_of_a_fleet_of_that_speed(scenario, changes):
    made = scenario(**changes)
    source = build(made)
    ours, theirs = unfolded(source, made), issued(source, made)
    assert len(ours) == len(theirs) > 200
    assert np.array_equal(ours["t_s"], theirs["arrived_s"])
    assert np.array_equal(ours["output_tokens"], theirs["requested_tokens"])
    for name in SAME:
        assert np.array_equal(ours[name], theirs[name]), name
    assert np.array_equal(ours["is_refused"] == 1, theirs["ending"] == REFUSED)
    assert np.array_equal(np.unique(ours["language"]), np.arange(len(source.languages)))


def test_answers_that_take_longer_put_the_next_turn_off(scenario):
    made = scenario(traffic=PEOPLE)
    source = build(made)
    at_once, slow = (
        np.concatenate([block.rows for block in unfold(source, made.seed, Service(ttft_s, 0.1), made.horizon_s)])
        for ttft_s in (0.0, 1000.0)
    )
    assert len(slow) < len(at_once)  # more turns fall behind the horizon
    think_s = source.classes[0].min_think_s
    later = slow[slow["turn"] > 0]
    answered_s = 1000.0 + 0.1 * 1  # of the shortest answers
    assert (later["gap_s"] >= answered_s + think_s - 0.1 - 1e-6).all()


def test_many_at_once_make_short_windows_and_the_same_requests(scenario, monkeypatch):
    made = scenario(traffic=CLOSED)
    whole = unfolded(build(made), made)
    monkeypatch.setattr("sim.traffic.unfold.ROWS", 20)
    blocks = [block.rows for block in unfold(build(made), made.seed, Service(STEP_S, STEP_S), made.horizon_s)]
    assert max(map(len, blocks)) <= 60
    found = np.concatenate(blocks)
    assert (np.diff(found["t_s"]) >= 0).all()
    assert np.sort(found, order=("t_s", "user")).tobytes() == whole.tobytes()
    assert len(whole) == 9 * 30


def test_segments_go_with_their_requests(scenario):
    made = scenario(traffic=OPEN)
    source = build(made)
    chunks = list(source.chunks())
    blocks = list(unfold(source, made.seed))
    ours, theirs = (np.concatenate([part.segments for part in parts]) for parts in (blocks, chunks))
    assert np.array_equal(ours, theirs)
    assert len(ours) == 400


def test_turns_that_wait_for_other_users_are_refused(scenario):
    made = scenario(traffic=CLOSED | {"reissue_interval_s": 0.01})
    with pytest.raises(SpecError, match="reissue_interval_s"):
        next(unfold(build(made), made.seed))
