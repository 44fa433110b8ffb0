"""A readable model of the plane, to hold the compiled one against.

It plays a World, arrival rows and control commands event by event and step by step: request objects, explicit queues
and blocks, one `t += dt` a step. It shares no code with `sim.plane` but the World's dataclasses. Where a record's field
has a rule of its own, the comment is where the field is set.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slow_draws as draws
from slow_companions import Companion, Companions
from slow_content import Texts
from slow_control import Controls
from slow_drifts import Drifts
from slow_failures import Failures
from slow_gateway import Gateways
from slow_handover import Handovers
from slow_limits import Limits
from slow_paths import UNSAFE, Paths
from slow_regions import Travels
from slow_replica import ACTIVE, OFF, Replica
from slow_request import (
    CANDIDATE,
    FAILED,
    GUARD,
    IN_FLIGHT,
    RATE_LIMITED,
    REFUSED,
    SHED,
    Request,
    Result,
)
from slow_routing import Router
from slow_senders import Senders
from slow_sequence import RUNNING, Sequence
from slow_singly import make_replica
from slow_step import Step
from slow_transfers import Counts, Host, Link, Store

from sim.plane.world import Pool, World
from sim.traffic.arrivals import SEGMENT

CONTROL, ARRIVAL, TIMER, TRANSFER, REPLICA = range(5)  # classes of events at one instant, in their order

NO_SEGMENTS = np.zeros(0, SEGMENT)
Command = tuple[Any, ...]
"""(t_s, "add" | "drain", pool, count), (t_s, "abort", serial), (t_s, "outages", change) or of `slow_drifts.py`."""


@dataclass(eq=False)
class Model(Drifts, Companions, Handovers, Senders, Limits, Gateways, Travels, Controls, Paths, Failures):
    """The world in motion."""

    world: World
    events: list[tuple[float, int, int, Any]] = field(default_factory=list)
    num_outages: int = 0

    def __post_init__(self) -> None:
        world = self.world
        self.texts = Texts(world)
        self.start_drifts()
        self.pools: list[list[Replica]] = []
        self.replicas: list[Replica] = []
        for pool in world.pools:
            members = []
            for number in range(pool.max_replicas or pool.num_replicas):
                state = ACTIVE if number < pool.num_replicas else OFF
                members.append(make_replica(len(self.replicas) + number, pool, state, world.seed))
            self.pools.append(members)
            self.replicas += members
        self.links: list[Link] = []
        self.counts = [Counts() for _ in world.pools]
        for members, pool, counts in zip(self.pools, world.pools, self.counts, strict=True):
            self.add_host_tier(members, pool, counts)
        self.add_handovers()
        self.router = Router(self)
        self.add_limits()
        self.add_gateways()
        self.requests: list[Request] = []
        self.rows = list(world.itl_groups) or list(range(len(world.classes)))
        self.gaps_s: list[list[float]] = [[] for _ in range(max(self.rows) + 1)]
        self.gaps_per_token_s: list[list[float]] = [[] for _ in self.gaps_s]
        self.steps: list[Step] = []
        self.sent_s: dict[int, float] = {}
        self.reached: list[Request] = []

    def add_host_tier(self, members: list[Replica], pool: Pool, counts: Counts) -> None:
        """Give the replicas of a pool their second tier, if it has one."""
        if (tier := pool.kv_offload) is None:
            return
        store = Store(tier)
        for replica in members:
            link = Link(len(self.links), tier.bytes_per_s, tier.latency_s, self.push_transfer)
            self.links.append(link)
            replica.host = Host(pool, tier, store if tier.is_shared else Store(tier), link, counts)

    def push_transfer(self, t_s: float, number: int) -> None:
        self.push(t_s, TRANSFER, number)

    def push(self, t_s: float, rank: int, key: int, what: Any = None) -> None:
        heapq.heappush(self.events, (t_s, rank, key, what))

    def draw(self, stream: int, record: dict[str, Any], index: int) -> float:
        return draws.uniform(draws.bits(self.world.seed, stream, record["user"], record["conversation"], index))

    # Turns

    def issue(self, now: float, row: Any, segments: Any, before: Request | None, again: bool = False) -> None:
        """A turn comes in; `before`: the one before it, or the attempt before at the same (`again`)."""
        kind = self.world.classes[int(row["class_id"])]
        turn = 0 if before is None else before.record["turn"] + (not again)
        record: dict[str, Any] = {
            "serial": len(self.requests), "turn": turn, "arrived_s": now, "ending": IN_FLIGHT,
            "classified_s": math.nan, "scheduled_s": math.nan, "first_token_s": math.nan, "end_s": math.nan,
            "output_tokens": 0, "cached_tokens": 0, "num_preemptions": 0,
            "pool": -1, "replica": -1, "cost_usd": 0.0, "busy_s": 0.0, "guard_s": 0.0, "transfer_s": 0.0,
            "attempt": 0, "retry_of": -1, "left": 0,
            "gateway_s": 0.0, "verdict_s": 0.0, "delay_s": 0.0, "flags": 0,
        }  # fmt: skip
        record |= {name: int(row[name]) for name in ("user", "conversation", "class_id", "language")}
        if again:
            record |= {"attempt": before.record["attempt"] + 1, "retry_of": before.record["serial"]}

        user_tokens, output_tokens = self.turn_lengths(record, kind, row, before)
        record["user_tokens"], record["requested_tokens"] = user_tokens, output_tokens
        if self.draw(draws.UNSAFE, record, turn) < kind.unsafe_frac:
            record["flags"] = UNSAFE
        path = list(self.world.paths[kind.path])
        most_tokens = output_tokens + self.room(record, path)
        history_tokens = before.history_tokens if before is not None and kind.keep_history else 0
        whole_tokens = prompt_tokens = kind.prefix_tokens + history_tokens + user_tokens
        too_long = whole_tokens + most_tokens > kind.max_context_tokens
        if too_long and kind.truncates:
            prompt_tokens = max(kind.prefix_tokens + user_tokens, kind.max_context_tokens - most_tokens)
        record["prompt_tokens"] = prompt_tokens
        content, told_turn = self.text_of(record, kind, segments, before, whole_tokens, prompt_tokens)
        homes = {} if before is None else before.homes
        asked_s = before.asked_s if again else now
        request = Request(record, row, kind, path, history_tokens, content, homes, asked_s, path_name=kind.path)
        request.prompt_tokens, request.told_turn = prompt_tokens, told_turn
        request.num_anew = before.num_anew if again else 0
        self.requests.append(request)

        self.set_out(request)
        if self.num_outages == 0:  # else it comes by no router
            self.router.come(request, now)
        if self.num_outages > 0:
            self.end(request, FAILED, now, now)
        elif not self.is_let_in(now, request):
            self.end(request, RATE_LIMITED, now, now)
        elif (too_long and not kind.truncates) or not self.fits_all(request):
            self.end(request, REFUSED, now, now)
        else:
            if kind.patience_s is not None:
                wait_s = draws.lookup(kind.patience_s, self.draw(draws.PATIENCE, record, turn))
                request.patience = True
                self.push(draws.whole_ns(now + wait_s), TIMER, record["serial"], "patience")
            self.engage(request)
            self.next_visit(request, now)

    # Limits and endings

    def end(self, request: Request, ending: int, t_s: float, now: float) -> None:
        """A request ends as of `t_s`; the conversation goes on, with the answer if there is one."""
        if not self.settle(request, ending, t_s, now):
            return
        self.release_hold(request, now)
        request.record["ending"], request.record["end_s"] = ending, t_s
        request.patience = False
        self.settle_limits(now, request)
        self.sum_up(request, ending)
        self.go_on(now, request)

    # Visits

    def enter_pool(self, request: Request, now: float) -> None:
        """The request comes to the pool of its visit."""
        visit, record = request.path[request.visit], request.record
        if request.answering and visit.kind != "decode" and math.isnan(record["classified_s"]):
            record["classified_s"] = now
        if self.travels(request, now):
            return
        if request.mate is not None and request.mate.awaited:
            request.mate.awaited = False
            self.enter_pool(request.mate, now)
            if request.ended:
                return
        content = request.content
        if request.role == GUARD:
            content = self.texts.visit(record, request.path_name, request.visit, request.told_turn, request.piece_start)
        elif request.is_busted:
            content = self.busted_text(request)
        request.visit_content = content
        if self.waits(request, visit, now):
            return
        candidates = self.router.candidates(request, visit.pool)
        if not candidates:
            self.end(request, SHED, now, now)
            return
        lengths, gate = request.lengths(visit), self.gates[visit.pool]
        replica = self.router.route(request, visit.pool, candidates, content, lengths[0])
        if gate is not None and not gate.has_place(replica):
            replica = min(candidates, key=lambda other: other.outstanding)
            self.router.be_sent(request, visit.pool, replica)
        self.join(request, replica, now)

    def join(self, request: Request, replica: Replica, now: float) -> None:
        """A visit's request joins the queue of a replica."""
        visit, record = request.path[request.visit], request.record
        if request.answering:
            record["pool"], record["replica"] = visit.pool, replica.index
        content, priority = request.visit_content, request.kind.priority
        lengths = request.lengths(visit)
        request.seq = Sequence(request, record["serial"], *lengths, content, priority, record["arrived_s"])
        request.seq.fetches, request.seq.num_emitted = visit.kind == "decode", request.num_before
        if request.kept is not None:
            request.seq.num_emitted, request.seq.scheduled_s, request.seq.cached_tokens = request.kept
            request.kept = None
        request.replica = replica
        replica.join(request.seq)
        if not replica.has_event:
            self.schedule_event(replica, now)

    def schedule_event(self, replica: Replica, t_s: float) -> None:
        replica.has_event = True
        self.push(t_s, REPLICA, replica.index)

    # Replicas

    def replica_event(self, replica: Replica, now: float) -> None:
        """The oldest step in flight ends, or a kick comes: outputs, aborts, the next batches."""
        if replica.in_flight:  # who joins meanwhile needs no kick
            if replica.most_in_flight == 1:
                self.book(replica, replica.in_flight[0])
            self.ending = replica.in_flight[0]
            replica.process_output(self.emit)
            self.read_along(now)
        for seq in replica.aborted:
            if seq.status == RUNNING:
                self.drop(seq.request, *seq.request.abort, now)
        replica.aborted = []
        replica.turn_off_if_drained()
        for step in replica.fill(now):
            self.steps.append(step)
            if replica.most_in_flight > 1:
                self.book(replica, step)
            for entry in step.entries:
                self.note_schedule(entry.seq.request, entry.seq)
        replica.has_event = bool(replica.in_flight)
        if replica.in_flight:
            self.schedule_event(replica, replica.in_flight[0].end_s)

    def book(self, replica: Replica, step: Step) -> None:
        """Charge a step to the requests that it carries."""
        replica.busy_s += step.step_s
        for entry, share_s in zip(step.entries, step.shares_s, strict=True):
            request = entry.seq.request
            request.record["busy_s" if request.is_billed else "guard_s"] += share_s
            request.record["cost_usd"] += share_s * replica.pool.usd_per_replica_s

    def emit(self, seq: Sequence, now: float) -> None:
        """A sequence has new tokens."""
        request, record = seq.request, seq.request.record
        frontend_s = self.world.pools[request.path[-1].pool].frontend_s + self.back(request)
        if request.streams:
            if seq.num_emitted == 1:
                if not self.withhold(request, now):
                    record["first_token_s"] = now + frontend_s
                    request.patience = False
            else:
                row, gap_s = self.rows[record["class_id"]], now - request.last_token_s
                self.gaps_s[row].append(gap_s)
                self.gaps_per_token_s[row] += [gap_s / seq.num_new] * seq.num_new
            request.last_token_s = now
            self.note_pieces(request, seq.num_emitted)
        elif request.role == CANDIDATE and seq.num_emitted == 1:
            request.withheld_s = now
        if seq.num_emitted < seq.output_tokens:
            return
        if isinstance(request, Companion):
            self.leave(request, now)
            self.give_verdict(request.owner, now)
        else:
            self.visit_over(request, now)

    def leave(self, request: Request, now: float) -> None:
        """The request's visit is over."""
        replica = request.replica
        replica.leave(request.seq, now)
        replica.turn_off_if_drained()
        self.tally(request)
        self.vacate(request, now)

    def vacate(self, request: Request, now: float) -> None:
        """Its place is free."""
        replica, pool = request.replica, request.path[request.visit].pool
        self.count_out(request)
        request.seq = request.replica = None
        self.let_in(pool, replica, now)

    def tally(self, request: Request) -> None:
        """Write what the visit tells into the record."""
        seq, record = request.seq, request.record
        record["num_preemptions"] += seq.num_preemptions
        if request.answering:
            record["output_tokens"] = seq.num_emitted if request.streams else 0
        if request.answering and not seq.fetches:
            record["cached_tokens"] = seq.cached_tokens or 0

    def drop(self, request: Request, ending: int, t_s: float, now: float) -> None:
        self.leave(request, now)
        self.end(request, ending, t_s, now)

    # Events

    def transfer_ended(self, seq: Sequence, now: float) -> None:
        """A sequence has loaded what it waited for, or is not there for it any more."""
        request, replica = seq.request, seq.request.replica
        self.release_hold(request, now)
        if request.abort is None:
            replica.loaded(seq)
        else:
            self.drop(request, *request.abort, now)
        if not replica.has_event:
            self.schedule_event(replica, now)

    def handle(self, now: float, rank: int, key: int, what: Any) -> None:
        if rank == CONTROL:
            self.command(now, *what)
        elif rank == ARRIVAL:
            self.issue(now, *what, None)
        elif rank == TIMER:
            self.timer(now, self.requests[key], what)
        elif rank == TRANSFER:
            self.transfer_ended(self.links[key].arrived(), now)
        else:
            self.replica_event(self.replicas[key], now)


def play(
    world: World,
    rows: Any,
    commands: Iterable[Command] = (),
    until: float = math.inf,
    max_steps: int = 100_000,
    segments: Any = NO_SEGMENTS,
) -> Result:
    """Play all events strictly before `until`; `rows` (dtype ARRIVAL) in order, `segments` those of all rows."""
    model = Model(world)
    for number, command in enumerate(commands):
        model.push(command[0], CONTROL, number, command[1:])
    ends = np.cumsum(rows["num_segments"])
    for number, (row, end) in enumerate(zip(rows, ends, strict=True)):
        model.push(float(row["t_s"]), ARRIVAL, number, (row, segments[end - row["num_segments"] : end]))
    played = []
    while model.events and model.events[0][0] < until and len(model.steps) < max_steps:
        now, rank, key, what = heapq.heappop(model.events)
        if rank != TIMER or model.is_live(model.requests[key], what):
            played.append((now, rank, key))
        model.handle(now, rank, key, what)
    for request in model.requests:
        for part in (request, request.mate):
            if part is not None and part.seq is not None:
                model.tally(part)
        if not request.ended:
            model.sum_up(request, IN_FLIGHT)
    complete = not (model.events and model.events[0][0] < until)
    records = [request.record for request in model.requests]
    result = records, model.gaps_s, model.gaps_per_token_s, model.replicas, model.steps, played, complete
    return Result(*result, model.links, model.counts)
