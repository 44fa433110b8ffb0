"""What each batch policy promises, in random scenes of the readable model; and that these scenes put it to the test."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from slow_policies import PrefillFirst, ReserveFull
from slow_replica import Replica
from slow_step import Step
from worlds import CROWDED, PAUSED, play_scene, scenes

SCENES = 300
RARE_FRAC = 0.02  # of the scenes of a policy
FREELY = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
}
THINGS = {
    "reserve_full": {"whole prompt fits, answer does not", "two steps in flight", "hit of what others use"},
    "static": {"batch of several", "waits for a batch to end", "not all fit"},
    "prefill_first": {
        "decodes pause", "pause of several steps", "joined in a pause", "chunk", "chunk does not fit", "preemption",
        "preemption after a pause", "victim in prefill", "ends with the first step after a pause",
    },
}  # fmt: skip


def steps_by_replica(result):
    """The steps of each replica, in order."""
    found: dict[int, list[Step]] = {replica.index: [] for replica in result.replicas}
    for step in result.steps:
        found[step.replica].append(step)
    return found


def is_paused(step):
    """Whether a step computes prompts: something else than a token of each that decodes."""
    return any(entry.before < entry.seq.prompt_tokens or entry.num_tokens > 1 for entry in step.entries)


def look_at_reserve_full(result, seen):
    assert all(record["num_preemptions"] == 0 for record in result.records)
    for steps in steps_by_replica(result).values():
        done = set()
        for step in steps:
            for entry in step.entries:  # its prompt is computed in one step
                assert (entry.seq not in done) == (entry.before + entry.num_tokens == entry.seq.prompt_tokens)
                done.add(entry.seq)
            if step.start_s > step.scheduled_s:
                seen.add("two steps in flight")


def look_at_static(result, seen):
    look_at_reserve_full(result, set())
    for steps in steps_by_replica(result).values():
        for step in steps:
            if step.admitted:  # and nobody else
                assert len(step.admitted) == len(step.entries) == step.num_running
            elif step.num_waiting:
                seen.add("waits for a batch to end")
            if len(step.admitted) > 1:
                seen.add("batch of several")
            if step.admitted and step.num_waiting:
                seen.add("not all fit")


def look_at_prefill_first(result, seen):
    for steps in steps_by_replica(result).values():
        waits, pauses, joined = set(), 0, set()  # who decodes; steps without them, and who joined in these
        for step in steps:
            served = {entry.seq for entry in step.entries}
            if step.preempted:
                seen |= {"preemption", "preemption after a pause"} if pauses else {"preemption"}
            if is_paused(step):
                pauses += 1
                assert not step.preempted or not waits & served
                seen |= {"decodes pause"} if waits else set()
                seen |= {"pause of several steps"} if waits and pauses > 1 else set()
                seen |= {"chunk"} if not all(entry.emits for entry in step.entries) else set()
                joined |= {entry.seq for entry in step.entries if entry.emits}
                waits |= {entry.seq for entry in step.entries if entry.emits}
            else:
                seen |= {"joined in a pause"} if joined and waits - joined else set()
                if pauses and step.finished:
                    seen.add("ends with the first step after a pause")
                assert all(entry.emits for entry in step.entries)
                pauses, joined, waits = 0, set(), served


LOOK = {"reserve_full": look_at_reserve_full, "static": look_at_static, "prefill_first": look_at_prefill_first}


@pytest.mark.parametrize("policy", THINGS)
def test_promises_are_kept_and_put_to_the_test(policy, monkeypatch):
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    room, goes_on, preempt = ReserveFull.has_room, PrefillFirst.goes_on, Replica.preempt

    def has_room(replica, seq, hits, free):
        fits = room(replica, seq, hits, free)
        if not fits and replica.num_lacking(seq.num_tokens, hits) <= free:
            seen.add("whole prompt fits, answer does not")
        if fits and any(block.num_users for block in hits):
            seen.add("hit of what others use")
        return fits

    def goes_on_or_not(replica, seq, batch):
        fits = goes_on(replica, seq, batch)
        if not fits:
            seen.add("chunk does not fit")
        return fits

    def preempted(replica, seq):
        if seq.mid_prefill:
            seen.add("victim in prefill")
        preempt(replica, seq)

    monkeypatch.setattr(ReserveFull, "has_room", has_room)
    monkeypatch.setattr(PrefillFirst, "goes_on", goes_on_or_not)
    monkeypatch.setattr(Replica, "preempt", preempted)

    @settings(max_examples=SCENES, **FREELY)
    @given(scenes(exact=True, policies=(policy,), moods=(PAUSED, CROWDED)))
    def look(scene):
        seen.clear()
        LOOK[policy](play_scene(scene, exact=True), seen)
        counts.update(seen)

    look()
    assert {thing: counts[thing] for thing in THINGS[policy] if counts[thing] < RARE_FRAC * SCENES} == {}
