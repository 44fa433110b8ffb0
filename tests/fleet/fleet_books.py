"""All that a play of a scenario leaves, to the last byte, and the laws that it keeps."""

import json
import math

import numpy as np

from sim.fleet.mishaps import may_fail
from sim.fleet.run import Player
from sim.fleet.scaling.hours import spent_s
from sim.metrics.records import COMPLETED, ENDINGS, IN_FLIGHT, MOVED, RATE_LIMITED, REFUSED

WAYS = (("compiled", True), ("compiled", False), ("simpy", True), ("simpy", False))
"""Clocks, leaping or not: the first is what the others are held against."""


class Books(Player):
    """Plays a built scenario at once, and keeps every record in the order in which requests ended."""

    def __init__(self, built, clock, *, leap):
        super().__init__(built, clock, leap, None, num_planes=1)
        parts, add = [], self.take
        self.take = lambda rows: (parts.append(rows), add(rows))
        self.run = self.play()
        self.result, self.records = self.run.result, np.concatenate(parts)
        (only,) = self.plays
        self.plane, self.mishaps = only.plane, only.mishaps

    def bytes(self):
        """What must be the same under all clocks."""
        return {
            "records": self.records.tobytes(),
            "timeline": self.run.timeline.tobytes(),
            "gaps": self.plane.itl.tobytes() + self.plane.itl_per_token.tobytes(),
            "spent": self.plane.spent_s.tobytes(),
            "result": json.dumps(self.result, sort_keys=True),
        }


def play_every_way(built):
    """Books of the first way, after the others were held against it."""
    books = Books(built, *WAYS[0][:1], leap=WAYS[0][1])
    expected = books.bytes()
    for clock, leap in WAYS[1:]:
        found = Books(built, clock, leap=leap).bytes()
        assert [name for name in expected if found[name] != expected[name]] == [], (clock, leap)
    return books


def check_laws(books):
    """Each request that came ends once; tokens, time and money add up. `sim.fleet.laws` has others."""
    records = books.records
    every_request_ends_once(books, records)
    tokens_add_up(books, records)
    times_are_in_order(records)
    time_adds_up(books)
    money_adds_up(books, records)


def every_request_ends_once(books, records):
    assert np.array_equal(np.sort(records["serial"]), np.arange(len(records)))
    came = np.concatenate([chunk.rows["t_s"] for chunk in books.built.source.chunks()] or [np.empty(0)])
    first = np.count_nonzero((records["turn"] == 0) & (records["attempt"] == 0))
    assert first <= len(came)
    endings = books.result["sim"]["endings"]
    measured = records["ending"][records["arrived_s"] >= 0.0]
    assert endings["num_requests"] == len(measured) == sum(endings[f"num_{name}"] for name in ENDINGS)
    assert [endings[f"num_{name}"] for name in ENDINGS] == np.bincount(measured, minlength=len(ENDINGS)).tolist()
    if books.built.scenario.drains:
        assert first == len(came)
        gone = books.mishaps.ward.lost if books.mishaps else set()  # who waits for replicas that never come back
        assert gone or not np.any(records["ending"] == IN_FLIGHT)
    attempts = {tuple(row) for row in records[["user", "conversation", "turn", "attempt", "class_id"]].tolist()}
    assert len(attempts) == len(records)


def tokens_add_up(books, records):
    done = records["ending"] == COMPLETED
    assert np.array_equal(records["output_tokens"][done], records["requested_tokens"][done])
    assert not np.any(records["output_tokens"][np.isin(records["ending"], (RATE_LIMITED, REFUSED))])
    emitted = sum(int(row["output_tokens"]) for row in books.plane["pools"][: len(books.built.world.pools)])
    assert emitted >= records["output_tokens"].sum()
    assert np.all(records["cached_tokens"] <= records["prompt_tokens"])
    gaps = int(books.plane.itl_per_token.sum())
    assert gaps <= emitted
    # Clients see gaps of what streams: not of what is withheld, thrown away, or given anew.
    paths = books.built.scenario.fleet.paths.values()
    streams = all(visit.kind != "classify" and (visit is path[-1] or visit.kind != "generate")
                  for path in paths for visit in path)  # fmt: skip
    if streams and books.built.scenario.run_in_s == 0.0 and not np.any(records["flags"] & MOVED):
        assert gaps == np.maximum(records["output_tokens"] - 1, 0).sum()


def times_are_in_order(records):
    done = records[records["ending"] == COMPLETED]
    for earlier, later in (
        ("arrived_s", "classified_s"),
        ("classified_s", "scheduled_s"),
        ("scheduled_s", "first_token_s"),
        ("first_token_s", "end_s"),
    ):
        assert np.all(done[earlier] <= done[later]), (earlier, later)


def time_adds_up(books):
    """Time of replicas by state is the time that is paid; the timeline has all of it."""
    plane, rows = books.plane, books.run.timeline
    end_s = books.result["duration"]
    down_s = books.mishaps.ward.down_s(end_s) if books.mishaps else [0.0] * len(books.built.profiles)
    for number, (pool, profile) in enumerate(zip(books.built.world.pools, books.built.profiles.values(), strict=True)):
        paid_s = sum(float(seconds.sum()) for seconds in spent_s(plane, number, end_s).values()) + down_s[number]
        mine = rows[rows["pool"] == number]
        told_s = float(np.sum(mine["gpu_s"])) / profile.num_gpus
        assert math.isclose(paid_s, told_s, rel_tol=1e-9, abs_tol=1e-6), pool.name
        if not may_fail(books.built.scenario):  # what a replica that failed had in flight is booked to the end
            assert np.all(mine["busy_frac"] <= 1.0 + 1e-9)


def money_adds_up(books, records):
    cost = books.result["sim"]["cost"]
    price = np.array([pool.usd_per_replica_s for pool in books.built.world.pools])
    num_gpus = np.array([profile.num_gpus for profile in books.built.profiles.values()])
    rows = books.run.timeline[books.run.timeline["t_s"] >= 0.0]
    provisioned = math.fsum(rows["gpu_s"] * (price / num_gpus)[rows["pool"]])
    parts = cost["carried_usd"] + cost["spread_usd"] + cost["not_attributed_usd"]
    assert math.isclose(cost["total_usd"], provisioned, rel_tol=1e-9, abs_tol=1e-9)
    assert math.isclose(parts, provisioned, rel_tol=1e-9, abs_tol=1e-9)
    assert np.all(records["cost_usd"] >= 0.0)
