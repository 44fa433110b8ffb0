"""What faults and deploys do to the readable model; `sim/plane/failures.py` has the rules."""

import heapq
import math
from typing import Any

from slow_companions import Companion
from slow_replica import ACTIVE, DOWN, DRAINING, OFF, Replica
from slow_request import FAILED, Request

from sim.plane.building_work import has_work

REPLICA = 4
MOVED = 8
FAIL, RETRY, RESUME = range(3)


class Failures:
    """The part of the model that knows of them."""

    world: Any
    replicas: list[Replica]
    pools: list[list[Replica]]
    events: list[Any]
    control: Any
    end: Any
    tally: Any
    count_out: Any
    let_in: Any
    next_visit: Any
    enter_pool: Any
    schedule_event: Any

    def command(self, now: float, verb: str, *arguments: Any) -> None:
        """What a control process does."""
        if (does := getattr(self, f"do_{verb}", None)) is not None:
            does(now, *arguments)
        else:
            self.control(now, verb, *arguments)

    def do_fail(self, now: float, numbers: list[int], then: str, on_failure: int) -> None:
        """Replicas fail together; whoever was there ends or goes elsewhere."""
        fallen = [self.replicas[r] for r in sorted(numbers) if self.replicas[r].state in (ACTIVE, DRAINING)]
        for replica in fallen:
            replica.leaves_to = then if replica.state == ACTIVE else replica.leaves_to
            replica.state = DOWN
        for replica in fallen:
            replica.in_flight.clear()
            replica.aborted, replica.has_event = [], False
            replica.stage_free_s = -math.inf
            self.events[:] = [event for event in self.events if event[1:3] != (REPLICA, replica.index)]
            heapq.heapify(self.events)
            for seq in [*replica.running, *replica.waiting]:
                if seq.request.seq is seq:  # else it left with its request, or its companion
                    self.send_away(seq.request, replica, on_failure, now)
            replica.turn_off()
            self.let_in(self.pool_of(replica), None, now)

    def pool_of(self, replica: Replica) -> int:
        """Number of a replica's pool."""
        return next(number for number, members in enumerate(self.pools) if replica in members)

    def send_away(self, request: Request, replica: Replica, on_failure: int, now: float) -> None:
        seq, record = request.seq, request.record
        replica.leave(seq, now)
        self.tally(request)
        self.count_out(request)
        request.seq = request.replica = None
        pool = request.path[request.visit].pool
        if request.abort is not None:
            self.end(request, *request.abort, now)
            return
        if on_failure == FAIL or not any(other.state == ACTIVE for other in self.pools[pool]):
            self.end(request, FAILED, now, now)
            return
        classified_s = record["classified_s"]
        if self.world.has_extras or has_work(self.world):
            record["flags"] |= MOVED
        fits = replica.chunks_prompts or seq.num_tokens <= replica.pool.max_num_batched_tokens
        if on_failure == RESUME and fits:
            request.kept = seq.num_emitted, seq.scheduled_s, seq.cached_tokens
        elif request.answering:
            record["scheduled_s"] = record["first_token_s"] = math.nan
            record["output_tokens"] = request.num_before
            record["cached_tokens"] *= request.path[request.visit].kind == "decode"
            if request.mate is not None:
                request.mate.first_s = math.nan
        if isinstance(request, Companion):
            self.enter_pool(request, now)
        else:
            request.visit -= 1
            self.next_visit(request, now)
        record["classified_s"] = classified_s

    def do_up(self, now: float, number: int) -> None:
        if self.replicas[number].state in (DOWN, OFF):
            self.replicas[number].state = ACTIVE
            self.let_in(self.pool_of(self.replicas[number]), None, now)

    def do_leave(self, _now: float, number: int, then: str) -> None:
        """One replica drains."""
        replica = self.replicas[number]
        if replica.state == ACTIVE:
            replica.state, replica.leaves_to = DRAINING, then
            replica.turn_off_if_drained()

    def do_pace(self, _now: float, number: int, slowness: float, version: int) -> None:
        """Steps from now on have another length."""
        replica = self.replicas[number]
        pool = replica.pool
        replica.slowness = slowness
        replica.step_times = pool.versions[version - 1] if version else pool.step_times

    def do_seize(self, _now: float, number: int, count: int) -> None:
        """Somebody else takes blocks."""
        replica = self.replicas[number]
        if replica.state in (ACTIVE, DRAINING):
            replica.seized += [replica.blocks.take() for _ in range(min(count, replica.blocks.num_free))]

    def do_give_back(self, now: float, number: int) -> None:
        """And gives them back."""
        replica = self.replicas[number]
        if not replica.seized:
            return
        replica.blocks.release(replica.seized)
        replica.seized = []
        if replica.outstanding and not replica.has_event:
            self.schedule_event(replica, now)
