"""What the drawn scenes contain: an agreement over scenes says something only of what happens in them."""

# ruff: noqa: ARG002 - a witness has the signature of what it watches

from collections import Counter
from itertools import pairwise

import pytest
from drive import run_plane
from hypothesis import HealthCheck, given, settings
from slow_content import Texts
from slow_model import ACTIVE, ARRIVAL, CONTROL, REPLICA, TIMER, Model
from slow_replica import DRAINING, NO_LIMIT, BlockPool, Replica
from slow_request import COMPLETED
from slow_sequence import PREEMPTED, RUNNING
from slow_step import piece_of
from worlds import SEGMENT_KEYS, play_scene, scenes

from sim.fleet.clocks import SimpyClock
from sim.metrics.records import BLOCKED, ENDINGS, ESCALATED, FAILED, UNSAFE
from sim.plane.owner import Plane
from sim.plane.tables import STEP

SCENES = 1_000
RARE_FRAC = 0.005  # of the 1,800 scenes that the agreements play by default: nine
THINGS = {
    *ENDINGS, "second turn", "growth", "growth beyond 8 rows", "leap cut", "knot crossed", "mixed step",
    "one-token chunk", "one-token recompute, timed as a decode",
    # time
    "arrival after a command", "kick after a command", "kick after an arrival", "turn's kick",
    "steps that end together", "timer at a step's end", "arrival at a step's end", "command at a step's end",
    # preemption
    "preemption, fcfs", "preemption, priority", "self-preemption, fcfs", "self-preemption, priority",
    "victim already scheduled, priority", "victim in prefill", "preempted twice",
    # limits
    "stalled decode", "several in prefill", "chunk cut by the threshold", "alone above the threshold",
    "adaptive threshold", "prefill on hold", "admission on hold", "no hold under saturation",
    "max_num_active_seqs below max_num_seqs", "max_num_active_seqs above max_num_seqs",
    # asynchronous
    "two steps in flight", "preemption with a token under way", "finished while preempted",
    "abort with a step in flight", "abort of a preempted one with a token under way",
    # the cache
    "hit", "hit after a preemption", "hit of its own output after a preemption", "hit of an earlier turn's output",
    "hit of recorded text", "hit of another's answer", "duplicate block", "eviction", "eviction of a duplicate",
    "fall-back to blocks", "text after a failed turn", "text after two failed turns", "history cut",
    # aborts and operations
    "abort waiting", "abort preempted", "abort in prefill", "abort in the last chunk", "abort decoding",
    "abort at a guard", "drain of an idle replica", "drain of a busy replica", "added while another drains",
    "turned away at the door",
    # senders
    "retry after rate_limited", "retry after shed", "retry after abandoned", "retry after failed", "second retry",
    "answered retry", "retry that hits", "given up after the last retry", "left after a failure",
    "left after a slow answer", "turn of another length in its language",
    # paths
    "delay over", "answer withheld", "answer escalated", "told why it was blocked", "unsafe one passed",
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
            (Replica, "preempt", self.preempt), (Replica, "schedule_running", self.schedule_running),
            (BlockPool, "take", self.take), (BlockPool, "publish", self.publish),
            (Texts, "anew", self.anew), (Texts, "after", self.after),
            (Model, "abort", self.abort), (Model, "drop", self.drop), (Model, "emit", self.emit),
            (Model, "control", self.control),
            (SimpyClock, "_schedule", self.file), (Plane, "grow", self.grow), (Plane, "end", self.end),
        ):  # fmt: skip
            patch.setattr(owner, name, self.before(note, getattr(owner, name)))
        schedule = Replica.schedule
        patch.setattr(Replica, "schedule", lambda replica: self.scheduled(replica, schedule(replica)))

    @staticmethod
    def before(note, function):
        def noted(*arguments):
            note(*arguments)
            return function(*arguments)

        return noted

    # Preemption and limits

    def num_missing(self, replica, seq, num_tokens):
        self.asked = seq

    def extend(self, replica, seq, n):
        self.extended.append(seq)

    def schedule_running(self, replica, batch):
        self.extended = []
        pool = replica.pool
        if sum(seq.mid_prefill for seq in replica.running) > 1:
            self.seen.add("several in prefill")
        if batch.hold and any(seq.mid_prefill for seq in replica.running):
            self.seen.add("prefill on hold")
        recent = replica.num_scheduled + 1 - replica.last_prefill < pool.prefill_schedule_interval
        if recent and replica.saturated and not all(seq.mid_prefill for seq in replica.running):
            self.seen.add("no hold under saturation")

    def preempt(self, replica, victim):
        policy = replica.pool.scheduling_policy
        self.seen.add(f"preemption, {policy}")
        if victim is self.asked:
            self.seen.add(f"self-preemption, {policy}")
        if victim in self.extended:
            self.seen.add(f"victim already scheduled, {policy}")
        if victim.mid_prefill:
            self.seen.add("victim in prefill")
        if victim.num_preemptions > 0:
            self.seen.add("preempted twice")
        if victim.pending > 0:
            self.seen.add("preemption with a token under way")

    def scheduled(self, replica, batch):
        """What a schedule() came to."""
        pool, entries = replica.pool, batch.entries
        served = {entry.seq for entry in entries}
        for seq in replica.running:
            ends = seq.pending > 0 and seq.num_computed + 2 - seq.pending >= seq.most_tokens
            if batch.budget == 0 and seq not in served and not seq.mid_prefill and not ends:
                self.seen.add("stalled decode")
        largest = max((entry.num_tokens for entry in entries), default=0)
        if pool.long_prefill_token_threshold and largest > pool.long_prefill_token_threshold:
            self.seen.add("alone above the threshold" if batch.threshold == NO_LIMIT else "adaptive threshold")
        if any(entry.num_tokens == batch.threshold and not entry.emits for entry in entries):
            self.seen.add("chunk cut by the threshold")
        if batch.hold and replica.waiting and batch.budget and not batch.preempted:
            self.seen.add("admission on hold")
        most = pool.max_num_active_seqs
        if replica.waiting and len(replica.running) == most < pool.max_num_seqs:
            self.seen.add("max_num_active_seqs below max_num_seqs")
        if len(replica.running) > pool.max_num_seqs:
            self.seen.add("max_num_active_seqs above max_num_seqs")
        return batch

    # The cache

    def take(self, blocks):
        hash_ = next(iter(blocks.free)).hash
        if hash_ is not None:
            self.seen.add("eviction")
            if len(blocks.index[hash_]) > 1:
                self.seen.add("eviction of a duplicate")

    def publish(self, blocks, block, hash_):
        if hash_ in blocks.index:
            self.seen.add("duplicate block")

    def anew(self, texts, record, before):
        if texts.world.classes[record["class_id"]].keep_history:
            self.seen.add("history cut")

    def after(self, texts, record, before, end):
        self.seen.add("text after a failed turn" if end > before.stream_start else "text after two failed turns")

    # Endings

    def abort(self, model, request, ending, now):
        if request.ended or request.abort is not None or request.replica is None:
            return
        seq = request.seq
        under_way = [entry for step in request.replica.in_flight for entry in step.entries if entry.seq is seq]
        state = "decoding"
        if seq in request.replica.waiting:
            state = "preempted" if seq.num_preemptions else "waiting"
        elif seq.mid_prefill:
            state = "in prefill"
        elif any(not entry.is_decode for entry in under_way):
            state = "in the last chunk"
        self.seen.add(f"abort {state}")
        if seq.status == PREEMPTED and seq.stale:
            self.seen.add("abort of a preempted one with a token under way")
        if not request.answering:
            self.seen.add("abort at a guard")

    def drop(self, model, request, ending, t_s, now):
        if ending != COMPLETED and request.seq.status == RUNNING and request.seq.in_flight:
            self.seen.add("abort with a step in flight")

    def emit(self, model, seq, now):
        if seq.status == PREEMPTED and seq.num_emitted == seq.output_tokens:
            self.seen.add("finished while preempted")

    def control(self, model, now, verb, number, count=0):
        if verb == "drain":
            active = [replica for replica in model.pools[number] if replica.state == ACTIVE]
            busy = any(replica.outstanding for replica in active[len(active) - count :])
            self.seen.add("drain of a busy replica" if busy else "drain of an idle replica")
        if verb == "add" and any(replica.state == DRAINING for replica in model.pools[number]):
            self.seen.add("added while another drains")

    # The plane

    def file(self, clock, t_s, kind, index, key):
        if kind == STEP and clock._pending[index] is not None:
            self.seen.add("leap cut")

    def grow(self, plane):
        if plane.scalar("num_free") == 0:
            self.seen.add("growth" if plane.scalar("num_requests") < 8 else "growth beyond 8 rows")

    def end(self, plane, now_s):
        if plane.scalar("num_fallbacks"):
            self.seen.add("fall-back to blocks")

    # Afterwards

    def look_at(self, result, world):
        """What the readable model's play shows afterwards."""
        self.seen.update(ENDINGS[record["ending"]] for record in result.records)
        if any(record["ending"] == FAILED and record["end_s"] == record["arrived_s"] for record in result.records):
            self.seen.add("turned away at the door")
        if any(record["turn"] > 0 for record in result.records):
            self.seen.add("second turn")
        self.look_at_senders(result, world)
        self.look_at_paths(result)
        last: dict = {}
        for step in result.steps:
            self.look_at_step(step, last, result)
        self.look_at_times(result)

    def look_at_senders(self, result, world):
        """Who tried again, gave up or left."""
        for record in result.records:
            kind = world.classes[record["class_id"]]
            if record["turn"] > 0 and kind.length_factor is not None:
                self.seen.add("turn of another length in its language")
            if record["left"]:
                self.seen.add("left after a slow answer" if record["ending"] == COMPLETED else "left after a failure")
            if record["attempt"] > 0:
                self.seen.add(f"retry after {ENDINGS[result.records[record['retry_of']]['ending']]}")
                self.seen.update(["second retry"] * (record["attempt"] > 1))
                self.seen.update(["answered retry"] * (record["ending"] == COMPLETED))
                self.seen.update(["retry that hits"] * (record["cached_tokens"] > 0))
                if record["attempt"] == kind.reaction.max_retries and record["ending"] in kind.reaction.retried:
                    self.seen.add("given up after the last retry")

    def look_at_paths(self, result):
        """What visits did beyond guarding and answering."""
        for record in result.records:
            told = {
                "delay over": record["delay_s"] > 0.0,
                "answer withheld": record["verdict_s"] > 0.0,
                "answer escalated": record["flags"] & ESCALATED,
                "told why it was blocked": record["ending"] == BLOCKED and record["output_tokens"] > 0,
                "unsafe one passed": record["ending"] == COMPLETED and record["flags"] & UNSAFE,
            }
            self.seen.update(name for name, is_true in told.items() if is_true)

    def look_at_step(self, step, last, result):
        entries = {entry.seq.serial: entry for entry in step.entries}
        resumed = {serial for serial, _, resumed in step.admitted if resumed}
        for serial, cached, _ in step.admitted:
            if cached:
                self.look_at_hit(entries[serial].seq, cached, serial in resumed, result.records)
        if step.scheduled_s < step.start_s:
            self.seen.add("two steps in flight")
        if len({entry.is_decode for entry in step.entries}) == 2:
            self.seen.add("mixed step")
        for serial, entry in entries.items():
            if entry.num_tokens == 1 and not entry.is_decode and entry.before:
                self.seen.add("one-token chunk")
            if entry.is_decode and (serial in resumed or not entry.emits):
                self.seen.add("one-token recompute, timed as a decode")
        decodes = all(entry.is_decode for entry in step.entries)
        batch = [entry.seq for entry in step.entries]
        times = result.replicas[step.replica].pool.step_times
        piece = piece_of(times, sum(entry.context for entry in step.entries)) if decodes else -1
        before, old = last.get(step.replica, ([], -1))
        if decodes and before == batch and old not in (-1, piece):
            self.seen.add("knot crossed")
        last[step.replica] = batch, piece

    def look_at_hit(self, seq, cached, resumed, records):
        """Whose text a request found in the cache."""
        self.seen.add("hit")
        if resumed:
            self.seen.add("hit after a preemption")
            if cached > seq.prompt_tokens:
                self.seen.add("hit of its own output after a preemption")
            return
        request, start = seq.request, seq.content.stretches[0][1]
        for key, end in seq.content.stretches[1:]:
            if cached > start and request.record["turn"] == 0:
                self.seen.add("hit of recorded text" if key in SEGMENT_KEYS else "hit of another's answer")
            start = end
        name = request.record["user"], request.record["conversation"], request.record["turn"] - 1
        for record in records:
            if (record["user"], record["conversation"], record["turn"]) == name:
                goes_on = request.answering and request.kind.keep_history and seq.content.number < name[2] + 1
                if goes_on and cached > record["prompt_tokens"]:
                    self.seen.add("hit of an earlier turn's output")

    def look_at_times(self, result):
        ends = Counter(end_s for end_s, _ in {(step.end_s, step.replica) for step in result.steps})
        if max(ends.values(), default=0) > 1:
            self.seen.add("steps that end together")
        at_end = {rank for t_s, rank, _ in result.events if t_s in ends}
        names = {CONTROL: "command", ARRIVAL: "arrival", TIMER: "timer"}
        self.seen.update(f"{names[rank]} at a step's end" for rank in at_end & names.keys())
        follows = {
            (CONTROL, ARRIVAL): "arrival after a command", (CONTROL, REPLICA): "kick after a command",
            (ARRIVAL, REPLICA): "kick after an arrival", (TIMER, REPLICA): "turn's kick",
        }  # fmt: skip
        pairs = {(a[1], b[1]) for a, b in pairwise(result.events) if a[0] == b[0]}
        self.seen.update(follows[pair] for pair in pairs & follows.keys())


def play_and_look(exact, found):
    """Add to `found` in how many scenes, always the same, each thing happens; returns how many there were."""
    played = 0

    @settings(max_examples=SCENES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(scenes(exact=exact))
    def look(scene):
        nonlocal played
        with pytest.MonkeyPatch.context() as patch:
            witness = Witness(patch)
            result = play_scene(scene, exact=exact)
            run_plane(scene, clock="simpy")
        witness.look_at(result, scene.world)
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
