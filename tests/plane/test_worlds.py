"""What the drawn scenes contain: an agreement over scenes says something only of what happens in them."""

# ruff: noqa: ARG002 - a witness has the signature of what it watches

from collections import Counter
from itertools import pairwise

import pytest
from drive import run_plane
from hypothesis import HealthCheck, given, settings
from slow_model import ACTIVE, Model
from slow_replica import DRAINING, BlockPool, Replica
from slow_step import piece_of
from worlds import play_scene, scenes

from sim.fleet.clocks import SimpyClock
from sim.metrics.records import ENDINGS
from sim.plane.owner import Plane
from sim.plane.tables import STEP

SCENES = 400
RARE_FRAC = 0.01  # of the 900 scenes that the agreements play by default: nine
THINGS = {
    *ENDINGS, "second turn", "growth", "growth beyond 8 rows", "events at one instant", "steps that end together",
    "leap cut", "knot crossed",
    "preemption, fcfs", "preemption, priority", "self-preemption, fcfs", "self-preemption, priority",
    "victim already scheduled, priority", "victim in prefill", "preempted twice",
    "prefix hit", "prefix hit after a preemption", "eviction of a prefix", "choice of a prefix to evict",
    "abort waiting", "abort preempted", "abort in prefill", "abort in the last chunk", "abort decoding",
    "abort at a guard", "drain of an idle replica", "drain of a busy replica", "added while another drains",
} - {"timed_out"}  # fmt: skip
"""What must happen now and then; nothing in the plane ends a request as timed out."""


class Witness:
    """Notes what happens in one scene."""

    def __init__(self, patch) -> None:
        self.seen: set[str] = set()
        self.asked = None
        self.extended: list = []
        for owner, name, note in (
            (Replica, "num_missing", self.num_missing), (Replica, "extend", self.extend),
            (Replica, "schedule_running", self.schedule_running), (BlockPool, "take", self.take),
            (Model, "abort", self.abort), (Model, "control", self.control),
            (SimpyClock, "_schedule", self.file), (Plane, "grow", self.grow),
        ):  # fmt: skip
            patch.setattr(owner, name, self.before(note, getattr(owner, name)))
        preempt = Replica.preempt
        patch.setattr(Replica, "preempt", lambda replica: self.preempted(replica, preempt))

    @staticmethod
    def before(note, function):
        def noted(*arguments):
            note(*arguments)
            return function(*arguments)

        return noted

    def num_missing(self, replica, seq, num_tokens):
        self.asked = seq

    def extend(self, replica, seq, n):
        self.extended.append(seq)

    def schedule_running(self, replica, entries, preempted):
        self.extended = []

    def preempted(self, replica, preempt):
        partial = [seq for seq in replica.running if seq.num_computed < seq.num_tokens - 1]
        victim = preempt(replica)
        policy = replica.pool.scheduling_policy
        self.seen.add(f"preemption, {policy}")
        if victim is self.asked:
            self.seen.add(f"self-preemption, {policy}")
        if victim in self.extended:
            self.seen.add(f"victim already scheduled, {policy}")
        if victim in partial:
            self.seen.add("victim in prefill")
        if victim.num_preemptions > 1:
            self.seen.add("preempted twice")
        return victim

    def take(self, blocks):
        if not blocks.unhashed:
            self.seen.add("eviction of a prefix")
            if sum(bool(chain and chain[-1].num_users == 0) for chain in blocks.chains) > 1:
                self.seen.add("choice of a prefix to evict")

    def abort(self, model, request, ending, now):
        if request.ended or request.abort is not None:
            return
        seq = request.seq
        state = "decoding"
        if seq in request.replica.waiting:
            state = "preempted" if seq.num_preemptions else "waiting"
        elif seq.in_prefill:
            state = "in prefill" if seq.num_computed < seq.num_tokens else "in the last chunk"
        self.seen.add(f"abort {state}")
        if not request.answering:
            self.seen.add("abort at a guard")

    def control(self, model, now, verb, number, count=0):
        if verb == "drain":
            active = [replica for replica in model.pools[number] if replica.state == ACTIVE]
            busy = any(replica.outstanding for replica in active[len(active) - count :])
            self.seen.add("drain of a busy replica" if busy else "drain of an idle replica")
        if verb == "add" and any(replica.state == DRAINING for replica in model.pools[number]):
            self.seen.add("added while another drains")

    def file(self, clock, t_s, kind, index, key):
        if kind == STEP and clock._pending[index] is not None:
            self.seen.add("leap cut")

    def grow(self, plane):
        self.seen.add("growth" if len(plane["requests"]) < 8 else "growth beyond 8 rows")

    def look_at(self, result):
        """What the readable model's play shows afterwards."""
        self.seen.update(ENDINGS[record["ending"]] for record in result.records)
        if any(record["turn"] > 0 for record in result.records):
            self.seen.add("second turn")
        last: dict = {}
        for step in result.steps:
            if any(cached for _, cached, _ in step.admitted):
                self.seen.add("prefix hit")
            if any(cached and resumed for _, cached, resumed in step.admitted):
                self.seen.add("prefix hit after a preemption")
            decodes = all(entry.is_decode for entry in step.entries)
            batch = [entry.seq for entry in step.entries]
            times = result.replicas[step.replica].pool.step_times
            piece = piece_of(times, sum(entry.context for entry in step.entries)) if decodes else -1
            before, old = last.get(step.replica, ([], -1))
            if decodes and before == batch and old not in (-1, piece):
                self.seen.add("knot crossed")
            last[step.replica] = batch, piece
        if any(a[0] == b[0] for a, b in pairwise(result.events)):
            self.seen.add("events at one instant")
        steps = sorted((step.end_s, step.replica) for step in result.steps)
        if any(a[0] == b[0] for a, b in pairwise(steps)):
            self.seen.add("steps that end together")


def play_and_look(exact, found):
    """Add to `found` in how many scenes each thing happens; returns how many scenes there were."""
    played = 0

    @settings(max_examples=SCENES, suppress_health_check=list(HealthCheck))
    @given(scenes(exact=exact))
    def look(scene):
        nonlocal played
        with pytest.MonkeyPatch.context() as patch:
            witness = Witness(patch)
            result = play_scene(scene, exact=exact)
            run_plane(scene, clock="simpy")
        witness.look_at(result)
        found.update(witness.seen)
        played += 1

    look()
    return played


@pytest.mark.slow
def test_all_that_the_plane_can_do_happens_in_the_scenes():
    found: Counter[str] = Counter()
    played = sum(play_and_look(exact, found) for exact in (True, False))
    assert {thing: found[thing] for thing in THINGS if found[thing] < RARE_FRAC * played} == {}
    assert found.keys() <= THINGS
