"""What the drawn scenes with split answers contain: an agreement over scenes says something only of what happens."""

# ruff: noqa: ARG002 - a witness has the signature of what it watches

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from slow_handover import Fetch
from slow_model import Model
from slow_replica import DRAINING, Replica
from slow_request import COMPLETED, SHED
from slow_sequence import LOADING, RUNNING
from worlds import play_scene, scenes

SCENES = 1_000
RARE_FRAC = 0.005
THINGS = {
    "push", "pull", "layer by layer", "first token at prefill", "first token at decode", "transfer behind another",
    "part of the prompt is there", "one token, from the prefill",
    "preempted at the decode side", "gave way", "abort while it loads", "abort before it loads", "shed after prefill",
    "blocks that come back wake a replica", "last token alone among decodes",
}  # fmt: skip

WORKED_BY_HAND = {"nothing to transfer", "completed while preempted", "drained replica waits for a hold"}
"""Seldom, and in `test_handover_by_hand.py`."""


class Witness:
    """Notes what happens in one scene."""

    def __init__(self, patch) -> None:
        self.seen: set[str] = set()
        for owner, name, note in (
            (Fetch, "load", self.load), (Fetch, "admitted", self.admitted),
            (Model, "hand_over", self.hand_over), (Model, "release_hold", self.release_hold),
            (Model, "abort", self.abort), (Model, "end", self.end),
            (Replica, "preempt", self.preempt), (Replica, "turn_off_if_drained", self.turn_off),
        ):  # fmt: skip
            patch.setattr(owner, name, self.before(note, getattr(owner, name)))
        give_way = Replica.give_way
        patch.setattr(Replica, "give_way", lambda replica, but: self.gave_way(give_way(replica, but)))

    @staticmethod
    def before(note, function):
        def noted(*arguments):
            note(*arguments)
            return function(*arguments)

        return noted

    def load(self, fetch, seq, cached, upto, now):
        request = seq.request
        transfer = request.path[-1].transfer
        self.seen.add("push" if transfer.push else "pull")
        if fetch.links[request.hold.replica if transfer.push else request.replica].free_at_s > now:
            self.seen.add("transfer behind another")
        if cached:
            self.seen.add("part of the prompt is there")
        if transfer.num_layers:
            self.seen.add("layer by layer")
        self.seen.add(f"first token at {'prefill' if transfer.first_token_at_prefill else 'decode'}")

    def admitted(self, fetch, seq):
        if seq.request.hold is not None:
            self.seen.add("nothing to transfer")

    def hand_over(self, model, request, now):
        if request.seq.status != RUNNING:
            self.seen.add("completed while preempted")

    def release_hold(self, model, request, now):
        if request.hold is None:
            return
        replica = request.hold.replica
        if replica.waiting and not replica.has_event:
            self.seen.add("blocks that come back wake a replica")

    def turn_off(self, replica):
        if replica.state == DRAINING and replica.outstanding == 0 and not replica.in_flight and replica.num_holds:
            self.seen.add("drained replica waits for a hold")

    def preempt(self, replica, seq):
        if seq.fetches:
            self.seen.add("preempted at the decode side")

    def gave_way(self, gave):
        if gave:
            self.seen.add("gave way")
        return gave

    def abort(self, model, request, ending, now):
        if request.ended or request.abort is not None or not request.seq.fetches:
            return
        if request.seq.status == LOADING:
            self.seen.add("abort while it loads")
        elif request.hold is not None:
            self.seen.add("abort before it loads")

    def end(self, model, request, ending, t_s, now):
        if ending == SHED and request.hold is not None:
            self.seen.add("shed after prefill")
        if ending == COMPLETED and request.path[request.visit].kind == "prefill":
            self.seen.add("one token, from the prefill")

    def look_at(self, result):
        """What the steps show afterwards."""
        for step in result.steps:
            for entry in step.entries:
                if entry.is_decode and entry.before < entry.seq.prompt_tokens and len(step.entries) > 1:
                    self.seen.add("last token alone among decodes")


@pytest.mark.slow
def test_all_that_can_happen_to_a_split_answer_happens_in_the_scenes():
    found: Counter[str] = Counter()
    played = 0

    @settings(max_examples=SCENES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(scenes(exact=True, split=True))
    def look(scene):
        nonlocal played
        with pytest.MonkeyPatch.context() as patch:
            witness = Witness(patch)
            witness.look_at(play_scene(scene, exact=True))
        found.update(witness.seen)
        played += 1

    look()
    assert {thing: found[thing] for thing in THINGS if found[thing] < RARE_FRAC * played} == {}
    assert found.keys() - THINGS <= WORKED_BY_HAND
