"""The readable model's gateways: tiers' queues before a pool; what `sim/plane/gateway.py` says, in plain Python."""

import math
from dataclasses import dataclass, field
from typing import Any

import slow_draws as draws
from slow_companions import Companion
from slow_replica import ACTIVE
from slow_request import SHED, Request

from sim.plane.promises import Gateway, Promise
from sim.plane.world import Visit, World

TIMER = 2


@dataclass(eq=False)
class Lane:
    """One tier's queue."""

    promise: Promise
    priority: int
    waiting: list[Request] = field(default_factory=list)
    in_use: int = 0
    start: float = 0.0
    finish: float = 0.0


class Gate:
    """A pool's gateway."""

    def __init__(self, world: World, gateway: Gateway, members: list[Any]) -> None:
        self.gateway, self.members = gateway, members
        tiers = dict.fromkeys(kind.tier for kind in world.classes)
        self.lanes = {
            tier: Lane(world.promise(tier), min(kind.priority for kind in world.classes if kind.tier == tier))
            for tier in tiers
        }
        self.virtual = 0.0
        self.num_joined = 0

    @property
    def active(self) -> list[Any]:
        return [replica for replica in self.members if replica.state == ACTIVE]

    def has_place(self, replica: Any) -> bool:
        return replica.state == ACTIVE and replica.outstanding < self.gateway.max_outstanding

    def may_start(self, lane: Lane) -> bool:
        """Whether there are places beside those that other tiers have reserved."""
        places = len(self.active) * self.gateway.max_outstanding
        free = places - sum(replica.outstanding for replica in self.active)
        others = (other for other in self.lanes.values() if other is not lane)
        return free > sum(max(0, int(other.promise.reserved_frac * places) - other.in_use) for other in others)

    def rank(self, lane: Lane) -> Any:
        """What the lanes' first requests are compared by: least goes first."""
        number = lane.waiting[0].gate_number
        return {"fifo": (number,), "priority": (lane.priority, number), "fair": (lane.start, number)}[
            self.gateway.order
        ]

    def count_in(self, lane: Lane, work: int) -> None:
        lane.in_use += 1
        self.virtual = max(self.virtual, lane.start)
        lane.start += work / lane.promise.weight
        lane.finish = lane.start

    def count_out(self, lane: Lane, more: int) -> None:
        lane.in_use -= 1
        lane.start += more / lane.promise.weight
        lane.finish += more / lane.promise.weight


class Gateways:
    """The part of the model that knows them."""

    world: World
    pools: list[list[Any]]
    router: Any

    def add_gateways(self) -> None:
        self.gates = [
            None if pool.gateway is None else Gate(self.world, pool.gateway, members)
            for pool, members in zip(self.world.pools, self.pools, strict=True)
        ]

    def work(self, request: Request, visit: Visit) -> int:
        """Tokens that a visit is expected to take."""
        prompt, output = request.lengths(visit)
        if request.answering and visit.kind != "prefill":
            output = self.expected(request.record)
        return prompt + output

    def predicts(self, gate: Gate) -> bool:
        return gate.gateway.order == "fair"

    def waits(self, request: Request, visit: Visit, now: float) -> bool:
        """Whether a request must wait at the gateway, or is shed there."""
        gate = self.gates[visit.pool]
        if gate is None or not gate.active:
            return False
        lane = gate.lanes[request.kind.tier]
        if not lane.waiting:
            lane.start = max(gate.virtual, lane.finish)
            if gate.may_start(lane):
                gate.count_in(lane, self.work(request, visit) if self.predicts(gate) else 0)
                return False
        victim_left = False
        if len(lane.waiting) >= lane.promise.max_queue:
            self.end(request, SHED, now, now)
            return True
        if sum(len(other.waiting) for other in gate.lanes.values()) >= gate.gateway.max_queue:
            victims = [other.waiting[-1] for other in gate.lanes.values() if other.waiting]
            victim = min([request, *victims], key=lambda some: self.dearness(gate.lanes[some.kind.tier]))
            if victim is not request:
                self.leave_lane(victim, now)
            self.end(victim, SHED, now, now)
            if victim is request:
                return True
            victim_left = True
        lane.waiting.append(request)
        request.gate, request.gate_number, request.queued_s = gate, gate.num_joined, now
        gate.num_joined += 1
        limit_s = lane.promise.queue_time_limit_s
        if limit_s < math.inf:
            due_s = draws.whole_ns(now + limit_s)
            which = "beside" if isinstance(request, Companion) else "limit"  # in the order of the alphabet
            request.limit = f"{which} {visit.pool} {request.gate_number}"
            self.push(due_s, TIMER, request.record["serial"], request.limit)
        if victim_left and self.world.has_companions:
            self.let_in(visit.pool, None, now)
        return True

    def dearness(self, lane: Lane) -> tuple[int, float]:
        """The cheapest promise is the least."""
        return -lane.priority, lane.promise.weight

    def leave_lane(self, request: Request, now: float) -> None:
        request.gate.lanes[request.kind.tier].waiting.remove(request)
        request.gate, request.limit = None, ""
        if not isinstance(request, Companion):
            request.record["gateway_s"] += now - request.queued_s

    def count_out(self, request: Request) -> None:
        """A request has left its replica: its work is known."""
        visit = request.path[request.visit]
        if (gate := self.gates[visit.pool]) is not None:
            prompt_tokens, _ = request.lengths(visit)
            more = prompt_tokens + request.seq.num_emitted - self.work(request, visit) if self.predicts(gate) else 0
            gate.count_out(gate.lanes[request.kind.tier], more)

    def let_in(self, pool: int, replica: Any, now: float) -> None:
        """Who waits takes the places there are; at `replica` first."""
        if (gate := self.gates[pool]) is None:
            return
        while ready := [lane for lane in gate.lanes.values() if lane.waiting and gate.may_start(lane)]:
            lane = min(ready, key=gate.rank)
            request = lane.waiting[0]
            to = replica
            if to is None or not gate.has_place(to):
                to = min(gate.active, key=lambda other: other.outstanding)
            self.leave_lane(request, now)
            gate.count_in(lane, self.work(request, request.path[request.visit]) if self.predicts(gate) else 0)
            self.router.be_sent(request, pool, to)
            self.join(request, to, now)
